"""The WSGI application: answers requests for Clean Rooms and Clean Rooms ML, and dispatches all others to moto."""

from __future__ import annotations

import json
import logging
import re
import traceback
import uuid
from collections.abc import Callable, Iterable
from email.utils import formatdate
from io import BytesIO
from typing import Any

from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.wrappers import Request, Response

from airflow_cleanroomsml.emulator import _compat, wire
from airflow_cleanroomsml.emulator.admin_api import PREFIX, AdminApi
from airflow_cleanroomsml.emulator.context import Shared
from airflow_cleanroomsml.emulator.errors import ApiError
from airflow_cleanroomsml.emulator.faults import ConnectionDropped, Garbled
from airflow_cleanroomsml.emulator.iam_simulation import is_simulation, simulate
from airflow_cleanroomsml.emulator.moto_s3 import create_app
from airflow_cleanroomsml.emulator.regions import require_region
from airflow_cleanroomsml.emulator.request_guard import (
    MOTO_BODY,
    SERVICE_BODY,
    RequestGuard,
    body_too_large_error,
    limit_body,
)
from airflow_cleanroomsml.emulator.service import Service
from airflow_cleanroomsml.emulator.store import Caller

log = logging.getLogger(__name__)

_CREDENTIAL = re.compile(r"Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")


class Application:
    """
    The WSGI application.

    :param services: Services by signing name.
    :param shared: State of the emulator.
    :param guard: Rejects requests by their headers.
    """

    def __init__(self, services: dict[str, Service], shared: Shared, guard: RequestGuard) -> None:
        self._services = services
        self._clock = shared.clock
        self._moto = _compat.MotoDispatcher(create_app)
        self._journal = shared.journal
        self._admin_api = AdminApi(shared)
        self._guard = guard

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""

        def start_dated_response(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            # Clients compare createTime with the Date header, so both have to follow the emulator's clock, in moto's responses too.
            others = [(name, value) for name, value in headers if name.lower() != "date"]
            return start_response(status, [*others, ("Date", formatdate(self._clock.now(), usegmt=True))], *error)

        return self._route(environ)(environ, start_dated_response)

    def _route(self, environ: dict[str, Any]) -> Callable[..., Iterable[bytes]]:
        """Return what answers a request: a response, or moto's application."""
        try:
            self._guard.check(environ)
            return self._dispatch(environ)
        except ApiError as error:
            # An S3 client, for instance, does not show the message of this response.
            path = environ.get("PATH_INFO", "")
            log.warning(
                "Rejected %s %s with status %d: %s", environ["REQUEST_METHOD"], path, error.status, error.message
            )
            return _build_error_response(error.status, error.code, error.message)

    def _dispatch(self, environ: dict[str, Any]) -> Callable[..., Iterable[bytes]]:
        if environ["PATH_INFO"].startswith(PREFIX):
            request = Request(environ)
            body = _read_body(request)
            return _build_json_response(
                *self._admin_api.handle(request.method, request.path, request.args.to_dict(), body)
            )
        credential = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        service = self._services.get(credential["service"]) if credential else None
        if credential and re.fullmatch(r"\d{12}", credential["key"]):
            # moto takes the account from this header.
            environ.setdefault("HTTP_X_MOTO_ACCOUNT_ID", credential["key"])
        if service is None or credential is None:
            if not credential and self._is_clean_rooms_ml(Request(environ)):
                return _build_error_response(
                    403,
                    "MissingAuthenticationToken",
                    "The request is not signed. Sign it with any secret key; the access key is the account id.",
                )
            limit_body(environ, MOTO_BODY)
            if credential and credential["service"] == "iam":
                return self._serve_iam(environ, credential["key"])
            return self._moto.find_application(environ)
        account = environ.get("HTTP_X_MOTO_ACCOUNT_ID") or _compat.find_account(credential["key"])
        request = Request(environ)
        _read_body(request)
        return self._serve(service, Caller(account, credential["region"]), request)

    def _serve_iam(self, environ: dict[str, Any], key: str) -> Callable[..., Iterable[bytes]]:
        """Answer the one operation of IAM that moto does not have; return moto's application for all others."""
        body = Request(environ).get_data()
        if not is_simulation(body):
            environ["wsgi.input"] = BytesIO(body)
            return self._moto.find_application(environ)
        account = environ.get("HTTP_X_MOTO_ACCOUNT_ID") or _compat.find_account(key)
        status, content = simulate(account, body)
        return _build_response(wire.HttpResponse(status, {"Content-Type": "text/xml"}, content))

    def _is_clean_rooms_ml(self, request: Request) -> bool:
        """Return whether an unsigned request has the method and path of an operation of Clean Rooms ML."""
        try:
            self._services["cleanrooms-ml"].routes.match(request.method, _compat.get_raw_path(request.environ))
        except ApiError:
            return False
        return True

    def _serve(self, service: Service, caller: Caller, request: Request) -> Response:
        # Added before the request is handled, so that the log includes requests whose connection a fault closes; their status stays 0.
        entry = {"time": self._clock.now(), "account": caller.account, "operation": "", "status": 0}
        self._journal.append(entry)
        try:
            operation, path = service.routes.match(request.method, _compat.get_raw_path(request.environ))
            entry["operation"] = operation.name
            require_region(caller.region)
            query = request.query_string.decode(errors="replace")
            members = wire.parse(operation, path, query, request.get_data(), dict(request.headers))
            response = service.handle(operation, members, caller)
        except ApiError as error:
            response = wire.build_error_response(service.model, error)
        except ConnectionDropped:
            _drop_connection(request)
            return Response(status=500)
        except Garbled as garbled:
            # Without x-amzn-RequestId, by which clients recognise the service's own responses.
            entry["status"] = 200
            return Response(garbled.body, 200, content_type="text/html")
        except Exception as error:
            traceback.print_exc()
            entry["status"] = 500
            text = f"Unexpected error in the emulator; see the traceback in its output. {type(error).__name__}: {error}"
            return _build_error_response(500, service.internal_error, text)
        entry["status"] = response.status
        return _build_response(response)


def _read_body(request: Request) -> bytes:
    """
    Read the body of a request, which werkzeug caches.

    :raises ApiError: It is too large, or its chunks are malformed.
    """
    limit_body(request.environ, SERVICE_BODY)
    try:
        return request.get_data()
    except RequestEntityTooLarge:
        raise body_too_large_error(SERVICE_BODY) from None
    except BadRequest:
        raise ApiError("InvalidRequestException", "The chunks of the body are malformed.", status=400) from None


def _build_response(content: wire.HttpResponse) -> Response:
    response = Response(content.body, content.status, headers=content.headers)
    if "Content-Type" not in content.headers:
        # werkzeug adds one even to a response without a body.
        del response.headers["Content-Type"]
    response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
    return response


def _build_json_response(status: int, body: dict[str, Any], error: str = "") -> Response:
    headers = {"Content-Type": "application/json", **({"x-amzn-ErrorType": error} if error else {})}
    return _build_response(wire.HttpResponse(status, headers, json.dumps(body).encode()))


def _build_error_response(status: int, code: str, message: str) -> Response:
    return _build_json_response(status, {"message": message}, code)


def _drop_connection(request: Request) -> None:
    """
    Close the connection of a request.

    :raises ConnectionDropped: The server does not give access to the connection; the caller of the application must close it.
    """
    if not _compat.close_connection(request.environ):
        raise ConnectionDropped
