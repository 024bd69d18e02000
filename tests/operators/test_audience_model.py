from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.config import Config

from airflow_cleanroomsml._compat import AirflowFailException
from airflow_cleanroomsml._resources.handle import Handle
from airflow_cleanroomsml.exceptions import (
    AccessDeniedError,
    AlreadyExistsError,
    CleanRoomsMLError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    JobFailedError,
    OutcomeUnknownError,
    WaitBrokenError,
    WaitTimeoutError,
)
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLDeleteAudienceModelOperator,
)
from tests.support import World, remove_claim, run

both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


def create(dataset: str, **more: Any) -> Any:
    arguments = {"name": "m", "training_dataset_arn": dataset, "waiter_delay": 1, **more}
    return run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **arguments)).result


def delete(arn: str, **more: Any) -> Any:
    return run(CleanRoomsMLDeleteAudienceModelOperator(task_id="t", audience_model_arn=arn, **more)).result


@both_ways
def test_create_waits_and_returns_arn(world: World, deferrable: bool) -> None:
    arn = create(world.create_dataset(), deferrable=deferrable, tags={"team": "ads"})
    model = world.ml.get_audience_model(audienceModelArn=arn)
    assert (model["status"], remove_claim(model["tags"])) == ("ACTIVE", {"team": "ads"})
    assert world.calls.count("CreateAudienceModel") == 1


def test_create_can_skip_wait(world: World) -> None:
    arn = create(world.create_dataset(), wait_for_completion=False)
    assert ":audience-model/" in arn
    assert "GetAudienceModel" not in world.calls


def test_training_window_is_sent_as_time(world: World) -> None:
    arn = create(world.create_dataset(), training_data_start_time="2025-01-01", training_data_end_time=1_800_000_000)
    model = world.ml.get_audience_model(audienceModelArn=arn)
    assert model["trainingDataStartTime"].astimezone(timezone.utc) == datetime(2025, 1, 1, tzinfo=timezone.utc)
    assert model["trainingDataEndTime"].timestamp() == 1_800_000_000


@both_ways
def test_failure_has_status_code_and_message(world: World, deferrable: bool) -> None:
    data = world.build_training_data("nowhere")
    dataset = world.ml.create_training_dataset(name="d", roleArn=world.role, trainingData=data)
    with pytest.raises(JobFailedError, match="(?s)is CREATE_FAILED.*nowhere") as caught:
        create(dataset["trainingDatasetArn"], deferrable=deferrable)
    assert caught.value.status == "CREATE_FAILED"
    assert caught.value.code
    assert "nowhere" in caught.value.reason


@both_ways
def test_wait_times_out(slow_world: World, deferrable: bool) -> None:
    with pytest.raises(WaitTimeoutError, match="still CREATE_IN_PROGRESS.*It is still running"):
        create(slow_world.create_dataset(), deferrable=deferrable, waiter_delay=0.05, waiter_max_attempts=1)


def test_execution_timeout_limits_deferred_wait(world: World) -> None:
    task = CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="m", training_dataset_arn="a", execution_timeout=timedelta(seconds=30)
    )
    start = datetime.now(tz=timezone.utc)
    context: Any = {"ti": type("Ti", (), {"start_date": start})}
    wait = task._waiter.build_wait(context, Handle({"audience_model_arn": "a"}))
    # Earlier than Airflow's own time-out, which 2.11 raises as soon as the task resumes, and which would be retried.
    assert wait.deadline == pytest.approx(start.timestamp() + 15)


@both_ways
def test_reuse_waits_for_pending_model(world: World, deferrable: bool) -> None:
    dataset = world.create_dataset()
    first = create(dataset, wait_for_completion=False)
    assert create(dataset, if_exists="reuse", deferrable=deferrable) == first
    assert world.ml.get_audience_model(audienceModelArn=first)["status"] == "ACTIVE"


def test_reuse_rejects_failed_model(world: World) -> None:
    data = world.build_training_data("nowhere")
    dataset = world.ml.create_training_dataset(name="d", roleArn=world.role, trainingData=data)
    with pytest.raises(JobFailedError):
        create(dataset["trainingDatasetArn"])
    with pytest.raises(AlreadyExistsError, match="CREATE_FAILED"):
        create(dataset["trainingDatasetArn"], if_exists="reuse")


def test_lost_response_fails_without_retry_if_not_durable(world: World) -> None:
    world.add_fault("CreateAudienceModel", "lose_response")
    with pytest.raises(OutcomeUnknownError, match="(?s)outcome is unknown.*does not retry.*if_exists"):
        create(world.create_dataset(), durable=False)
    assert world.calls.count("CreateAudienceModel") == 1
    assert len(world.ml.list_audience_models()["audienceModels"]) == 1


