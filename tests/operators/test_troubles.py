"""Tasks that fail at an awkward moment report the cause and start nothing twice."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_cleanroomsml._compat import TaskDeferred
from airflow_cleanroomsml.exceptions import AlreadyExistsError, CleanRoomsMLError, JobFailedError, WaitBrokenError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLCreateTrainingDatasetOperator,
)
from tests.support import EmulatorProcess, World, run
from tests.waiting.test_cancellation import LastTry


def defer(operator: Any, context: Any) -> Any:
    """Run a task until it defers, and return the deferral."""
    operator.render_template_fields(context)
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context)
    return caught.value


def run_trigger(deferral: Any) -> dict[str, Any]:
    """Run the trigger of a deferral, and return its event."""
    path, keywords = deferral.trigger.serialize()
    module, name = path.rsplit(".", 1)
    trigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(keywords)))

    async def read_event() -> Any:
        return (await anext(trigger.run())).payload

    event: dict[str, Any] = json.loads(json.dumps(asyncio.run(read_event())))
    return event


@pytest.fixture
def world_with_long_jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An account in an emulator whose jobs outlast the start of a deferral, even on a busy machine."""
    emulator = EmulatorProcess("--scale", "0.001", "--pending-seconds", "0", "--progress-seconds", "5")
    world = World(emulator)
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", world.account)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    yield world.build()
    emulator.stop()


def test_failure_of_job_is_reported_if_connection_is_missing(
    world_with_long_jobs: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_with_long_jobs
    monkeypatch.setenv("AIRFLOW_CONN_MINE", '{"conn_type": "aws", "extra": {"region_name": "us-east-1"}}')
    world.add_fault("CreateAudienceModel", "fail_job")
    dataset = world.create_dataset("x")

    def build_operator() -> CleanRoomsMLCreateAudienceModelOperator:
        return CleanRoomsMLCreateAudienceModelOperator(
            task_id="t", name="m", training_dataset_arn=dataset, deferrable=True, aws_conn_id="mine", waiter_delay=0.5
        )

    context: Any = {"params": {}, "ti": LastTry()}
    deferral = defer(build_operator(), context)
    event = run_trigger(deferral)
    # The task resumes in another process, while the secrets backend is unavailable.
    monkeypatch.delenv("AIRFLOW_CONN_MINE")
    resumed = build_operator()
    resumed.render_template_fields(context)
    with pytest.raises(JobFailedError, match="CREATE_FAILED"):
        resumed.resume_execution(deferral.method_name, {"event": event}, context)
    assert world.calls.count("CreateAudienceModel") == 1


@pytest.mark.parametrize("durable", [False, True], ids=["not durable", "durable"])
@pytest.mark.parametrize("error", ["Trigger failure", "Trigger timeout"])
def test_trigger_failure_in_start_queue_starts_nothing_and_is_retried(
    empty_world: World, durable: bool, error: str
) -> None:
    operator = CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="m", training_dataset_arn=empty_world.create_dataset("x"), deferrable=True, durable=durable
    )
    ti = LastTry()
    ti.map_index = 3
    context: Any = {"params": {}, "ti": ti}
    assert defer(operator, context).method_name == "execute_in_turn"
    with pytest.raises(
        CleanRoomsMLError,
        match="(?s)Nothing was started: .* still waiting to start its audience model.*Trigger ",
    ) as caught:
        operator.resume_execution("__fail__", {"error": error}, context)
    assert not isinstance(caught.value, WaitBrokenError)
    assert ("Check that a triggerer is running" in str(caught.value)) is (error == "Trigger timeout")
    assert "CreateAudienceModel" not in empty_world.calls


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (None, "Other tasks were still ahead of it."),
        ({"why": "throttled", "quota_name": "", "quota_value": None}, "The service had throttled the start"),
        (
            {"why": "quota", "quota_name": "Jobs in progress", "quota_value": 2.0},
            "The quota was still used up (quotaName: Jobs in progress, quotaValue: 2).",
        ),
    ],
    ids=["not sent", "throttled", "quota"],
)
def test_a_start_that_waited_in_vain_says_what_for(empty_world: World, refused: Any, reason: str) -> None:
    operator = CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="m", training_dataset_arn=empty_world.create_dataset("x"), deferrable=True
    )
    context: Any = {"ti": LastTry()}
    with pytest.raises(CleanRoomsMLError) as caught:
        operator.execute_in_turn(context, {"turn": False, "deadline": 0.0, "refused": refused})
    assert f"\n  {reason}" in str(caught.value)
    assert ("quota was" in str(caught.value)) is (refused is not None and refused["why"] == "quota")
    assert "increase quota_timeout (in seconds)" in str(caught.value)


class TestReuse:
    def build_operator(self, world: World, **more: Any) -> CleanRoomsMLCreateTrainingDatasetOperator:
        arguments = {"role_arn": world.role, "training_data": world.build_training_data(), "if_exists": "reuse"}
        return CleanRoomsMLCreateTrainingDatasetOperator(task_id="t", name="d", **{**arguments, **more})

    def test_dataset_created_since_lookup_is_reused(
        self, world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arn = world.create_dataset("d")
        world.add_fault("ListTrainingDatasets", "stale_listing", times=1, seconds=60.0)
        assert run(self.build_operator(world)).result == arn
        # Airflow 2.11 and 3.x log in different ways.
        assert f"Using the training dataset {arn}" in caplog.text + capsys.readouterr().out

    def test_different_dataset_is_rejected(self, world: World) -> None:
        world.create_dataset("d")
        world.add_fault("ListTrainingDatasets", "stale_listing", times=1, seconds=60.0)
        with pytest.raises(AlreadyExistsError, match="role_arn"):
            run(self.build_operator(world, role_arn=f"{world.role}-of-others"))
