"""Polling a resource, and what its status means for a wait."""

from __future__ import annotations

import json
import time
from typing import Any, NoReturn

import pytest
from botocore.exceptions import UnauthorizedSSOTokenError
from botocore.stub import Stubber

from airflow_cleanroomsml._requests.request import find_description_shape, load
from airflow_cleanroomsml._resources.table import OUTCOMES, RESOURCES, Goal, Outcome, Resource
from airflow_cleanroomsml._waiting.loop import poll_once
from airflow_cleanroomsml._waiting.outcome import raise_for_outcome
from airflow_cleanroomsml._waiting.wait import LAG, PollResult, Wait, read_poll_result
from airflow_cleanroomsml.exceptions import AccessDeniedError, CleanRoomsMLError, JobFailedError, WaitTimeoutError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from tests.support import World

ARN = "arn:aws:cleanrooms-ml:us-east-1:123456789012:audience-model/m"


def build_wait(
    goal: Goal = Goal.CREATED, started: float | None = None, timeout: float = 3600.0, delay: float = 60.0
) -> Wait:
    started = time.time() if started is None else started
    return Wait("audience model", goal.value, {"audience_model_arn": ARN}, started, started + timeout, delay)


def poll_status(hook: CleanRoomsMLHook, status: str, goal: Goal = Goal.CREATED, **details: Any) -> PollResult:
    with Stubber(hook.conn) as stub:
        response = {
            "createTime": 0,
            "updateTime": 0,
            "audienceModelArn": ARN,
            "name": "m",
            "trainingDatasetArn": ARN.replace("audience-model", "training-dataset"),
            "status": status,
        }
        stub.add_response("get_audience_model", {**response, **details}, {"audienceModelArn": ARN})
        return poll_once(hook, build_wait(goal))


@pytest.fixture
def hook(empty_world: World) -> CleanRoomsMLHook:
    return CleanRoomsMLHook()


ROWS_WITH_STATUS = [row for row in RESOURCES.values() if "status" in find_description_shape(row).members]


def list_statuses(resource: Resource) -> set[str]:
    return set(find_description_shape(resource).members["status"].metadata["enum"])


@pytest.mark.parametrize(
    ("resource", "goal"),
    [
        pytest.param(row, goal, id=f"{row.noun} {goal.value}")
        for row in ROWS_WITH_STATUS
        for goal in Goal
        if goal is not Goal.CANCELLED or "CANCEL_PENDING" in list_statuses(row)
    ],
)
def test_every_status_has_outcome(resource: Resource, goal: Goal) -> None:
    statuses = list_statuses(resource)
    assert statuses <= set(OUTCOMES[goal])
    # At least one of them means success. A deletion may also succeed by the resource being gone.
    assert goal is Goal.DELETED or Outcome.SUCCESS in {OUTCOMES[goal][status] for status in statuses}


def test_every_status_enum_belongs_to_resource() -> None:
    enums = {
        name for name in load().shape_names if name.endswith("Status") and load().shape_for(name).metadata.get("enum")
    }
    # LogsStatus and MetricsStatus say whether logs and metrics reached CloudWatch; they are not statuses of a resource.
    status_shapes = {find_description_shape(row).members["status"].name for row in ROWS_WITH_STATUS} | {
        "LogsStatus",
        "MetricsStatus",
    }
    assert status_shapes == enums


@pytest.mark.parametrize(
    ("status", "goal", "outcome"),
    [
        ("CREATE_PENDING", Goal.CREATED, Outcome.PENDING),
        ("ACTIVE", Goal.CREATED, Outcome.SUCCESS),
        ("CREATE_FAILED", Goal.CREATED, Outcome.FAILURE),
        ("DELETE_PENDING", Goal.CREATED, Outcome.FAILURE),
        ("DELETE_IN_PROGRESS", Goal.DELETED, Outcome.PENDING),
        ("ACTIVE", Goal.DELETED, Outcome.PENDING),
        ("DELETE_FAILED", Goal.DELETED, Outcome.FAILURE),
        ("A_STATUS_OF_NEXT_YEAR", Goal.CREATED, Outcome.PENDING),
    ],
)
def test_outcome_of_status(hook: CleanRoomsMLHook, status: str, goal: Goal, outcome: Outcome) -> None:
    assert poll_status(hook, status, goal).outcome == outcome.value


