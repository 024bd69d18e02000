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


def read_status(studio: Studio, model: str, **version: str) -> str:
    return str(studio.ml.get_trained_model(**studio.of, trainedModelArn=model, **version)["status"])


@deferred_or_not
def test_create_waits_and_pushes_version_and_logs(studio: Studio, deferrable: bool) -> None:
    studio.ml.put_ml_configuration(**studio.of, defaultOutputLocation={"roleArn": studio.world.role})
    task_run = run(CleanRoomsMLCreateTrainedModelOperator(**studio.build_training(deferrable=deferrable)))
    assert read_status(studio, task_run.result) == "ACTIVE"
    assert task_run.pushed.pop("status_history")[-1]["status"] == "ACTIVE"
    assert task_run.pushed == {
        "trained_model_arn": task_run.result,
        **VERSION,
        "logs_status": "PUBLISH_SUCCEEDED",
        "metrics_status": "PUBLISH_SUCCEEDED",
        "collaboration_identifier": studio.collaboration.id,
    }


def test_unpublished_logs_are_a_warning(studio: Studio, caplog: pytest.LogCaptureFixture) -> None:
    task_run = run(CleanRoomsMLCreateTrainedModelOperator(**studio.build_training()))
    assert task_run.pushed["logs_status"] == "PUBLISH_FAILED"
    assert "The logs of the trained model were not published" in caplog.text


def test_rendered_values_are_converted(studio: Studio) -> None:
    task = CleanRoomsMLCreateTrainedModelOperator(
        **studio.build_training(
            stopping_condition={"maxRuntimeInSeconds": "{{ 60 * 60 }}"},
            hyperparameters={"depth": 5, "rate": "{{ 0.1 }}"},
        )
    )
    model = studio.ml.get_trained_model(**studio.of, trainedModelArn=run(task).result)
    assert model["stoppingCondition"] == {"maxRuntimeInSeconds": 3600}
    assert model["hyperparameters"] == {"depth": "5", "rate": "0.1"}


@pytest.mark.parametrize("value", [0.1, True])
def test_hyperparameter_that_is_not_text_is_rejected_before_calls(studio: Studio, value: Any) -> None:
    arguments = studio.build_training(hyperparameters={"rate": value})
    before = studio.world.calls
    with pytest.raises(InvalidRequestError, match=r"hyperparameters\['rate'\]"):
        run(CleanRoomsMLCreateTrainedModelOperator(**arguments))
    assert studio.world.calls == before


@deferred_or_not
def test_failed_training_says_why(studio: Studio, deferrable: bool) -> None:
    arguments = studio.build_training(deferrable=deferrable)
    studio.world.add_fault(
        "CreateTrainedModel", "fail_job", code="ALGORITHM_ERROR", message="the container exited with 1"
    )
    with pytest.raises(JobFailedError, match="ALGORITHM_ERROR: the container exited with 1") as caught:
        run(CleanRoomsMLCreateTrainedModelOperator(**arguments))
    assert (caught.value.status, caught.value.code) == ("CREATE_FAILED", "ALGORITHM_ERROR")


def defer(task: Any, ti: TaskInstance) -> dict[str, Any]:
    """Run a task until it defers, and return the wait of its trigger."""
    with pytest.raises(TaskDeferred) as caught:
        task.execute({"ti": ti})
    deferral: Any = caught.value
    return dict(deferral.trigger.wait)


