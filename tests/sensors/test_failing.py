"""What ``soft_fail``, ``silent_fail`` and ``never_fail`` mean: in the worker, where Airflow decides, and deferred."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.exceptions import TaskDeferred

from airflow_cleanroomsml._compat import AirflowSkipException, TaskDeferralError
from airflow_cleanroomsml.exceptions import AccessDeniedError, JobFailedError, ResourceNotFoundError
from airflow_cleanroomsml.pause import CleanRoomsMLPauseTrigger
from airflow_cleanroomsml.sensors import (
    CleanRoomsMLAudienceModelSensor,
    CleanRoomsMLMLInputChannelSensor,
    CleanRoomsMLNewAudienceGenerationJobsSensor,
)
from airflow_cleanroomsml.sensors._errors import SensorTimeoutError, build_interruption
from tests.helpers.custom_models import Studio
from tests.support import TaskInstance, World, resume, run

DONE: Any = None
FLAGS = ("plain", "soft_fail", "silent_fail", "never_fail")
deferred_or_not = pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferred"])


def each(plain: Any, soft: Any, silent: Any, never: Any) -> pytest.MarkDecorator:
    """How the task ends, by what it is told of failures; Airflow's own loop does so (BaseSensorOperator.execute)."""
    return pytest.mark.parametrize(
        ("flag", "end"), list(zip(FLAGS, (plain, soft, silent, never), strict=True)), ids=FLAGS
    )


def build_arguments(flag: str, **more: Any) -> dict[str, Any]:
    flags = {} if flag == "plain" else {flag: True}
    return {"task_id": "t", "poke_interval": 0.5, "timeout": 3600, **flags, **more}


def expect_end(end: Any, sensor: Any, expected: str = "") -> None:
    if end is DONE:
        run(sensor)
        return
    with pytest.raises(end, match=expected) as caught:
        run(sensor)
    assert type(caught.value) is end


@pytest.fixture
def studio(empty_world: World) -> Studio:
    return Studio(empty_world)


@each(JobFailedError, AirflowSkipException, JobFailedError, AirflowSkipException)
@deferred_or_not
def test_a_failed_job(studio: Studio, deferrable: bool, flag: str, end: Any) -> None:
    found = {"ml_input_channel_arn": studio.start_failing_channel(), **studio.mine}
    sensor = CleanRoomsMLMLInputChannelSensor(**build_arguments(flag, deferrable=deferrable, **found))
    expect_end(end, sensor, "QUERY_FAILED: no such table" if deferrable else "")


@each(AccessDeniedError, AccessDeniedError, DONE, AirflowSkipException)
@deferred_or_not
def test_a_look_that_is_refused_once(world: World, deferrable: bool, flag: str, end: Any) -> None:
    found = {"audience_model_arn": world.train_model()}
    world.add_fault("GetAudienceModel", "access_denied")
    expect_end(end, CleanRoomsMLAudienceModelSensor(**build_arguments(flag, deferrable=deferrable, **found)))


@each(AccessDeniedError, AccessDeniedError, DONE, AirflowSkipException)
def test_a_look_that_is_refused_in_the_triggerer(slow_world: World, flag: str, end: Any) -> None:
    world = slow_world
    made = world.ml.create_audience_model(name="m", trainingDatasetArn=world.create_dataset())["audienceModelArn"]
    sensor = CleanRoomsMLAudienceModelSensor(**build_arguments(flag, deferrable=True, audience_model_arn=made))
    context: Any = {"ti": TaskInstance()}
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context)
    world.add_fault("GetAudienceModel", "access_denied")
    if end is not DONE:
        with pytest.raises(end, match="(?s)The wait was interrupted.*AccessDeniedError") as caught:
            resume(sensor, deferred.value, context)
        assert type(caught.value) is end
        return
    with pytest.raises(TaskDeferred) as paused:
        resume(sensor, deferred.value, context)
    assert isinstance(paused.value.trigger, CleanRoomsMLPauseTrigger)
    world.emulator.advance(2000)
    world.wait(made)
    assert resume(sensor, paused.value, context) == made


@each(ResourceNotFoundError, ResourceNotFoundError, SensorTimeoutError, AirflowSkipException)
@deferred_or_not
def test_an_arn_of_nothing(empty_world: World, deferrable: bool, flag: str, end: Any) -> None:
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{empty_world.account}:audience-model/none"
    found = {"audience_model_arn": arn, "timeout": 0.5, "deferrable": deferrable}
    expect_end(end, CleanRoomsMLAudienceModelSensor(**{**build_arguments(flag), **found}))


@each(SensorTimeoutError, AirflowSkipException, SensorTimeoutError, SensorTimeoutError)
@deferred_or_not
def test_a_time_out(slow_world: World, deferrable: bool, flag: str, end: Any) -> None:
    made = slow_world.ml.create_audience_model(name="m", trainingDatasetArn=slow_world.create_dataset())[
        "audienceModelArn"
    ]
    found = {"audience_model_arn": made, "timeout": 0.3, "deferrable": deferrable}
    expect_end(end, CleanRoomsMLAudienceModelSensor(**{**build_arguments(flag), **found}))


@each(SensorTimeoutError, AirflowSkipException, SensorTimeoutError, SensorTimeoutError)
@deferred_or_not
def test_a_time_out_of_the_sensor_for_new_jobs(world: World, deferrable: bool, flag: str, end: Any) -> None:
    found = {"since": "2026-11-24", "timeout": 0.3, "deferrable": deferrable}
    expect_end(end, CleanRoomsMLNewAudienceGenerationJobsSensor(**{**build_arguments(flag), **found}))


@pytest.mark.parametrize(
    ("error", "flag", "end"),
    [
        ("Trigger timeout", "plain", SensorTimeoutError),
        ("Trigger/execution timeout", "soft_fail", AirflowSkipException),
        ("Trigger timeout", "soft_fail", AirflowSkipException),
        ("Trigger timeout", "never_fail", SensorTimeoutError),
        ("Trigger failure", "plain", TaskDeferralError),
        ("Trigger failure", "soft_fail", AirflowSkipException),
        ("Trigger failure", "never_fail", AirflowSkipException),
    ],
)
def test_a_deferral_that_airflow_itself_ends(empty_world: World, error: str, flag: str, end: Any) -> None:
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{empty_world.account}:audience-model/none"
    sensor = CleanRoomsMLAudienceModelSensor(**build_arguments(flag, deferrable=True, audience_model_arn=arn))
    with pytest.raises(end) as caught:
        sensor.resume_execution("__fail__", {"error": error}, {})
    assert type(caught.value) is end


def test_an_event_becomes_the_error_that_it_was() -> None:
    assert type(build_interruption("AccessDeniedError: no")) is AccessDeniedError
    for other in ("RuntimeError: no", "AirflowException: no", "lines: no", ""):
        assert type(build_interruption(other)).__name__ == "CleanRoomsMLError"


def test_what_was_serialised_once_is_read_and_written_again() -> None:
    recorded = ("airflow_cleanroomsml.pause.CleanRoomsMLPauseTrigger", {"until": 2.0, "deadline": 3.0})
    assert CleanRoomsMLPauseTrigger(until=2.0, deadline=3.0).serialize() == recorded