def test_failure_has_code_and_message(hook: CleanRoomsMLHook) -> None:
    poll_result = poll_status(
        hook, "CREATE_FAILED", statusDetails={"statusCode": "NO_DATA", "message": "the table is empty"}
    )
    with pytest.raises(
        JobFailedError, match=rf"(?s)The audience model is CREATE_FAILED.*NO_DATA: the table is empty.*{ARN}"
    ) as caught:
        raise_for_outcome(build_wait(), poll_result)
    error = caught.value
    assert (error.status, error.code, error.reason) == (
        "CREATE_FAILED",
        "NO_DATA",
        "the table is empty",
    )


def test_gone_is_success_for_deletion_and_failure_for_old_creation(hook: CleanRoomsMLHook) -> None:
    assert poll_once(hook, build_wait(Goal.DELETED)).outcome == "success"
    assert poll_once(hook, build_wait(started=time.time() - 5)).outcome == "pending"
    late = poll_once(hook, build_wait(started=time.time() - LAG - 1))
    assert late.outcome == "failure"
    with pytest.raises(JobFailedError, match="(?s)not found.*ResourceNotFoundException"):
        raise_for_outcome(build_wait(), late)


@pytest.mark.parametrize("fault", ["throttle", "server_error", "reset", "garbled"])
def test_temporary_error_is_pending(empty_world: World, fault: str) -> None:
    hook = CleanRoomsMLHook(config={"retries": {"total_max_attempts": 1}})
    empty_world.add_fault("GetAudienceModel", fault)
    assert poll_once(hook, build_wait()).outcome == "pending"


@pytest.mark.parametrize("error", [UnauthorizedSSOTokenError(), TypeError("a bug of botocore")])
def test_permanent_error_ends_wait(hook: CleanRoomsMLHook, error: Exception) -> None:
    def fail(**_: Any) -> NoReturn:
        raise error

    conn: Any = hook.conn
    conn.meta.events.register("before-send", fail)
    with pytest.raises(CleanRoomsMLError) as caught:
        poll_once(hook, build_wait())
    assert type(caught.value) is CleanRoomsMLError


def test_access_denied_ends_wait(hook: CleanRoomsMLHook, empty_world: World) -> None:
    empty_world.add_fault("GetAudienceModel", "access_denied")
    with pytest.raises(AccessDeniedError):
        poll_once(hook, build_wait())


def test_pauses_grow_with_waiting_time() -> None:
    wait = build_wait(started=1000.0, timeout=100_000.0)
    assert 0.9 <= wait.pause(1000.0) <= 1.1
    assert 9 <= wait.pause(1040.0) <= 11
    assert 54 <= wait.pause(5000.0) <= 66


def test_no_pause_exceeds_deadline() -> None:
    assert build_wait(started=1000.0, timeout=100.0).pause(1099.5) == 0.5
    assert build_wait(started=1000.0, timeout=100.0).pause(1200.0) == 0


def test_time_out_error_says_how_to_wait_longer() -> None:
    with pytest.raises(
        WaitTimeoutError, match=r"(?s)still CREATE_IN_PROGRESS after 3600 s.*still running.*waiter_max_attempts"
    ):
        raise_for_outcome(build_wait(), PollResult("CREATE_IN_PROGRESS", Outcome.PENDING))


def test_wait_survives_serialization() -> None:
    wait = build_wait()._replace(created_after=12.5, history=(("CREATE_PENDING", 1000.0),))
    stored = json.loads(json.dumps(wait.to_json()))
    assert Wait.from_json(stored) == wait
    # Tasks and triggerers of earlier releases read this name.
    assert stored["made_after"] == 12.5


def test_events_of_earlier_releases_are_read() -> None:
    old_result = {
        "status": "CREATE_IN_PROGRESS",
        "outcome": "again",
        "status_code": "",
        "message": "",
        "report": {"a": 1},
    }
    expected = PollResult("CREATE_IN_PROGRESS", Outcome.PENDING, outputs={"a": 1})
    assert read_poll_result({"wait": {}, "observation": old_result}) == expected
    assert read_poll_result({"wait": {}, "poll_result": expected.to_json()}) == expected
    assert read_poll_result({"wait": {}, "error": "no connection"}) is None
