"""The WSGI front: requests for Clean Rooms are answered here, all others by moto."""

from __future__ import annotations

import json
import logging
import re
import socket
import traceback
import uuid
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request, Response

from airflow_cleanroomsml.emulator import moto_s3, wire
from airflow_cleanroomsml.emulator.admin_api import PREFIX, Control
from airflow_cleanroomsml.emulator.context import Shared
from airflow_cleanroomsml.emulator.errors import ApiError
from airflow_cleanroomsml.emulator.faults import ConnectionDropped, Garbled
from airflow_cleanroomsml.emulator.regions import require_region
from airflow_cleanroomsml.emulator.request_guard import MOTO_BODY, SERVICE_BODY, RequestGuard, limit_body, too_large
from airflow_cleanroomsml.emulator.service import Service
from airflow_cleanroomsml.emulator.store import Caller

log = logging.getLogger(__name__)

_CREDENTIAL = re.compile(r"Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")


class Front:
    """
    The application.

    :param services: Services by their signing name.
    :param shared: The emulator's state.
    :param guard: Refuses requests by their headers.
    """

    def __init__(self, services: dict[str, Service], shared: Shared, guard: RequestGuard) -> None:
        self._services = services
        self._clock = shared.clock
        self._moto = DomainDispatcherApplication(moto_s3.create_app)
        self._journal = shared.journal
        self._control = Control(shared)
        self._guard = guard

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""

        def dated(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            # Who compares createTime with the time of an answer must find one clock.
            others = [(name, value) for name, value in headers if name.lower() != "date"]
            return start_response(status, [*others, ("Date", formatdate(self._clock.now(), usegmt=True))], *error)

        return self._answer(environ)(environ, dated)

    def _answer(self, environ: dict[str, Any]) -> Callable[..., Iterable[bytes]]:
        """What answers a request: a response of ours, or moto's application."""
        try:
            self._guard.check(environ)
            return self._dispatch(environ)
        except ApiError as error:
            # Not every client shows what an answer says that is none of its service.
            log.warning("Refused a request with status %d: %s", error.status, error.message)
            return _error(error.status, error.code, error.message)

    def _dispatch(self, environ: dict[str, Any]) -> Callable[..., Iterable[bytes]]:
        if environ["PATH_INFO"].startswith(PREFIX):
            request = Request(environ)
            body = _read_body(request)
            return _json(*self._control.answer(request.method, request.path, request.args.to_dict(), body))
        signed = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        service = self._services.get(signed["service"]) if signed else None
        if signed and re.fullmatch(r"\d{12}", signed["key"]):
            environ.setdefault("HTTP_X_MOTO_ACCOUNT_ID", signed["key"])
        if service is None or signed is None:
            if not signed and self._is_ours(Request(environ)):
                return _error(403, "MissingAuthenticationToken", "The request is not signed.")
            limit_body(environ, MOTO_BODY)
            app: Callable[..., Iterable[bytes]] = self._moto.get_application(environ)
            return app
        account = environ.get("HTTP_X_MOTO_ACCOUNT_ID") or _account_of(signed["key"])
        request = Request(environ)
        _read_body(request)
        return self._serve(service, Caller(account, signed["region"]), request)

    def _is_ours(self, request: Request) -> bool:
        """Whether a request that nobody signed is one of Clean Rooms ML, by its method and path."""
        try:
            self._services["cleanrooms-ml"].routes.match(request.method, _raw_path(request))
        except ApiError:
            return False
        return True

    def _serve(self, service: Service, caller: Caller, request: Request) -> Response:
        entry = {"time": self._clock.now(), "account": caller.account, "operation": "", "status": 0}
        self._journal.append(entry)
        try:
            operation, found = service.routes.match(request.method, _raw_path(request))
            entry["operation"] = operation.name
            require_region(caller.region)
            query = request.query_string.decode()
            members = wire.parse(operation, found, query, request.get_data(), dict(request.headers))
            answer = service.answer(operation, members, caller)
        except ApiError as error:
            answer = wire.error_answer(service.model, error)
        except ConnectionDropped:
            _drop(request)
            return Response(status=500)
        except Garbled as garbled:
            # A request ID is what tells the service's own answers from others.
            entry["status"] = 200
            return Response(garbled.body, 200, content_type="text/html")
        except Exception as error:
            traceback.print_exc()
            entry["status"] = 500
            return _error(500, service.internal_error, f"The emulator itself failed: {type(error).__name__}: {error}")
        entry["status"] = answer.status
        return _response(answer)


def _read_body(request: Request) -> bytes:
    """
    Read the body of a request of ours, which the request keeps.

    :raises ApiError: It is too large.
    """
    limit_body(request.environ, SERVICE_BODY)
    try:
        return request.get_data()
    except RequestEntityTooLarge:
        raise too_large(SERVICE_BODY) from None


def _account_of(key: str) -> str:
    """The account of an access key that moto has given out, as for an assumed role."""
    # Only such keys need moto's IAM, which takes as long to import as all the rest of this module.
    from moto.iam.models import get_account_id_from

    account: str = get_account_id_from(key)
    return account


def _raw_path(request: Request) -> str:
    """The path as it came: an ARN in it is percent-encoded, and its slashes are no separators."""
    return str(request.environ.get("RAW_URI", request.path)).split("?")[0]


def _response(answer: wire.Answer) -> Response:
    response = Response(answer.body, answer.status, headers=answer.headers)
    if "Content-Type" not in answer.headers:
        del response.headers["Content-Type"]  # werkzeug's own, where there is no content
    response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
    return response


def _json(status: int, body: dict[str, Any], error: str = "") -> Response:
    headers = {"Content-Type": "application/json", **({"x-amzn-ErrorType": error} if error else {})}
    return _response(wire.Answer(status, headers, json.dumps(body).encode()))


def _error(status: int, code: str, message: str) -> Response:
    return _json(status, {"message": message}, code)


def _drop(request: Request) -> None:
    """Close the connection without an answer; where there is none, say so to who called."""
    connection = request.environ.get("werkzeug.socket")
    if connection is None:
        raise ConnectionDropped
    connection.shutdown(socket.SHUT_RDWR)
