"""Sensors in the worker, rescheduled and deferred, over the emulator."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml._compat import AirflowFailException, AirflowSensorTimeout
from airflow_cleanroomsml._resources.table import Outcome
from airflow_cleanroomsml._waiting.wait import PollResult
from airflow_cleanroomsml.exceptions import InvalidRequestError, JobFailedError, ResourceNotFoundError, WaitTimeoutError
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
NOBODYS = "00000000-0000-4000-8000-000000000000"
deferred_or_not = pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferred"])


def sense(cls: Any, deferrable: bool, **more: Any) -> Run:
    return run(cls(task_id="t", deferrable=deferrable, **{"poke_interval": 0.5, "timeout": 3600, **more}))


@pytest.fixture
def studio(empty_world: World) -> Studio:
    return Studio(empty_world)


@deferred_or_not
def test_the_lookalike_half(world: World, deferrable: bool) -> None:
    made = world.ml.create_audience_model(name="m", trainingDatasetArn=world.create_dataset())["audienceModelArn"]
    assert sense(CleanRoomsMLAudienceModelSensor, deferrable, audience_model_arn=made).result == made
    terms = world.ml.create_configured_audience_model(
        name="terms",
        audienceModelArn=made,
        outputConfig=world.output,
        sharedAudienceMetrics=["ALL"],
        audienceSizeConfig={"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [10, 20]},
    )["configuredAudienceModelArn"]
    job = world.ml.start_audience_generation_job(
        name="j", configuredAudienceModelArn=terms, seedAudience=world.write_seed()
    )["audienceGenerationJobArn"]
    done = sense(CleanRoomsMLAudienceGenerationJobSensor, deferrable, audience_generation_job_arn=job)
    assert done.result == job
    assert done.pushed["metrics"]["recallMetric"] > 0.3
    for value in (10, 20):
        size = {"type": "PERCENTAGE", "value": value}
        world.ml.start_audience_export_job(name=f"e{value}", audienceGenerationJobArn=job, audienceSize=size)
    export = {"audience_generation_job_arn": job, "name": "e10"}
    for sized in ({}, {"audience_size": {"type": "PERCENTAGE", "value": "{{ 10 }}"}}):
        found = sense(CleanRoomsMLAudienceExportJobSensor, deferrable, **export, **sized).result
        assert found["output_location"].startswith(f"s3://{world.bucket}/audiences/")


@deferred_or_not
def test_the_custom_half(studio: Studio, deferrable: bool) -> None:
    channel = {"ml_input_channel_arn": studio.channel}
    done = sense(CleanRoomsMLMLInputChannelSensor, deferrable, **channel, **studio.mine)
    assert done.result == studio.channel
    assert set(done.pushed) == {"protected_query_identifier", "collaboration_identifier", "status_history"}
    model = {"trained_model_arn": studio.model}
    done = sense(CleanRoomsMLTrainedModelSensor, deferrable, **model, **studio.mine, **VERSION)
    assert (done.result, done.pushed.get("version_identifier")) == (studio.model, VERSION.get("version_identifier"))
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
    within = {"collaboration_identifier": studio.collaboration.id}
    found = sense(CleanRoomsMLTrainedModelExportJobSensor, deferrable, **model, **within, name="e")
    assert found.result == {"name": "e", "trained_model_arn": studio.model, "output_location": None}
    # As another member of the collaboration sees them.
    assert sense(CleanRoomsMLMLInputChannelSensor, deferrable, **channel, **within).result == studio.channel
    assert sense(CleanRoomsMLTrainedModelSensor, deferrable, **model, **within).result == studio.model
    assert sense(CleanRoomsMLTrainedModelInferenceJobSensor, deferrable, **inference, **within).result == job


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_what_is_not_done_is_looked_at_again(slow_world: World, mode: str) -> None:
    made = slow_world.ml.create_audience_model(name="m", trainingDatasetArn=slow_world.create_dataset())[
        "audienceModelArn"
    ]
    sensor = CleanRoomsMLAudienceModelSensor(task_id="t", audience_model_arn=made, mode=mode)
    assert sensor.poke(CONTEXT) is False
    assert sensor.reschedule == (mode == "reschedule")


@deferred_or_not
def test_a_time_out_says_what_goes_on_and_which_arguments_make_it_longer(slow_world: World, deferrable: bool) -> None:
    made = slow_world.ml.create_audience_model(name="m", trainingDatasetArn=slow_world.create_dataset())[
        "audienceModelArn"
    ]
    with pytest.raises(SensorTimeoutError, match=f"(?s)still CREATE_IN_PROGRESS after 1 s.*{made}") as caught:
        sense(CleanRoomsMLAudienceModelSensor, deferrable, audience_model_arn=made, timeout=1)
    assert "increase timeout (in seconds); poke_interval" in str(caught.value)
    assert "waiter_delay" not in str(caught.value)
    assert "if_exists" not in str(caught.value)
    # Each is what its kind is to Airflow, and to who handles errors of this package.
    assert isinstance(caught.value, AirflowSensorTimeout)
    assert isinstance(caught.value, WaitTimeoutError)


@deferred_or_not
def test_a_time_out_after_throttling_says_what_to_do_about_that(slow_world: World, deferrable: bool) -> None:
    dataset = slow_world.create_dataset()
    made = slow_world.ml.create_audience_model(name="m", trainingDatasetArn=dataset)["audienceModelArn"]
    slow_world.add_fault("GetAudienceModel", "throttle", times=0)
    once = {"retries": {"total_max_attempts": 1}}
    with pytest.raises(SensorTimeoutError, match="(?s)did not appear.*ThrottlingException.*Request ID") as caught:
        sense(CleanRoomsMLAudienceModelSensor, deferrable, audience_model_arn=made, timeout=1, botocore_config=once)
    assert str(caught.value).count("Poll less often") == 1


def test_an_export_that_is_not_found_has_no_arn_to_check(studio: Studio) -> None:
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


@deferred_or_not
def test_a_failure_says_why_at_once(studio: Studio, deferrable: bool) -> None:
    channel = studio.start_failing_channel()
    studio.wait_until("get_ml_input_channel", "CREATE_FAILED", mlInputChannelArn=channel)
    with pytest.raises(JobFailedError, match="QUERY_FAILED: no such table"):
        sense(CleanRoomsMLMLInputChannelSensor, deferrable, ml_input_channel_arn=channel, **studio.mine)
    within = {"collaboration_identifier": studio.collaboration.id}
    with pytest.raises(JobFailedError, match=r"QUERY_FAILED: \(withheld"):
        sense(CleanRoomsMLMLInputChannelSensor, deferrable, ml_input_channel_arn=channel, **within)


@deferred_or_not
def test_an_arn_that_is_not_found_is_a_wrong_one(studio: Studio, deferrable: bool) -> None:
    channel = f"{studio.association.rsplit('/', 2)[0]}/ml-input-channel/{NOBODYS}"
    with pytest.raises(ResourceNotFoundError, match=channel):
        sense(CleanRoomsMLMLInputChannelSensor, deferrable, ml_input_channel_arn=channel, **studio.mine)


@deferred_or_not
def test_a_deletion_is_waited_for(world: World, deferrable: bool) -> None:
    model = world.train_model()
    world.ml.delete_audience_model(audienceModelArn=model)
    assert sense(CleanRoomsMLAudienceModelSensor, deferrable, audience_model_arn=model, goal="deleted").result == model


@deferred_or_not
def test_an_export_need_not_have_been_started_yet(studio: Studio, deferrable: bool) -> None:
    export = {"collaboration_identifier": studio.collaboration.id, "trained_model_arn": studio.model, "name": "later"}
    with pytest.raises(SensorTimeoutError, match="did not appear within 1 s"):
        sense(CleanRoomsMLTrainedModelExportJobSensor, deferrable, **export, timeout=1)


@pytest.mark.parametrize("given", [{}, {"membership_identifier": NOBODYS, "collaboration_identifier": NOBODYS}])
def test_the_view_is_named_by_one_identifier(studio: Studio, given: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError, match="set exactly one"):
        sense(CleanRoomsMLTrainedModelSensor, deferrable=False, trained_model_arn=studio.model, **given)


@deferred_or_not
def test_bad_arguments_fail_at_once_and_are_named(studio: Studio, deferrable: bool) -> None:
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
MODEL = f"arn:aws:cleanrooms-ml:us-east-1:123456789012:membership/{NOBODYS}/trained-model/m"
CHANNEL = MODEL.replace("trained-model", "ml-input-channel")
EXPORT = {"collaboration_identifier": NOBODYS, "trained_model_arn": MODEL, "name": "e"}


@pytest.mark.parametrize(
    ("cls", "given", "problem"),
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
@deferred_or_not
def test_what_would_never_be_found_is_refused_before_the_first_look(
    empty_world: World, cls: Any, given: dict[str, Any], problem: str, deferrable: bool
) -> None:
    other = (
        {"membership_identifier": UPPER}
        if cls is CleanRoomsMLTrainedModelSensor
        else {"collaboration_identifier": UPPER}
    )
    arguments = EXPORT if cls is CleanRoomsMLTrainedModelExportJobSensor else other
    with pytest.raises(InvalidRequestError, match=problem):
        sense(cls, deferrable, **{**arguments, **given})
    assert empty_world.calls == []


@deferred_or_not
def test_what_a_template_renders_to_is_what_the_model_asks_for(studio: Studio, deferrable: bool) -> None:
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
    both = {"membership_identifier": studio.membership, "collaboration_identifier": "{{ none }}"}
    found = sense(CleanRoomsMLTrainedModelSensor, deferrable, trained_model_arn=studio.model, **both)
    assert found.result == studio.model


@versioned
@deferred_or_not
def test_the_first_version_is_named_by_what_the_service_calls_it(studio: Studio, deferrable: bool) -> None:
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
    of = {"trained_model_arn": studio.model, **studio.mine}
    first = sense(CleanRoomsMLTrainedModelSensor, deferrable, **of, version_identifier="NULL")
    latest = sense(CleanRoomsMLTrainedModelSensor, deferrable, **of, version_identifier="None")
    assert first.pushed["version_identifier"] == "NULL"
    assert latest.pushed["version_identifier"] != "NULL"


@pytest.mark.parametrize("deferrable", ["False", "{{ params.deferred }}", 0, None])
def test_a_text_in_place_of_deferrable_is_refused(empty_world: World, deferrable: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"deferrable: {deferrable!r} is not valid; must be True or False"):
        sense(CleanRoomsMLAudienceModelSensor, deferrable, audience_model_arn=MODEL)
    assert empty_world.calls == []


def test_a_temporary_error_does_not_end_the_wait(studio: Studio) -> None:
    _ = studio.model
    sensor = CleanRoomsMLTrainedModelSensor(
        task_id="t",
        trained_model_arn=studio.model,
        botocore_config={"retries": {"total_max_attempts": 1}},
        **studio.mine,
    )
    studio.world.add_fault("GetTrainedModel", "throttle")
    assert [bool(sensor.poke(CONTEXT)) for _ in range(2)] == [False, True]
