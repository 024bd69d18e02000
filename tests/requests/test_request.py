"""Requests that create or start something are sent only once, in both services."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from botocore import xform_name

from airflow_cleanroomsml._requests.request import Request, find_argument_shapes, load
from airflow_cleanroomsml.exceptions import OutcomeUnknownError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from tests.helpers.generated_requests import build_valid
from tests.support import World

#: Verbs of operations that only read, or that have no further effect when repeated.
REPEATABLE = ("batch", "cancel", "delete", "disallow", "get", "list", "preview", "put", "tag", "untag", "update")
CREATING = ("create", "populate", "start")
OPERATIONS = [
    pytest.param(service, xform_name(name), id=f"{service}.{name}")
    for service in ("cleanroomsml", "cleanrooms")
    for name in load(service).operation_names
]


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_each_operation_that_starts_something_is_sent_once(service: str, operation: str) -> None:
    verb = operation.partition("_")[0]
    assert verb in REPEATABLE + CREATING, "does it start something? see Request.is_sent_once"
    assert Request(load(service), operation, {}).is_sent_once == (verb in CREATING)


class Loopback(HTTPServer):
    """A service that drops the connection, fails, or sends part of a response; the emulator cannot populate tables."""

    def __init__(self, fault: str) -> None:
        self.requests: list[str] = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                requests.append(self.path)
                self.rfile.read(int(self.headers["Content-Length"]))
                if fault == "connection lost":
                    self.close_connection = True
                    return
                body = b"{" if fault == "truncated" else b"{}"
                self.send_response(500 if fault == "error" else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.mark.parametrize("operation", ["populate_id_mapping_table", "populate_intermediate_table"])
@pytest.mark.parametrize("fault", ["connection lost", "error", "truncated", "empty"])
def test_request_to_populate_table_is_not_repeated(
    empty_world: World, monkeypatch: pytest.MonkeyPatch, operation: str, fault: str
) -> None:
    names = {xform_name(name): name for name in load("cleanrooms").operation_names}
    if operation not in names:
        pytest.skip("the installed botocore does not know this operation")
    shapes: dict[str, Any] = find_argument_shapes("cleanrooms", operation)
    shape: Any = load("cleanrooms").operation_model(names[operation]).input_shape
    arguments = {name: build_valid(shapes[name]) for name in map(xform_name, shape.required_members)}
    with Loopback(fault) as service:
        Thread(target=service.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{service.server_port}")
        with pytest.raises(OutcomeUnknownError, match="may have been carried out"):
            CleanRoomsMLHook().of("cleanrooms").call(operation, arguments)
        service.shutdown()
    assert len(service.requests) == 1
