"""Sensors against the emulator: poking, rescheduled and deferred."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml._compat import AirflowFailException, AirflowSensorTimeout
from airflow_cleanroomsml._resources.table import Outcome
from airflow_cleanroomsml._waiting.wait import PollResult
from airflow_cleanroomsml.exceptions import InvalidRequestError, JobFailedError, ResourceNotFoundError, WaitTimeoutError
from airflow_cleanroomsml.operators import CleanRoomsMLCreateTrainedModelOperator
from airflow_cleanroomsml.sensors import (
    CleanRoomsMLAudienceExportJobSensor,
    CleanRoomsMLAudienceGenerationJobSensor,
    CleanRoomsMLAudienceModelSensor,
    CleanRoomsMLMLInputChannelSensor,
    CleanRoomsMLTrainedModelExportJobSensor,
    CleanRoomsMLTrainedModelInferenceJobSensor,
    CleanRoomsMLTrainedModelSensor,
)
from airflow_cleanroomsml.sensors._errors import SensorTimeoutError
from tests.helpers.custom_models import VERSION, Studio, versioned
from tests.support import Run, TaskInstance, World, run

CONTEXT: Any = {"ti": TaskInstance()}
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
poke_and_deferred = pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferred"])


def sense(cls: Any, deferrable: bool, **more: Any) -> Run:
    return run(cls(task_id="t", deferrable=deferrable, **{"poke_interval": 0.5, "timeout": 3600, **more}))


@pytest.fixture
def studio(empty_world: World) -> Studio:
    return Studio(empty_world)


@poke_and_deferred
def test_lookalike_sensors(world: World, deferrable: bool) -> None:
    model = world.ml.create_audience_model(name="m", trainingDatasetArn=world.create_dataset())["audienceModelArn"]
    assert sense(CleanRoomsMLAudienceModelSensor, deferrable, audience_model_arn=model).result == model
    configured_model = world.ml.create_configured_audience_model(
        name="terms",
        audienceModelArn=model,
        outputConfig=world.output,
        sharedAudienceMetrics=["ALL"],
        audienceSizeConfig={"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [10, 20]},
    )["configuredAudienceModelArn"]
    job = world.ml.start_audience_generation_job(
        name="j", configuredAudienceModelArn=configured_model, seedAudience=world.write_seed()
    )["audienceGenerationJobArn"]
    sensor_run = sense(CleanRoomsMLAudienceGenerationJobSensor, deferrable, audience_generation_job_arn=job)
    assert sensor_run.result == job
    assert sensor_run.pushed["metrics"]["recallMetric"] > 0.3
    for value in (10, 20):
        size = {"type": "PERCENTAGE", "value": value}
        world.ml.start_audience_export_job(name=f"e{value}", audienceGenerationJobArn=job, audienceSize=size)
    export = {"audience_generation_job_arn": job, "name": "e10"}
    for size_argument in ({}, {"audience_size": {"type": "PERCENTAGE", "value": "{{ 10 }}"}}):
        export_result = sense(CleanRoomsMLAudienceExportJobSensor, deferrable, **export, **size_argument).result
        assert export_result["output_location"].startswith(f"s3://{world.bucket}/audiences/")


@poke_and_deferred
def test_custom_model_sensors(studio: Studio, deferrable: bool) -> None:
    channel = {"ml_input_channel_arn": studio.channel}
    sensor_run = sense(CleanRoomsMLMLInputChannelSensor, deferrable, **channel, **studio.mine)
    assert sensor_run.result == studio.channel
    assert set(sensor_run.pushed) == {"protected_query_identifier", "collaboration_identifier", "status_history"}
    model = {"trained_model_arn": studio.model}
    sensor_run = sense(CleanRoomsMLTrainedModelSensor, deferrable, **model, **studio.mine, **VERSION)
    assert (sensor_run.result, sensor_run.pushed.get("version_identifier")) == (
        studio.model,
        VERSION.get("version_identifier"),
    )
    job = studio.ml.start_trained_model_inference_job(
        **studio.of,
        name="j",
        trainedModelArn=studio.model,
        resourceConfig={"instanceType": "ml.m5.2xlarge"},
        outputConfiguration=studio.receivers,
        dataSource={"mlInputChannelArn": studio.channel},
    )["trainedModelInferenceJobArn"]
    inference = {"trained_model_inference_job_arn": job}
    assert sense(CleanRoomsMLTrainedModelInferenceJobSensor, deferrable, **inference, **studio.mine).result == job
    studio.ml.start_trained_model_export_job(
        **studio.of, name="e", trainedModelArn=studio.model, outputConfiguration=studio.receivers
    )
    in_collaboration = {"collaboration_identifier": studio.collaboration.id}
    export_run = sense(CleanRoomsMLTrainedModelExportJobSensor, deferrable, **model, **in_collaboration, name="e")
    assert export_run.result == {"name": "e", "trained_model_arn": studio.model, "output_location": None}
    # The views of another member of the collaboration.
    assert sense(CleanRoomsMLMLInputChannelSensor, deferrable, **channel, **in_collaboration).result == studio.channel
    assert sense(CleanRoomsMLTrainedModelSensor, deferrable, **model, **in_collaboration).result == studio.model
    assert sense(CleanRoomsMLTrainedModelInferenceJobSensor, deferrable, **inference, **in_collaboration).result == job


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_unfinished_model_is_poked_again(slow_world: World, mode: str) -> None:
    arn = slow_world.ml.create_audience_model(name="m", trainingDatasetArn=slow_world.create_dataset())[
        "audienceModelArn"
    ]
    sensor = CleanRoomsMLAudienceModelSensor(task_id="t", audience_model_arn=arn, mode=mode)
    assert sensor.poke(CONTEXT) is False
    assert sensor.reschedule == (mode == "reschedule")


@poke_and_deferred
def test_time_out_names_the_model_and_arguments_that_extend_it(slow_world: World, deferrable: bool) -> None:
    arn = slow_world.ml.create_audience_model(name="m", trainingDatasetArn=slow_world.create_dataset())[
        "audienceModelArn"
    ]
    with pytest.raises(SensorTimeoutError, match=f"(?s)still CREATE_IN_PROGRESS after 1 s.*{arn}") as caught:
        sense(CleanRoomsMLAudienceModelSensor, deferrable, audience_model_arn=arn, timeout=1)
    assert "increase timeout (in seconds); poke_interval" in str(caught.value)
    assert "waiter_delay" not in str(caught.value)
    assert "if_exists" not in str(caught.value)
    # Users may catch it as an error of Airflow or of this package.
    assert isinstance(caught.value, AirflowSensorTimeout)
    assert isinstance(caught.value, WaitTimeoutError)


@poke_and_deferred
def test_time_out_after_throttling_gives_advice(slow_world: World, deferrable: bool) -> None:
    dataset = slow_world.create_dataset()
    arn = slow_world.ml.create_audience_model(name="m", trainingDatasetArn=dataset)["audienceModelArn"]
    slow_world.add_fault("GetAudienceModel", "throttle", times=0)
    no_retries = {"retries": {"total_max_attempts": 1}}
    with pytest.raises(SensorTimeoutError, match="(?s)could not be read.*ThrottlingException.*Request ID") as caught:
        sense(
            CleanRoomsMLAudienceModelSensor, deferrable, audience_model_arn=arn, timeout=1, botocore_config=no_retries
        )
    assert str(caught.value).count("Poll less often") == 1


def test_time_out_of_deletion_without_an_answer_does_not_say_that_nothing_appeared(world: World) -> None:
    arn = world.train_model()
    world.add_fault("GetAudienceModel", "throttle", times=0)
    no_retries = {"retries": {"total_max_attempts": 1}}
    with pytest.raises(SensorTimeoutError, match="The audience model could not be read within 1 s"):
        sense(
            CleanRoomsMLAudienceModelSensor,
            deferrable=False,
            audience_model_arn=arn,
            goal="deleted",
            timeout=1,
            botocore_config=no_retries,
        )


def test_time_out_names_the_operator_that_stops_the_job(slow_studio: Studio) -> None:
    training = slow_studio.build_training(channel=slow_studio.channel, wait_for_completion=False)
    model = run(CleanRoomsMLCreateTrainedModelOperator(**training)).result
    with pytest.raises(SensorTimeoutError, match=r"\n  To stop it, run CleanRoomsMLCancelTrainedModelOperator\.\n"):
        sense(
            CleanRoomsMLTrainedModelSensor,
            deferrable=False,
            trained_model_arn=model,
            timeout=1,
            **slow_studio.mine,
        )


def test_missing_export_does_not_ask_to_check_an_arn(studio: Studio) -> None:
    export: dict[str, Any] = {
        "collaboration_identifier": studio.collaboration.id,
        "trained_model_arn": studio.model,
        "name": "later",
    }
    sensor = CleanRoomsMLTrainedModelExportJobSensor(task_id="t", **export)
    result = PollResult("", Outcome.FAILURE, message="ListTrainedModelExportJobs failed with ResourceNotFoundException")
    event = {"wait": sensor._build_wait(1.0).to_json(), "poll_result": result.to_json()}
    with pytest.raises(ResourceNotFoundError, match="Check the arguments that identify it .*, name,") as caught:
        sensor.execute_complete({}, event)
    assert "Check the ARN" not in str(caught.value)
    assert str(caught.value).startswith("The trained model export job was not found.\n")
    assert "trained model export job 'later'" in str(caught.value)


@poke_and_deferred
def test_failure_shows_its_reason(studio: Studio, deferrable: bool) -> None:
    channel = studio.start_failing_channel()
    studio.wait_until("get_ml_input_channel", "CREATE_FAILED", mlInputChannelArn=channel)
    with pytest.raises(JobFailedError, match="QUERY_FAILED: no such table"):
        sense(CleanRoomsMLMLInputChannelSensor, deferrable, ml_input_channel_arn=channel, **studio.mine)
    in_collaboration = {"collaboration_identifier": studio.collaboration.id}
    with pytest.raises(JobFailedError, match=r"QUERY_FAILED: \(withheld"):
        sense(CleanRoomsMLMLInputChannelSensor, deferrable, ml_input_channel_arn=channel, **in_collaboration)


@poke_and_deferred
def test_unknown_arn_is_an_error(studio: Studio, deferrable: bool) -> None:
    channel = f"{studio.association.rsplit('/', 2)[0]}/ml-input-channel/{UNKNOWN_ID}"
    with pytest.raises(ResourceNotFoundError, match=channel):
        sense(CleanRoomsMLMLInputChannelSensor, deferrable, ml_input_channel_arn=channel, **studio.mine)


@poke_and_deferred
def test_sensor_waits_for_deletion(world: World, deferrable: bool) -> None:
    model = world.train_model()
    world.ml.delete_audience_model(audienceModelArn=model)
    assert sense(CleanRoomsMLAudienceModelSensor, deferrable, audience_model_arn=model, goal="deleted").result == model


@poke_and_deferred
def test_sensor_waits_for_export_to_appear(studio: Studio, deferrable: bool) -> None:
    export = {"collaboration_identifier": studio.collaboration.id, "trained_model_arn": studio.model, "name": "later"}
    with pytest.raises(SensorTimeoutError, match="did not appear within 1 s"):
        sense(CleanRoomsMLTrainedModelExportJobSensor, deferrable, **export, timeout=1)


@pytest.mark.parametrize(
    "identifiers", [{}, {"membership_identifier": UNKNOWN_ID, "collaboration_identifier": UNKNOWN_ID}]
)
def test_sensor_needs_exactly_one_identifier(studio: Studio, identifiers: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError, match="set exactly one"):
        sense(CleanRoomsMLTrainedModelSensor, deferrable=False, trained_model_arn=studio.model, **identifiers)


@poke_and_deferred
def test_invalid_argument_is_named_without_any_call(studio: Studio, deferrable: bool) -> None:
    before = studio.world.calls
    with pytest.raises(AirflowFailException, match="trained_model_arn"):
        sense(CleanRoomsMLTrainedModelSensor, deferrable, trained_model_arn="mine", **studio.mine)
    with pytest.raises(AirflowFailException, match="goal: 'gone' is unknown"):
        sense(CleanRoomsMLTrainedModelSensor, deferrable, trained_model_arn="mine", **studio.mine, goal="gone")
    with pytest.raises(AirflowFailException, match="audience_size"):
        sense(
            CleanRoomsMLAudienceExportJobSensor,
            deferrable,
            audience_generation_job_arn="x",
            name="n",
            audience_size={"type": "ALL"},
        )
    assert studio.world.calls == before


UPPER = "ABCDEF01-89AB-4DEF-8123-456789ABCDEF"
MODEL = f"arn:aws:cleanrooms-ml:us-east-1:123456789012:membership/{UNKNOWN_ID}/trained-model/m"
CHANNEL = MODEL.replace("trained-model", "ml-input-channel")
EXPORT = {"collaboration_identifier": UNKNOWN_ID, "trained_model_arn": MODEL, "name": "e"}


@pytest.mark.parametrize(
    ("cls", "changes", "problem"),
    [
        (CleanRoomsMLTrainedModelExportJobSensor, {"name": ""}, "name: is empty; allowed: 1 to 63"),
        (CleanRoomsMLTrainedModelExportJobSensor, {"name": None}, "name: missing; required"),
        (CleanRoomsMLTrainedModelExportJobSensor, {"name": True}, "name: True is a bool; must be a string"),
        (
            CleanRoomsMLTrainedModelExportJobSensor,
            {"membership_identifier": UPPER},
            "membership_identifier: .*pattern: ",
        ),
        (
            CleanRoomsMLTrainedModelExportJobSensor,
            {"membership_identifier": 5},
            "membership_identifier: '5' has 1 character; ",
        ),
        (
            CleanRoomsMLTrainedModelExportJobSensor,
            {"collaboration_identifier": "None"},
            "collaboration_identifier: 'None' has 4 char",
        ),
        (CleanRoomsMLTrainedModelExportJobSensor, {"trained_model_arn": CHANNEL}, "is the ARN of an ML input channel"),
        (CleanRoomsMLTrainedModelSensor, {"trained_model_arn": MODEL}, "membership_identifier: .*pattern: "),
        (CleanRoomsMLTrainedModelInferenceJobSensor, {"trained_model_inference_job_arn": MODEL}, "of a trained model"),
    ],
)
@poke_and_deferred
def test_invalid_identifier_is_rejected_before_any_call(
    empty_world: World, cls: Any, changes: dict[str, Any], problem: str, deferrable: bool
) -> None:
    other = (
        {"membership_identifier": UPPER}
        if cls is CleanRoomsMLTrainedModelSensor
        else {"collaboration_identifier": UPPER}
    )
    arguments = EXPORT if cls is CleanRoomsMLTrainedModelExportJobSensor else other
    with pytest.raises(InvalidRequestError, match=problem):
        sense(cls, deferrable, **{**arguments, **changes})
    assert empty_world.calls == []


@poke_and_deferred
def test_rendered_arguments_are_converted(studio: Studio, deferrable: bool) -> None:
    sensor = CleanRoomsMLTrainedModelExportJobSensor
    studio.ml.start_trained_model_export_job(
        **studio.of, name="2026", trainedModelArn=studio.model, outputConfiguration=studio.receivers
    )
    export = {
        "collaboration_identifier": studio.collaboration.id,
        "trained_model_arn": studio.model,
        "membership_identifier": "{{ none }}",
        "trained_model_version_identifier": "{{ none }}",
    }
    assert sense(sensor, deferrable, **export, name=2026).result["name"] == "2026"
    identifiers = {"membership_identifier": studio.membership, "collaboration_identifier": "{{ none }}"}
    sensor_run = sense(CleanRoomsMLTrainedModelSensor, deferrable, trained_model_arn=studio.model, **identifiers)
    assert sensor_run.result == studio.model


@versioned
@poke_and_deferred
def test_base_version_is_named_as_the_service_does(studio: Studio, deferrable: bool) -> None:
    base = {"trainedModelArn": studio.model, "channelName": "base"}
    training = {"channelName": "training", "mlInputChannelArn": studio.channel}
    studio.ml.create_trained_model(
        **studio.of,
        name="model",
        configuredModelAlgorithmAssociationArn=studio.association,
        resourceConfig={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        dataChannels=[training],
        incrementalTrainingDataChannels=[base],
    )
    studio.wait_until("get_trained_model", trainedModelArn=studio.model)
    model = {"trained_model_arn": studio.model, **studio.mine}
    first = sense(CleanRoomsMLTrainedModelSensor, deferrable, **model, version_identifier="NULL")
    latest = sense(CleanRoomsMLTrainedModelSensor, deferrable, **model, version_identifier="None")
    assert first.pushed["version_identifier"] == "NULL"
    assert latest.pushed["version_identifier"] != "NULL"


@pytest.mark.parametrize("deferrable", ["False", "{{ params.deferred }}", 0, None])
def test_deferrable_must_be_a_boolean(empty_world: World, deferrable: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"deferrable: {deferrable!r} is not valid; must be True or False"):
        sense(CleanRoomsMLAudienceModelSensor, deferrable, audience_model_arn=MODEL)
    assert empty_world.calls == []


def test_temporary_error_does_not_end_the_wait(studio: Studio) -> None:
    _ = studio.model
    sensor = CleanRoomsMLTrainedModelSensor(
        task_id="t",
        trained_model_arn=studio.model,
        botocore_config={"retries": {"total_max_attempts": 1}},
        **studio.mine,
    )
    studio.world.add_fault("GetTrainedModel", "throttle")
    assert [bool(sensor.poke(CONTEXT)) for _ in range(2)] == [False, True]
