from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest

from airflow_cleanroomsml._compat import TaskDeferred
from airflow_cleanroomsml._resources.handle import Handle
from airflow_cleanroomsml.exceptions import (
    AlreadyExistsError,
    InvalidRequestError,
    JobFailedError,
    NoQuotaError,
    QuotaExceededError,
    ResourceNotFoundError,
    WaitTimeoutError,
)
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCancelTrainedModelOperator,
    CleanRoomsMLCreateTrainedModelOperator,
    CleanRoomsMLDeleteTrainedModelOutputOperator,
)
from tests.helpers.custom_models import KNOWS_VERSIONS, VERSION, Studio, versioned
from tests.support import TaskInstance, run

deferred_or_not = pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])


def status(studio: Studio, model: str, **version: str) -> str:
    return str(studio.ml.get_trained_model(**studio.of, trainedModelArn=model, **version)["status"])


@deferred_or_not
def test_it_is_waited_for_and_its_version_and_logs_are_told(studio: Studio, deferrable: bool) -> None:
    studio.ml.put_ml_configuration(**studio.of, defaultOutputLocation={"roleArn": studio.world.role})
    done = run(CleanRoomsMLCreateTrainedModelOperator(**studio.build_training(deferrable=deferrable)))
    assert status(studio, done.result) == "ACTIVE"
    assert done.pushed.pop("status_history")[-1]["status"] == "ACTIVE"
    assert done.pushed == {
        "trained_model_arn": done.result,
        **VERSION,
        "logs_status": "PUBLISH_SUCCEEDED",
        "metrics_status": "PUBLISH_SUCCEEDED",
        "collaboration_identifier": studio.collaboration.id,
    }


