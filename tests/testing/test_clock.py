"""The clock of a test: jobs of hours end at once, in the worker and deferred, and waits time out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml.exceptions import WaitTimeoutError
from airflow_cleanroomsml.operators import CleanRoomsMLCreateAudienceModelOperator
from airflow_cleanroomsml.testing import EmulatorError, RunningEmulator
from tests.support import run
from tests.testing.lookalike import INTERACTIONS, create_dataset, describe_model, train


def create_model(service: RunningEmulator, **arguments: Any) -> str:
    dataset = create_dataset(service.account, service.put_table("interactions", INTERACTIONS))
    task = CleanRoomsMLCreateAudienceModelOperator(
        task_id="model", name="model", training_dataset_arn=dataset, **arguments
    )
    return str(run(task).result)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_task_that_waits_for_hours_ends_at_once(cleanroomsml: RunningEmulator, deferrable: bool) -> None:
    cleanroomsml.set_job_durations(pending=600, progress=7200)
    began_at = cleanroomsml.clock.now()
    model = create_model(cleanroomsml, deferrable=deferrable)
    assert describe_model(cleanroomsml.account, model)[0] == "ACTIVE"
    assert timedelta(hours=2) < cleanroomsml.clock.now() - began_at < timedelta(hours=4)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_wait_times_out(cleanroomsml: RunningEmulator, deferrable: bool) -> None:
    cleanroomsml.set_job_durations(progress=7200)
    with pytest.raises(WaitTimeoutError):
        create_model(cleanroomsml, deferrable=deferrable, waiter_delay=10, waiter_max_attempts=60)


def test_a_throttled_task_does_not_pause(cleanroomsml: RunningEmulator) -> None:
    cleanroomsml.faults.throttle("CreateAudienceModel", times=3)
    assert describe_model(cleanroomsml.account, create_model(cleanroomsml))[0] == "ACTIVE"
    assert cleanroomsml.calls.count("CreateAudienceModel") == 4


def test_a_test_can_advance_the_clock(cleanroomsml: RunningEmulator) -> None:
    cleanroomsml.clock.freeze()
    now = cleanroomsml.clock.now()
    cleanroomsml.set_job_durations(progress=60)
    model = train(cleanroomsml.account, cleanroomsml.put_table("interactions", INTERACTIONS))
    cleanroomsml.clock.advance(59)
    assert describe_model(cleanroomsml.account, model)[0] == "CREATE_IN_PROGRESS"
    cleanroomsml.clock.advance(timedelta(seconds=1))
    assert describe_model(cleanroomsml.account, model)[0] == "ACTIVE"
    assert cleanroomsml.clock.now() - now == timedelta(minutes=1)
    cleanroomsml.clock.run()
    assert cleanroomsml.clock.now() > now + timedelta(minutes=1)
    with pytest.raises(EmulatorError, match="cannot be moved back"):
        cleanroomsml.clock.advance(-1)


def test_pauses_take_time_again_after_the_test(cleanroomsml: RunningEmulator) -> None:
    inside = vars(_clock)["sleep"]
    with cleanroomsml.clock.skip_pauses():
        assert vars(_clock)["sleep"] is not None
    assert vars(_clock)["sleep"] is inside


def test_clock_stays_within_the_range_of_dates(cleanroomsml: RunningEmulator) -> None:
    with pytest.raises(EmulatorError, match="cannot be moved beyond the year 9000"):
        cleanroomsml.clock.advance(1e12)
    nothing: Any = None
    with pytest.raises(EmulatorError, match="must be a number of seconds"):
        cleanroomsml.clock.advance(nothing)
    cleanroomsml.client("cleanroomsml").list_training_datasets()