@pytest.mark.parametrize(("condition", "seconds"), [(None, 29 * 24 * 3600), ({"maxRuntimeInSeconds": 3600}, 7 * 3600)])
def test_time_out_depends_on_stopping_condition(slow_studio: Studio, condition: Any, seconds: float) -> None:
    arguments = slow_studio.build_training(
        "other", channel=start_training(slow_studio)[1], deferrable=True, stopping_condition=condition
    )
    ti = TaskInstance()
    first = defer(CleanRoomsMLCreateTrainedModelOperator(**arguments), ti)
    assert first["deadline"] - first["started"] == pytest.approx(seconds)
    # A retry reuses that model, even if its arguments render to something else.
    retry = CleanRoomsMLCreateTrainedModelOperator(**{**arguments, "stopping_condition": {"maxRuntimeInSeconds": 60}})
    second = defer(retry, ti.make_next_try())
    assert second["identifiers"]["trained_model_arn"] == first["identifiers"]["trained_model_arn"]
    assert second["deadline"] - second["started"] == pytest.approx(seconds)
    slow_studio.world.add_fault("GetTrainedModel", "access_denied")
    assert retry.estimate_timeout(Handle(second["identifiers"]), knows_request=False) == 29 * 24 * 3600


def test_instance_type_without_quota_fails_at_once(studio: Studio) -> None:
    resources = {"instanceType": "ml.p5.48xlarge", "volumeSizeInGB": 30}
    with pytest.raises(NoQuotaError if KNOWS_VERSIONS else QuotaExceededError, match="which is 0"):
        run(CleanRoomsMLCreateTrainedModelOperator(**studio.build_training(resource_config=resources)))


def test_model_is_reused_if_it_matches_request(studio: Studio) -> None:
    arguments = studio.build_training(environment={"LEVEL": "debug"}, if_exists="reuse")
    first = run(CleanRoomsMLCreateTrainedModelOperator(**arguments)).result
    assert run(CleanRoomsMLCreateTrainedModelOperator(**arguments)).result == first
    with pytest.raises(AlreadyExistsError, match="environment: different") as caught:
        run(CleanRoomsMLCreateTrainedModelOperator(**{**arguments, "environment": {"LEVEL": "silent"}}))
    assert "debug" not in str(caught.value)
    assert studio.world.calls.count("CreateTrainedModel") == 1


def build_next_version(studio: Studio, **more: Any) -> CleanRoomsMLCreateTrainedModelOperator:
    before = [{"trainedModelArn": studio.model, "channelName": "before", "versionIdentifier": "NULL"}]
    return CleanRoomsMLCreateTrainedModelOperator(
        **studio.build_training("next", incremental_training_data_channels=before, **more)
    )


@versioned
@deferred_or_not
def test_create_waits_for_new_version(studio: Studio, deferrable: bool) -> None:
    task_run = run(build_next_version(studio, deferrable=deferrable))
    assert task_run.result == studio.model
    version = task_run.pushed["version_identifier"]
    assert uuid.UUID(version)
    assert read_status(studio, studio.model, versionIdentifier=version) == "ACTIVE"


@versioned
def test_cleared_task_reuses_first_version_despite_later_one(studio: Studio) -> None:
    arguments, ti = studio.build_training(), TaskInstance()
    first = run(CleanRoomsMLCreateTrainedModelOperator(**arguments), ti=ti)
    before = [{"trainedModelArn": first.result, "channelName": "before"}]
    studio.world.add_fault("CreateTrainedModel", "fail_job")
    with pytest.raises(JobFailedError):
        run(
            CleanRoomsMLCreateTrainedModelOperator(
                **studio.build_training(incremental_training_data_channels=before), durable=False
            )
        )
    cleared = run(CleanRoomsMLCreateTrainedModelOperator(**arguments), ti=ti.make_cleared_try())
    assert (cleared.result, cleared.pushed["version_identifier"]) == (first.result, "NULL")
    assert studio.world.calls.count("CreateTrainedModel") == 2


@versioned
@deferred_or_not
def test_delete_without_version_waits_for_first_version(studio: Studio, deferrable: bool) -> None:
    later = run(build_next_version(studio)).pushed["version_identifier"]
    run(
        CleanRoomsMLDeleteTrainedModelOutputOperator(
            task_id="t", **studio.soon, trained_model_arn=studio.model, deferrable=deferrable
        )
    )
    versions = studio.ml.list_trained_model_versions(**studio.of, trainedModelArn=studio.model)["trainedModels"]
    assert {entry["versionIdentifier"]: entry["status"] for entry in versions} == {"NULL": "INACTIVE", later: "ACTIVE"}


