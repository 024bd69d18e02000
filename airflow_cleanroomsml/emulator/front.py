"""The WSGI front: requests for Clean Rooms are answered here, all others by moto."""

from __future__ import annotations

import json
import re
import threading
import time
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from moto.iam.models import get_account_id_from
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.wrappers import Request, Response

from airflow_cleanroomsml.emulator import codec
from airflow_cleanroomsml.emulator.errors import ApiError
from airflow_cleanroomsml.emulator.faults import ConnectionDropped, Fault, Faults
from airflow_cleanroomsml.emulator.service import Service
from airflow_cleanroomsml.emulator.state import Caller

_CREDENTIAL = re.compile(r"Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_OWN = "/_emulator/"


class Front:
    """
    The application.

    :param services: Services by their signing name.
    :param backend: Whose clock a test may push.
    :param faults: Faults on request.
    """

    def __init__(self, services: dict[str, Service], backend: Any, faults: Faults) -> None:
        self._services = services
        self._backend = backend
        self._faults = faults
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._journal: deque[dict[str, Any]] = deque(maxlen=100_000)
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        if environ["PATH_INFO"].startswith(_OWN):
            return self._control(Request(environ))(environ, start_response)
        signed = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        service = self._services.get(signed["service"]) if signed else None
        if signed and re.fullmatch(r"\d{12}", signed["key"]):
            environ.setdefault("HTTP_X_MOTO_ACCOUNT_ID", signed["key"])
        if service is None or signed is None:
            if not signed and self._is_ours(Request(environ)):
                return _error(403, "MissingAuthenticationToken", "The request is not signed.")(environ, start_response)
            return self._moto_app(environ)(environ, start_response)
        account = environ.get("HTTP_X_MOTO_ACCOUNT_ID") or get_account_id_from(signed["key"])
        response = self._serve(service, Caller(account, signed["region"]), Request(environ))
        return response(environ, start_response)

    def _is_ours(self, request: Request) -> bool:
        """Whether a request that nobody signed is one of Clean Rooms ML, by its method and path."""
        try:
            self._services["cleanrooms-ml"].routes.match(request.method, _raw_path(request))
        except ApiError:
            return False
        return True

    def _moto_app(self, environ: dict[str, Any]) -> Callable[..., Iterable[bytes]]:
        app: Callable[..., Iterable[bytes]] = self._moto.get_application(environ)
        return app

    def _serve(self, service: Service, caller: Caller, request: Request) -> Response:
        entry = {"time": time.time(), "account": caller.account, "operation": "", "status": 0}
        self._journal.append(entry)
        try:
            operation, found = service.routes.match(request.method, _raw_path(request))
            entry["operation"] = operation.name
            query = request.query_string.decode()
            members = codec.parse(operation, found, query, request.get_data())
            status, body = service.answer(operation, members, caller)
        except ApiError as error:
            status, body = codec.error_body(service.model, error)
            entry["status"] = status
            return _json(status, body, error.code)
        except ConnectionDropped:
            _drop(request)
            return Response(status=500)
        except Exception as error:
            traceback.print_exc()
            entry["status"] = 500
            return _error(500, service.internal_error, f"The emulator itself failed: {type(error).__name__}: {error}")
        entry["status"] = status
        return _json(status, body)

    def _control(self, request: Request) -> Response:
        """The emulator's own paths: ``requests`` (GET), ``faults`` (POST), ``clock`` (POST), ``health`` (GET)."""
        name, account = request.path[len(_OWN) :], request.args.get("account")
        if name == "requests":
            entries = [entry for entry in self._journal if account in (None, entry["account"])]
            return _json(200, {"requests": entries})
        if name == "health":
            return _json(200, {"status": "ok"})
        if name in ("faults", "clock") and request.method == "POST":
            try:
                self._turn(name, json.loads(request.get_data()))
            except (ValueError, TypeError, KeyError) as error:
                return _error(400, "BadRequest", str(error))
            return _json(200, {})
        return _error(404, "NotFound", f"No {request.method} {request.path}.")

    def _turn(self, name: str, given: dict[str, Any]) -> None:
        if name == "faults":
            self._faults.add(Fault(**given))
        else:
            self._backend.clock.advance(float(given["advance"]))


def _raw_path(request: Request) -> str:
    """The path as it came: an ARN in it is percent-encoded, and its slashes are no separators."""
    return str(request.environ.get("RAW_URI", request.path)).split("?")[0]


def _json(status: int, body: dict[str, Any], error: str = "") -> Response:
    response = Response(json.dumps(body), status, content_type="application/json")
    response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
    if error:
        response.headers["x-amzn-ErrorType"] = error
    return response


def _error(status: int, code: str, message: str) -> Response:
    return _json(status, {"message": message}, code)


def _drop(request: Request) -> None:
    """Close the connection without an answer."""
    import socket

    request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
