"""The effect of ``soft_fail``, ``silent_fail`` and ``never_fail``, in the worker and when deferred."""

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

SUCCESS: Any = None
FLAGS = ("plain", "soft_fail", "silent_fail", "never_fail")
poke_and_deferred = pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferred"])


def parametrize_flags(plain: Any, soft: Any, silent: Any, never: Any) -> pytest.MarkDecorator:
    """Parametrize a test with the expected end of a task for each flag, as in Airflow's BaseSensorOperator.execute."""
    return pytest.mark.parametrize(
        ("flag", "end"), list(zip(FLAGS, (plain, soft, silent, never), strict=True)), ids=FLAGS
    )


def build_arguments(flag: str, **more: Any) -> dict[str, Any]:
    flags = {} if flag == "plain" else {flag: True}
    return {"task_id": "t", "poke_interval": 0.5, "timeout": 3600, **flags, **more}


def expect_end(end: Any, sensor: Any, expected: str = "") -> None:
    if end is SUCCESS:
        run(sensor)
        return
    with pytest.raises(end, match=expected) as caught:
        run(sensor)
    assert type(caught.value) is end


@pytest.fixture
def studio(empty_world: World) -> Studio:
    return Studio(empty_world)


@parametrize_flags(JobFailedError, AirflowSkipException, JobFailedError, AirflowSkipException)
@poke_and_deferred
def test_failed_job(studio: Studio, deferrable: bool, flag: str, end: Any) -> None:
    channel = {"ml_input_channel_arn": studio.start_failing_channel(), **studio.mine}
    sensor = CleanRoomsMLMLInputChannelSensor(**build_arguments(flag, deferrable=deferrable, **channel))
    expect_end(end, sensor, "QUERY_FAILED: no such table" if deferrable else "")


@parametrize_flags(AccessDeniedError, AccessDeniedError, SUCCESS, AirflowSkipException)
@poke_and_deferred
def test_access_denied_once(world: World, deferrable: bool, flag: str, end: Any) -> None:
    model = {"audience_model_arn": world.train_model()}
    world.add_fault("GetAudienceModel", "access_denied")
    expect_end(end, CleanRoomsMLAudienceModelSensor(**build_arguments(flag, deferrable=deferrable, **model)))


@parametrize_flags(AccessDeniedError, AccessDeniedError, SUCCESS, AirflowSkipException)
def test_access_denied_in_triggerer(slow_world: World, flag: str, end: Any) -> None:
    world = slow_world
    arn = world.ml.create_audience_model(name="m", trainingDatasetArn=world.create_dataset())["audienceModelArn"]
    sensor = CleanRoomsMLAudienceModelSensor(**build_arguments(flag, deferrable=True, audience_model_arn=arn))
    context: Any = {"ti": TaskInstance()}
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context)
    world.add_fault("GetAudienceModel", "access_denied")
    if end is not SUCCESS:
        with pytest.raises(end, match="(?s)The wait was interrupted.*AccessDeniedError") as caught:
            resume(sensor, deferred.value, context)
        assert type(caught.value) is end
        return
    with pytest.raises(TaskDeferred) as paused:
        resume(sensor, deferred.value, context)
    assert isinstance(paused.value.trigger, CleanRoomsMLPauseTrigger)
    world.emulator.advance(2000)
    world.wait(arn)
    assert resume(sensor, paused.value, context) == arn


@parametrize_flags(ResourceNotFoundError, ResourceNotFoundError, SensorTimeoutError, AirflowSkipException)
@poke_and_deferred
def test_missing_resource(empty_world: World, deferrable: bool, flag: str, end: Any) -> None:
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{empty_world.account}:audience-model/none"
    arguments = {"audience_model_arn": arn, "timeout": 0.5, "deferrable": deferrable}
    expect_end(end, CleanRoomsMLAudienceModelSensor(**{**build_arguments(flag), **arguments}))


@parametrize_flags(SensorTimeoutError, AirflowSkipException, SensorTimeoutError, SensorTimeoutError)
@poke_and_deferred
def test_time_out(slow_world: World, deferrable: bool, flag: str, end: Any) -> None:
    arn = slow_world.ml.create_audience_model(name="m", trainingDatasetArn=slow_world.create_dataset())[
        "audienceModelArn"
    ]
    arguments = {"audience_model_arn": arn, "timeout": 0.3, "deferrable": deferrable}
    expect_end(end, CleanRoomsMLAudienceModelSensor(**{**build_arguments(flag), **arguments}))


@parametrize_flags(SensorTimeoutError, AirflowSkipException, SensorTimeoutError, SensorTimeoutError)
@poke_and_deferred
def test_time_out_of_new_jobs_sensor(world: World, deferrable: bool, flag: str, end: Any) -> None:
    arguments = {"since": "2026-11-24", "timeout": 0.3, "deferrable": deferrable}
    expect_end(end, CleanRoomsMLNewAudienceGenerationJobsSensor(**{**build_arguments(flag), **arguments}))


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
def test_deferral_ended_by_airflow(empty_world: World, error: str, flag: str, end: Any) -> None:
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{empty_world.account}:audience-model/none"
    sensor = CleanRoomsMLAudienceModelSensor(**build_arguments(flag, deferrable=True, audience_model_arn=arn))
    with pytest.raises(end) as caught:
        sensor.resume_execution("__fail__", {"error": error}, {})
    assert type(caught.value) is end


def test_event_is_raised_as_the_original_error() -> None:
    assert type(build_interruption("AccessDeniedError: no")) is AccessDeniedError
    for other in ("RuntimeError: no", "AirflowException: no", "lines: no", ""):
        assert type(build_interruption(other)).__name__ == "CleanRoomsMLError"


def test_pause_trigger_keeps_its_serialized_form() -> None:
    serialized = ("airflow_cleanroomsml.pause.CleanRoomsMLPauseTrigger", {"until": 2.0, "deadline": 3.0})
    assert CleanRoomsMLPauseTrigger(until=2.0, deadline=3.0).serialize() == serialized
