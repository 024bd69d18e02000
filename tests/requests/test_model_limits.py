"""The limits in the installed service model, for every operation: values at a limit are sent, values beyond it are rejected."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from botocore import xform_name
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator

from airflow_cleanroomsml._requests.request import load
from airflow_cleanroomsml.exceptions import CleanRoomsMLError, InvalidRequestError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from tests.helpers.generated_requests import Case, break_requests, build_requests_at_limits

_ASSOCIATION = "ConfiguredAudienceModelAssociation"
#: Operations of the cleanrooms service that a Clean Rooms ML pipeline needs.
_CLEANROOMS = [
    *(f"{verb}{_ASSOCIATION}" for verb in ("Create", "Delete", "Get", "GetCollaboration", "Update")),
    *(f"{verb}{_ASSOCIATION}s" for verb in ("List", "ListCollaboration")),
    *("GetMembership", "ListMemberships", "GetProtectedQuery", "UpdateProtectedQuery"),
    *("ListCollaborations", "GetCollaboration", "ListMembers"),
]
_OPERATIONS = [
    *(("cleanroomsml", name) for name in load().operation_names),
    *(("cleanrooms", name) for name in _CLEANROOMS),
]


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing; the tests check the recorded requests."""


class Recorder:
    """A local server that records every request and rejects it."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self._server = make_server("127.0.0.1", 0, self._respond, handler_class=_Silent)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _respond(self, environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        self.requests.append(environ["REQUEST_METHOD"])
        start_response("400 Bad Request", [("Content-Type", "application/json"), ("Content-Length", "2")])
        return [b"{}"]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.stop()


@pytest.fixture
def recorder(server: Recorder) -> Recorder:
    """The server, without requests from earlier tests."""
    server.requests.clear()
    return server


@pytest.fixture(scope="module")
def hooks(server: Recorder) -> Iterator[dict[str, CleanRoomsMLHook]]:
    """A hook for each service, with the recorder as the endpoint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        hooks = {"cleanroomsml": CleanRoomsMLHook(), "cleanrooms": CleanRoomsMLHook()}
        hooks["cleanrooms"].client_type = "cleanrooms"
        yield hooks


every_operation = pytest.mark.parametrize(("service", "operation"), _OPERATIONS)


def _describe_wrong_rejection(hook: CleanRoomsMLHook, operation: str, case: Case) -> str:
    """Describe what is wrong with how a request was rejected; return an empty string if nothing is."""
    try:
        hook.call(xform_name(operation), case.value)
    except InvalidRequestError as error:
        if len(error.violations) != 1:
            return f"not one violation, but {error.violations}"
        (violation,) = error.violations
        is_expected = violation.startswith(f"{case.where}: ") and case.says in violation and violation in str(error)
        return "" if is_expected else f"rejected for another reason: {error}"
    except CleanRoomsMLError as error:
        return f"sent: {error}"
    return "not rejected"


# One test per operation, not per limit: collecting and reporting 4,600 tests took longer than checking the limits.
@every_operation
def test_value_beyond_limit_is_rejected_and_not_sent(
    hooks: dict[str, CleanRoomsMLHook], recorder: Recorder, service: str, operation: str
) -> None:
    rejections = [
        (case.where, case.rule, _describe_wrong_rejection(hooks[service], operation, case))
        for case in break_requests(load(service), operation)
    ]
    assert rejections
    assert [rejection for rejection in rejections if rejection[-1]] == []
    assert recorder.requests == []


@every_operation
def test_value_at_limit_passes_here_and_in_botocore(
    hooks: dict[str, CleanRoomsMLHook], service: str, operation: str
) -> None:
    serializer = create_serializer(load(service).metadata["protocol"])
    for case in build_requests_at_limits(load(service), operation):
        request = hooks[service].check(xform_name(operation), case.value)
        shape = request.operation.input_shape
        assert shape is not None
        assert ParamValidator().validate(request.members, shape).generate_report() == "", case
        serializer.serialize_to_request(request.members, request.operation)


@every_operation
def test_valid_request_is_sent(
    hooks: dict[str, CleanRoomsMLHook], recorder: Recorder, service: str, operation: str
) -> None:
    smallest = next(build_requests_at_limits(load(service), operation))
    with pytest.raises(CleanRoomsMLError):
        hooks[service].call(xform_name(operation), smallest.value)
    method = load(service).operation_model(operation).http["method"]
    assert recorder.requests == [method]
