"""Tasks in trouble at the wrong moment: what they say, and that nothing is paid for twice."""

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


def deferred(operator: Any, context: Any) -> Any:
    """How a task defers itself."""
    operator.render_template_fields(context)
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context)
    return caught.value


def heard(deferral: Any) -> dict[str, Any]:
    """The event of its trigger."""
    path, keywords = deferral.trigger.serialize()
    module, name = path.rsplit(".", 1)
    trigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(keywords)))

    async def first() -> Any:
        return (await anext(trigger.run())).payload

    event: dict[str, Any] = json.loads(json.dumps(asyncio.run(first())))
    return event


@pytest.fixture
def lasting_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An account in an emulator whose jobs last until a task is deferred, on a busy machine too."""
    emulator = EmulatorProcess("--scale", "0.001", "--pending-seconds", "0", "--progress-seconds", "5")
    world = World(emulator)
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", world.account)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    yield world.build()
    emulator.stop()


def test_a_job_that_failed_has_failed_whatever_becomes_of_the_connection(
    lasting_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = lasting_world
    monkeypatch.setenv("AIRFLOW_CONN_MINE", '{"conn_type": "aws", "extra": {"region_name": "us-east-1"}}')
    world.add_fault("CreateAudienceModel", "fail_job")
    dataset = world.create_dataset("x")

    def operator() -> CleanRoomsMLCreateAudienceModelOperator:
        return CleanRoomsMLCreateAudienceModelOperator(
            task_id="t", name="m", training_dataset_arn=dataset, deferrable=True, aws_conn_id="mine", waiter_delay=0.5
        )

    context: Any = {"params": {}, "ti": LastTry()}
    deferral = deferred(operator(), context)
    event = heard(deferral)
    # It comes back in another process, while the secrets backend has no answer.
    monkeypatch.delenv("AIRFLOW_CONN_MINE")
    back = operator()
    back.render_template_fields(context)
    with pytest.raises(JobFailedError, match="CREATE_FAILED"):
        back.resume_execution(deferral.method_name, {"event": event}, context)
    assert world.calls.count("CreateAudienceModel") == 1


@pytest.mark.parametrize("durable", [False, True], ids=["not durable", "durable"])
def test_a_turn_that_airflow_ended_has_started_nothing_and_may_be_retried(empty_world: World, durable: bool) -> None:
    operator = CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="m", training_dataset_arn=empty_world.create_dataset("x"), deferrable=True, durable=durable
    )
    ti = LastTry()
    ti.map_index = 3
    context: Any = {"params": {}, "ti": ti}
    assert deferred(operator, context).method_name == "execute_in_turn"
    with pytest.raises(
        CleanRoomsMLError, match="(?s)Nothing was started: the start queue did not reach this task.*Trigger failure"
    ) as caught:
        operator.resume_execution("__fail__", {"error": "Trigger failure"}, context)
    assert not isinstance(caught.value, WaitBrokenError)
    assert "CreateAudienceModel" not in empty_world.calls


class TestReuse:
    def dataset(self, world: World, **more: Any) -> CleanRoomsMLCreateTrainingDatasetOperator:
        given = {"role_arn": world.role, "training_data": world.build_training_data(), "if_exists": "reuse"}
        return CleanRoomsMLCreateTrainingDatasetOperator(task_id="t", name="d", **{**given, **more})

    def test_what_another_task_was_a_moment_faster_with_is_reused(
        self, world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arn = world.create_dataset("d")
        world.add_fault("ListTrainingDatasets", "stale_listing", times=1, seconds=60.0)
        assert run(self.dataset(world)).result == arn
        # Airflow 2.11 logs in one way, 3.x in the other.
        assert f"Using the training dataset {arn}" in caplog.text + capsys.readouterr().out

    def test_what_differs_is_not(self, world: World) -> None:
        world.create_dataset("d")
        world.add_fault("ListTrainingDatasets", "stale_listing", times=1, seconds=60.0)
        with pytest.raises(AlreadyExistsError, match="role_arn"):
            run(self.dataset(world, role_arn=f"{world.role}-of-others"))