@versioned
@deferred_or_not
def test_second_delete_of_output_succeeds(studio: Studio, deferrable: bool) -> None:
    arguments: dict[str, Any] = {**studio.soon, "trained_model_arn": studio.model, "deferrable": deferrable}
    for _ in range(2):
        run(CleanRoomsMLDeleteTrainedModelOutputOperator(task_id="t", version_identifier="NULL", **arguments))
    assert read_status(studio, studio.model) == "INACTIVE"


@deferred_or_not
def test_cancel_waits_for_end_of_training(slow_studio: Studio, deferrable: bool) -> None:
    model, _ = start_training(slow_studio)
    cancel = CleanRoomsMLCancelTrainedModelOperator(
        task_id="t", **slow_studio.soon, trained_model_arn=model, deferrable=deferrable
    )
    for _ in range(2):
        run(cancel)
        assert read_status(slow_studio, model) == "INACTIVE"


def test_cancel_does_not_change_active_model(studio: Studio) -> None:
    run(CleanRoomsMLCancelTrainedModelOperator(task_id="t", **studio.soon, trained_model_arn=studio.model))
    assert read_status(studio, studio.model) == "ACTIVE"


@versioned
def test_version_rendered_to_none_is_first(studio: Studio) -> None:
    later = run(build_next_version(studio)).pushed["version_identifier"]
    run(
        CleanRoomsMLDeleteTrainedModelOutputOperator(
            task_id="t",
            **studio.soon,
            trained_model_arn=studio.model,
            version_identifier="{{ none }}",
            waiter_max_attempts=50,
        )
    )
    assert read_status(studio, studio.model, versionIdentifier=later) == "ACTIVE"


def test_cancel_of_missing_model_names_arn(studio: Studio) -> None:
    arn = studio.model[:-12] + "000000000000"
    with pytest.raises(ResourceNotFoundError, match=arn):
        run(CleanRoomsMLCancelTrainedModelOperator(task_id="t", **studio.soon, trained_model_arn=arn))


@deferred_or_not
def test_wait_fails_if_model_is_cancelled(slow_studio: Studio, deferrable: bool) -> None:
    model, channel = start_training(slow_studio)
    more: dict[str, Any] = {"if_exists": "reuse", "deferrable": deferrable, "waiter_delay": 2}
    task = CleanRoomsMLCreateTrainedModelOperator(**slow_studio.build_training(channel=channel, **more))
    timer = threading.Timer(6, slow_studio.ml.cancel_trained_model, [], {**slow_studio.of, "trainedModelArn": model})
    timer.start()
    with pytest.raises(JobFailedError, match="CANCEL_|INACTIVE"):
        run(task)
    timer.join()


@deferred_or_not
def test_time_out_names_running_model(slow_studio: Studio, deferrable: bool) -> None:
    model, channel = start_training(slow_studio)
    more: dict[str, Any] = {"if_exists": "reuse", "deferrable": deferrable, "waiter_delay": 1, "waiter_max_attempts": 1}
    with pytest.raises(WaitTimeoutError, match=model):
        run(CleanRoomsMLCreateTrainedModelOperator(**slow_studio.build_training(channel=channel, **more)))


def start_training(studio: Studio) -> tuple[str, str]:
    """Start a training that does not end, and return the ARNs of the model and its channel."""
    response = studio.ml.create_ml_input_channel(
        **studio.of,
        name="channel",
        configuredModelAlgorithmAssociations=[studio.association],
        inputChannel=studio.build_input_channel(),
        retentionInDays=30,
    )
    channel = str(response["mlInputChannelArn"])
    studio.world.emulator._control("clock", {"advance": 1100})
    response = studio.ml.create_trained_model(
        **studio.of,
        name="model",
        configuredModelAlgorithmAssociationArn=studio.association,
        resourceConfig={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        dataChannels=[{"mlInputChannelArn": channel, "channelName": "training"}],
    )
    return str(response["trainedModelArn"]), channel
