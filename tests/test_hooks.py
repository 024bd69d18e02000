from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

import pytest
from botocore.stub import Stubber

from airflow_cleanroomsml.exceptions import (
    AccessDeniedError,
    CleanRoomsMLError,
    InvalidRequestError,
    NoQuotaError,
    OutcomeUnknownError,
    ServiceError,
    ThrottledError,
    UnreachableError,
)
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.operators import CleanRoomsMLCallOperator
from tests.support import World, run


def build_dataset_request(world: World, name: str = "d", **more: Any) -> dict[str, Any]:
    return {"name": name, "role_arn": world.role, "training_data": world.build_training_data(), **more}


@pytest.fixture
def hook(empty_world: World) -> CleanRoomsMLHook:
    return CleanRoomsMLHook()


def test_call_returns_response_without_metadata(hook: CleanRoomsMLHook, empty_world: World) -> None:
    created = hook.call("create_training_dataset", build_dataset_request(empty_world))
    assert list(created) == ["trainingDatasetArn"]
    dataset = hook.call("get_training_dataset", {"training_dataset_arn": created["trainingDatasetArn"]})
    assert dataset["name"] == "d"
    assert dataset["trainingData"] == empty_world.build_training_data()


def test_bad_request_is_not_sent(hook: CleanRoomsMLHook, empty_world: World) -> None:
    with pytest.raises(InvalidRequestError, match="CreateTrainingDataset was not sent"):
        hook.call("create_training_dataset", build_dataset_request(empty_world, name="x" * 64))
    assert empty_world.calls == []


def test_items_cover_all_pages_and_pages_are_read_lazily(hook: CleanRoomsMLHook, empty_world: World) -> None:
    for index in range(5):
        hook.call("create_training_dataset", build_dataset_request(empty_world, name=f"d{index}"))
    before = len(empty_world.calls)
    names = [entry["name"] for entry in hook.items("list_training_datasets", {"max_results": 2})]
    assert names == ["d0", "d1", "d2", "d3", "d4"]
    assert len(empty_world.calls) - before == 3
    next(hook.pages("list_training_datasets", {"max_results": "2"}))
    assert len(empty_world.calls) - before == 4


@pytest.mark.parametrize("fault", ["lose_response", "server_error", "reset"])
def test_create_with_unknown_outcome_is_not_retried(hook: CleanRoomsMLHook, empty_world: World, fault: str) -> None:
    empty_world.add_fault("CreateTrainingDataset", fault, times=9)
    with pytest.raises(OutcomeUnknownError, match="(?s)may have been carried out.*'d'"):
        hook.call("create_training_dataset", build_dataset_request(empty_world))
    assert empty_world.calls == ["CreateTrainingDataset"]


@pytest.mark.parametrize("body", [b'{"training', b"", b"{}", b"\xff\xfe", b"[1, 2]", b"null", b'"x"'])
def test_unreadable_response_leaves_outcome_unknown(
    empty_world: World, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    requests = []

    class BrokenHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), BrokenHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(
            OutcomeUnknownError,
            match="(?s)may have been carried out.*got a response without|got no readable response",
        ):
            CleanRoomsMLHook().call("create_training_dataset", build_dataset_request(empty_world))
        server.shutdown()
    assert requests == ["/training-dataset"]


def test_request_is_not_sent_without_credentials(
    empty_world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("x" * 40)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ROLE_ARN", empty_world.role)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match="Nothing was sent: no credentials"):
        CleanRoomsMLHook(config={"connect_timeout": 1}).call(
            "create_training_dataset", build_dataset_request(empty_world)
        )
    assert empty_world.calls == []


def test_read_is_retried(hook: CleanRoomsMLHook, empty_world: World) -> None:
    empty_world.add_fault("ListTrainingDatasets", "reset", times=2)
    assert list(hook.items("list_training_datasets")) == []
    assert empty_world.calls == ["ListTrainingDatasets"] * 3


def test_a_conditional_put_is_sent_once(hook: CleanRoomsMLHook, empty_world: World) -> None:
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{empty_world.account}:configured-audience-model/x"
    empty_world.add_fault("PutConfiguredAudienceModelPolicy", "reset", times=9)
    put = {"configured_audience_model_arn": arn, "configured_audience_model_policy": "{}"}
    with pytest.raises(OutcomeUnknownError):
        hook.call("put_configured_audience_model_policy", {**put, "policy_existence_condition": "POLICY_MUST_EXIST"})
    assert len(empty_world.calls) == 1


def test_throttled_create_is_retried_and_creates_once(
    hook: CleanRoomsMLHook, empty_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    empty_world.add_fault("CreateTrainingDataset", "throttle", times=3)
    hook.call("create_training_dataset", build_dataset_request(empty_world))
    assert empty_world.calls == ["CreateTrainingDataset"] * 4
    assert len(empty_world.ml.list_training_datasets()["trainingDatasets"]) == 1
    assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses))