def test_a_model_whose_logs_were_lost_is_no_failure_but_a_warning(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    done = run(CleanRoomsMLCreateTrainedModelOperator(**studio.build_training()))
    assert done.pushed["logs_status"] == "PUBLISH_FAILED"
    assert "The logs of the trained model were not published" in caplog.text


def test_rendered_numbers_become_numbers_and_hyperparameters_texts(studio: Studio) -> None:
    task = CleanRoomsMLCreateTrainedModelOperator(
        **studio.build_training(
            stopping_condition={"maxRuntimeInSeconds": "{{ 60 * 60 }}"},
            hyperparameters={"depth": 5, "rate": "{{ 0.1 }}"},
        )
    )
    made = studio.ml.get_trained_model(**studio.of, trainedModelArn=run(task).result)
    assert made["stoppingCondition"] == {"maxRuntimeInSeconds": 3600}
    assert made["hyperparameters"] == {"depth": "5", "rate": "0.1"}


@pytest.mark.parametrize("value", [0.1, True])
def test_a_hyperparameter_that_is_no_text_is_refused_before_it_is_sent(studio: Studio, value: Any) -> None:
    arguments = studio.build_training(hyperparameters={"rate": value})
    before = studio.world.calls
    with pytest.raises(InvalidRequestError, match=r"hyperparameters\['rate'\]"):
        run(CleanRoomsMLCreateTrainedModelOperator(**arguments))
    assert studio.world.calls == before


@deferred_or_not
def test_a_failed_training_says_why(studio: Studio, deferrable: bool) -> None:
    arguments = studio.build_training(deferrable=deferrable)
    studio.world.add_fault(
        "CreateTrainedModel", "fail_job", code="ALGORITHM_ERROR", message="the container exited with 1"
    )
    with pytest.raises(JobFailedError, match="ALGORITHM_ERROR: the container exited with 1") as caught:
        run(CleanRoomsMLCreateTrainedModelOperator(**arguments))
    assert (caught.value.status, caught.value.code) == ("CREATE_FAILED", "ALGORITHM_ERROR")


def wait_of(task: Any, ti: TaskInstance) -> dict[str, Any]:
    """What a task waits for in the triggerer."""
    with pytest.raises(TaskDeferred) as caught:
        task.execute({"ti": ti})
    deferral: Any = caught.value
    return dict(deferral.trigger.wait)


@pytest.mark.parametrize(("condition", "seconds"), [(None, 29 * 24 * 3600), ({"maxRuntimeInSeconds": 3600}, 7 * 3600)])
def test_the_time_out_follows_the_stopping_condition(slow_studio: Studio, condition: Any, seconds: float) -> None:
    given = slow_studio.build_training(
        "other", channel=started(slow_studio)[1], deferrable=True, stopping_condition=condition
    )
    ti = TaskInstance()
    first = wait_of(CleanRoomsMLCreateTrainedModelOperator(**given), ti)
    assert first["deadline"] - first["started"] == pytest.approx(seconds)
    # A retry goes on with that model, whatever its own arguments render to.
    retry = CleanRoomsMLCreateTrainedModelOperator(**{**given, "stopping_condition": {"maxRuntimeInSeconds": 60}})
    second = wait_of(retry, ti.make_next_try())
    assert second["identifiers"]["trained_model_arn"] == first["identifiers"]["trained_model_arn"]
    assert second["deadline"] - second["started"] == pytest.approx(seconds)
    slow_studio.world.add_fault("GetTrainedModel", "access_denied")
    assert retry.estimate_timeout(Handle(second["identifiers"]), knows_request=False) == 29 * 24 * 3600


def test_an_instance_type_without_quota_is_no_matter_of_waiting(studio: Studio) -> None:
    resources = {"instanceType": "ml.p5.48xlarge", "volumeSizeInGB": 30}
    with pytest.raises(NoQuotaError if KNOWS_VERSIONS else QuotaExceededError, match="which is 0"):
        run(CleanRoomsMLCreateTrainedModelOperator(**studio.build_training(resource_config=resources)))


def test_one_of_the_same_name_is_reused_if_it_is_what_is_asked_for(studio: Studio) -> None:
    arguments = studio.build_training(environment={"LEVEL": "debug"}, if_exists="reuse")
    first = run(CleanRoomsMLCreateTrainedModelOperator(**arguments)).result
    assert run(CleanRoomsMLCreateTrainedModelOperator(**arguments)).result == first
    with pytest.raises(AlreadyExistsError, match="environment: different") as caught:
        run(CleanRoomsMLCreateTrainedModelOperator(**{**arguments, "environment": {"LEVEL": "silent"}}))
    assert "debug" not in str(caught.value)
    assert studio.world.calls.count("CreateTrainedModel") == 1


def continued(studio: Studio, **more: Any) -> CleanRoomsMLCreateTrainedModelOperator:
    before = [{"trainedModelArn": studio.model, "channelName": "before", "versionIdentifier": "NULL"}]
    return CleanRoomsMLCreateTrainedModelOperator(
        **studio.build_training("next", incremental_training_data_channels=before, **more)
    )


@versioned
@deferred_or_not
def test_a_further_version_is_waited_for_as_such(studio: Studio, deferrable: bool) -> None:
    done = run(continued(studio, deferrable=deferrable))
    assert done.result == studio.model
    version = done.pushed["version_identifier"]
    assert uuid.UUID(version)
    assert status(studio, studio.model, versionIdentifier=version) == "ACTIVE"


@versioned
def test_a_cleared_task_goes_on_with_the_first_version_though_the_listing_shows_the_latest(studio: Studio) -> None:
    task, ti = studio.build_training(), TaskInstance()
    first = run(CleanRoomsMLCreateTrainedModelOperator(**task), ti=ti)
    before = [{"trainedModelArn": first.result, "channelName": "before"}]
    studio.world.add_fault("CreateTrainedModel", "fail_job")
    with pytest.raises(JobFailedError):
        run(
            CleanRoomsMLCreateTrainedModelOperator(
                **studio.build_training(incremental_training_data_channels=before), durable=False
            )
        )
    again = run(CleanRoomsMLCreateTrainedModelOperator(**task), ti=ti.make_cleared_try())
    assert (again.result, again.pushed["version_identifier"]) == (first.result, "NULL")
    assert studio.world.calls.count("CreateTrainedModel") == 2


@versioned
@deferred_or_not
def test_deleting_without_a_version_waits_for_the_first_one_though_reads_give_the_latest(
    studio: Studio, deferrable: bool
) -> None:
    later = run(continued(studio)).pushed["version_identifier"]
    run(
        CleanRoomsMLDeleteTrainedModelOutputOperator(
            task_id="t", **studio.soon, trained_model_arn=studio.model, deferrable=deferrable
        )
    )
    listed = studio.ml.list_trained_model_versions(**studio.of, trainedModelArn=studio.model)["trainedModels"]
    assert {entry["versionIdentifier"]: entry["status"] for entry in listed} == {"NULL": "INACTIVE", later: "ACTIVE"}


@versioned
@deferred_or_not
def test_output_that_is_deleted_already_is_success(studio: Studio, deferrable: bool) -> None:
    arguments: dict[str, Any] = {**studio.soon, "trained_model_arn": studio.model, "deferrable": deferrable}
    for _ in range(2):
        run(CleanRoomsMLDeleteTrainedModelOutputOperator(task_id="t", version_identifier="NULL", **arguments))
    assert status(studio, studio.model) == "INACTIVE"


@deferred_or_not
def test_training_is_cancelled_and_the_end_waited_for(slow_studio: Studio, deferrable: bool) -> None:
    model, _ = started(slow_studio)
    cancel = CleanRoomsMLCancelTrainedModelOperator(
        task_id="t", **slow_studio.soon, trained_model_arn=model, deferrable=deferrable
    )
    for _ in range(2):
        run(cancel)
        assert status(slow_studio, model) == "INACTIVE"


def test_cancelling_what_has_ended_leaves_it_as_it_is(studio: Studio) -> None:
    run(CleanRoomsMLCancelTrainedModelOperator(task_id="t", **studio.soon, trained_model_arn=studio.model))
    assert status(studio, studio.model) == "ACTIVE"


@versioned
def test_a_version_that_rendered_to_none_is_the_first(studio: Studio) -> None:
    later = run(continued(studio)).pushed["version_identifier"]
    run(
        CleanRoomsMLDeleteTrainedModelOutputOperator(
            task_id="t",
            **studio.soon,
            trained_model_arn=studio.model,
            version_identifier="{{ none }}",
            waiter_max_attempts=50,
        )
    )
    assert status(studio, studio.model, versionIdentifier=later) == "ACTIVE"


def test_cancelling_what_is_not_there_names_a_wrong_arn(studio: Studio) -> None:
    arn = studio.model[:-12] + "000000000000"
    with pytest.raises(ResourceNotFoundError, match=arn):
        run(CleanRoomsMLCancelTrainedModelOperator(task_id="t", **studio.soon, trained_model_arn=arn))


@deferred_or_not
def test_a_wait_whose_model_somebody_cancels_ends_in_failure(slow_studio: Studio, deferrable: bool) -> None:
    model, channel = started(slow_studio)
    more: dict[str, Any] = {"if_exists": "reuse", "deferrable": deferrable, "waiter_delay": 2}
    task = CleanRoomsMLCreateTrainedModelOperator(**slow_studio.build_training(channel=channel, **more))
    timer = threading.Timer(6, slow_studio.ml.cancel_trained_model, [], {**slow_studio.of, "trainedModelArn": model})
    timer.start()
    with pytest.raises(JobFailedError, match="CANCEL_|INACTIVE"):
        run(task)
    timer.join()


@deferred_or_not
def test_a_timeout_says_what_is_still_running(slow_studio: Studio, deferrable: bool) -> None:
    model, channel = started(slow_studio)
    more: dict[str, Any] = {"if_exists": "reuse", "deferrable": deferrable, "waiter_delay": 1, "waiter_max_attempts": 1}
    with pytest.raises(WaitTimeoutError, match=model):
        run(CleanRoomsMLCreateTrainedModelOperator(**slow_studio.build_training(channel=channel, **more)))


def started(studio: Studio) -> tuple[str, str]:
    """A model that stays in training, and its channel."""
    made = studio.ml.create_ml_input_channel(
        **studio.of,
        name="channel",
        configuredModelAlgorithmAssociations=[studio.association],
        inputChannel=studio.build_input_channel(),
        retentionInDays=30,
    )
    channel = str(made["mlInputChannelArn"])
    studio.world.emulator._control("clock", {"advance": 1100})
    made = studio.ml.create_trained_model(
        **studio.of,
        name="model",
        configuredModelAlgorithmAssociationArn=studio.association,
        resourceConfig={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        dataChannels=[{"mlInputChannelArn": channel, "channelName": "training"}],
    )
    return str(made["trainedModelArn"]), channel