def test_failed_trigger_reports_reason(world: World) -> None:
    task = CleanRoomsMLCreateAudienceModelOperator(task_id="t", name="m", training_dataset_arn=world.create_dataset())
    wait = task._waiter.build_wait({}, Handle({"audience_model_arn": "arn"})).to_json()
    with pytest.raises(
        CleanRoomsMLError, match="(?s)interrupted.*not affected.*audience model arn.*AccessDeniedError: no"
    ):
        task.execute_complete({}, event={"wait": wait, "error": "AccessDeniedError: no"})


@both_ways
def test_interrupted_wait_does_not_create_second_model(slow_world: World, deferrable: bool) -> None:
    dataset = slow_world.create_dataset()
    first = create(dataset, wait_for_completion=False)
    slow_world.add_fault("GetAudienceModel", "access_denied")
    with pytest.raises(WaitBrokenError, match="(?s)not affected.*AccessDeniedError.*if_exists"):
        create(dataset, name="another", deferrable=deferrable, durable=False)
    slow_world.add_fault("ListAudienceModels", "access_denied")
    with pytest.raises(AccessDeniedError):
        create(dataset, if_exists="reuse", deferrable=deferrable)
    assert first.split(":")[4] == slow_world.account


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("waiter_delay", 0),
        ("waiter_delay", "30"),
        ("waiter_max_attempts", -1),
        ("waiter_max_attempts", "60"),
    ],
)
def test_invalid_wait_is_rejected_before_create(world: World, argument: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=argument):
        create(world.create_dataset(), **{"deferrable": True, argument: value})
    assert "CreateAudienceModel" not in world.calls


@pytest.mark.parametrize("config", [Config(read_timeout=5), {"read_timeout": object()}, {"read_timeout": "soon"}])
def test_config_unfit_for_triggerer_is_rejected_before_create(world: World, config: Any) -> None:
    with pytest.raises(ConfigurationError, match="botocore_config"):
        create(world.create_dataset(), deferrable=True, botocore_config=config)
    assert "CreateAudienceModel" not in world.calls


def test_trigger_failure_does_not_create_second_model() -> None:
    task = CleanRoomsMLCreateAudienceModelOperator(task_id="t", name="m", training_dataset_arn="a", durable=False)
    with pytest.raises(WaitBrokenError, match="(?s)not affected.*Trigger failure"):
        task.resume_execution("__fail__", {"error": "Trigger failure"}, {})


def test_delete_waits_after_lost_response(world: World) -> None:
    arn = world.train_model()
    world.add_fault("DeleteAudienceModel", "lose_response")
    assert delete(arn) is None
    assert world.calls.count("DeleteAudienceModel") == 2
    assert world.ml.list_audience_models()["audienceModels"] == []


def test_interrupted_wait_can_be_retried_with_reuse(slow_world: World) -> None:
    task = CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="m", training_dataset_arn=slow_world.create_dataset(), if_exists="reuse"
    )
    wait = task._waiter.build_wait({}, Handle({"audience_model_arn": "arn"})).to_json()
    with pytest.raises(CleanRoomsMLError, match="was interrupted") as caught:
        task.execute_complete({}, event={"wait": wait, "error": "AccessDeniedError: no"})
    assert not isinstance(caught.value, AirflowFailException)


def test_wait_with_bad_configuration_is_not_retried(slow_world: World) -> None:
    task = CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="m", training_dataset_arn=slow_world.create_dataset(), if_exists="reuse"
    )
    wait = task._waiter.build_wait({}, Handle({"audience_model_arn": "arn"})).to_json()
    with pytest.raises(ConfigurationError, match="(?s)not affected.*AWS_CA_BUNDLE.*Once the cause is corrected"):
        task.execute_complete({}, event={"wait": wait, "error": "ConfigurationError: AWS_CA_BUNDLE: '' is blank"})


@both_ways
def test_delete_waits_for_deletion(world: World, deferrable: bool) -> None:
    arn = world.train_model()
    assert delete(arn, deferrable=deferrable) is None
    assert world.ml.list_audience_models()["audienceModels"] == []
    assert delete(arn, deferrable=deferrable) is None


def test_delete_fails_while_configured_model_depends_on_it(world: World) -> None:
    configured = world.ml.get_configured_audience_model(configuredAudienceModelArn=world.create_configured_model())
    with pytest.raises(ConflictError, match="depend on"):
        delete(configured["audienceModelArn"])


def test_conflict_is_not_hidden_by_missing_permission_to_read(world: World) -> None:
    configured = world.ml.get_configured_audience_model(configuredAudienceModelArn=world.create_configured_model())
    world.add_fault("GetAudienceModel", "access_denied", times=0)
    with pytest.raises(ConflictError, match="(?s)depend on.*could not be checked.*GetAudienceModel"):
        delete(configured["audienceModelArn"])