def test_retries_are_limited(hook: CleanRoomsMLHook, empty_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    empty_world.add_fault("CreateTrainingDataset", "throttle", times=99)
    with pytest.raises(ThrottledError):
        hook.call("create_training_dataset", build_dataset_request(empty_world))
    assert len(empty_world.calls) == 9
    assert max(pauses) <= 20


def test_throttled_listing_does_not_advise_fewer_jobs(
    hook: CleanRoomsMLHook, empty_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    empty_world.add_fault("ListAudienceModels", "throttle", times=99)
    with pytest.raises(ThrottledError) as caught:
        list(hook.items("list_audience_models"))
    assert "poke_interval" in str(caught.value)
    assert "Start fewer jobs" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("access_denied", AccessDeniedError), ("quota", NoQuotaError), ("no_quota", NoQuotaError)],
)
def test_refusal_has_its_class(
    hook: CleanRoomsMLHook, empty_world: World, fault: str, kind: type[CleanRoomsMLError]
) -> None:
    empty_world.add_fault("CreateTrainingDataset", fault)
    with pytest.raises(kind) as caught:
        hook.call("create_training_dataset", build_dataset_request(empty_world))
    assert type(caught.value) is kind


def test_denial_names_permissions_that_request_needs(hook: CleanRoomsMLHook, empty_world: World) -> None:
    empty_world.add_fault("*", "access_denied", times=0)
    with pytest.raises(AccessDeniedError) as caught:
        list(hook.items("list_audience_models"))
    listing = str(caught.value)
    assert "Check that the caller has at least these permissions: cleanrooms-ml:ListAudienceModels." in listing
    assert "role in the request" not in listing
    with pytest.raises(AccessDeniedError) as caught:
        hook.call("create_training_dataset", {**build_dataset_request(empty_world), "tags": {"team": "ads"}})
    create = " ".join(str(caught.value).split())
    assert "cleanrooms-ml:CreateTrainingDataset, cleanrooms-ml:TagResource, iam:PassRole." in create
    assert "role in the request must be in the caller's account" in create


def test_request_is_not_sent_if_service_is_unreachable(empty_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match="(?s)CreateTrainingDataset was not sent.*127.0.0.1:9"):
        CleanRoomsMLHook().call("create_training_dataset", build_dataset_request(empty_world))


def test_operation_that_emulator_lacks_fails_at_once(hook: CleanRoomsMLHook, empty_world: World) -> None:
    with pytest.raises(ServiceError, match="does not support ListConfiguredTables"):
        hook.of("cleanrooms").call("list_configured_tables")
    assert empty_world.calls == ["ListConfiguredTables"]


def test_service_error_omits_text_of_query(hook: CleanRoomsMLHook, empty_world: World) -> None:
    # The emulator accepts no SQL seeds. This error quotes the query, as SQL engines do.
    with Stubber(hook.conn_once) as stub:
        stub.add_client_error(
            "start_audience_generation_job",
            "ValidationException",
            "syntax error at or near 'SELECT marker FROM t'",
            http_status_code=400,
        )
        seed = {"roleArn": empty_world.role, "sqlParameters": {"queryString": "SELECT marker FROM t"}}
        arn = f"arn:aws:cleanrooms-ml:us-east-1:{empty_world.account}:configured-audience-model/x"
        with pytest.raises(ServiceError) as caught:
            hook.call(
                "start_audience_generation_job",
                {"name": "n", "configured_audience_model_arn": arn, "seed_audience": seed},
            )
    assert "marker" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_users_retries_apply_to_reads_only(empty_world: World) -> None:
    hook = CleanRoomsMLHook(config={"retries": {"total_max_attempts": 7}, "read_timeout": 12})
    conn: Any = hook.conn
    assert conn.meta.config.retries["total_max_attempts"] == 7
    assert hook.conn_once.meta.config.retries["total_max_attempts"] == 1
    assert hook.conn_once.meta.config.read_timeout == 12


def test_one_client_is_enough_without_retries(empty_world: World) -> None:
    hook = CleanRoomsMLHook(config={"retries": {"total_max_attempts": 1}})
    assert hook.conn_once is hook.conn


def test_user_agent_names_operator_without_reading_source(empty_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise AssertionError("inspect has read the source")

    monkeypatch.setattr("inspect.getframeinfo", fail)
    operator = CleanRoomsMLCallOperator(task_id="t", operation="list_training_datasets")
    run(operator)
    clients: list[Any] = [operator.hook.conn, CleanRoomsMLHook().conn]
    user_agents = [client.meta.config.user_agent_extra for client in clients]
    assert "Caller/CleanRoomsMLCallOperator" in user_agents[0]
    assert "Caller/Unknown" in user_agents[1]
