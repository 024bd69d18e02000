"""What errors and log lines say to whoever has to act on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_cleanroomsml._resources.table import Outcome
from airflow_cleanroomsml._waiting.wait import PollResult, Wait
from airflow_cleanroomsml.exceptions import (
    AccessDeniedError,
    CleanRoomsMLError,
    ConflictError,
    InvalidRequestError,
    JobFailedError,
    QuotaExceededError,
    ResourceNotFoundError,
    ServiceError,
    WaitTimeoutError,
    service_error,
)
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCallOperator,
    CleanRoomsMLCancelTrainedModelOperator,
    CleanRoomsMLCheckTrainingDataOperator,
    CleanRoomsMLChooseAudienceSizeOperator,
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLCreateTrainedModelOperator,
    CleanRoomsMLDeleteAudienceModelOperator,
    CleanRoomsMLDeleteTrainingDatasetOperator,
)
from airflow_cleanroomsml.sensors import (
    CleanRoomsMLAudienceExportJobSensor,
    CleanRoomsMLAudienceModelSensor,
    CleanRoomsMLTrainedModelSensor,
)
from tests.helpers.custom_models import Studio
from tests.support import RunningEmulator, TaskInstance, World, run
from tests.waiting.test_cancellation import channel

__all__ = ["channel"]
MEMBERSHIP = "11111111-2222-3333-4444-555555555555"
TRAINED_MODEL_ARN = f"arn:aws:cleanrooms-ml:us-east-1:123456789012:membership/{MEMBERSHIP}/trained-model/{MEMBERSHIP}"
both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


@pytest.fixture(autouse=True)
def _fast_clock(fast_clock: None) -> None:
    pass


def failing(world: World) -> str:
    """A training dataset whose table is missing."""
    made = world.ml.create_training_dataset(
        name="d", roleArn=world.role, trainingData=world.build_training_data("no_such_table")
    )
    return str(made["trainingDatasetArn"])


@both_ways
def test_a_failed_job_says_that_a_clear_starts_another(world: World, deferrable: bool) -> None:
    train: dict[str, Any] = {"name": "m", "training_dataset_arn": failing(world), "deferrable": deferrable}
    with pytest.raises(JobFailedError, match="Once the cause is corrected, clear the task: it starts another job."):
        run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **train))


def test_a_cleared_task_does_what_the_message_says(world: World) -> None:
    first = TaskInstance()
    train: dict[str, Any] = {"name": "m", "training_dataset_arn": failing(world)}
    with pytest.raises(JobFailedError):
        run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **train), ti=first)
    with pytest.raises(JobFailedError):
        run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **train), ti=first.make_cleared_try())
    assert world.calls.count("CreateAudienceModel") == 2
    # Without its tag a cleared task cannot tell that the failed job is its own, so the name is taken.
    train.update(name="n", durable=False)
    other = TaskInstance()
    with pytest.raises(JobFailedError, match="change the name and clear the task: it starts another job."):
        run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **train), ti=other)
    with pytest.raises(ConflictError):
        run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **train), ti=other.make_cleared_try())


@both_ways
def test_a_sensor_of_a_failed_job_says_to_start_another(world: World, deferrable: bool) -> None:
    made = world.ml.create_audience_model(name="m", trainingDatasetArn=failing(world))["audienceModelArn"]
    world.wait(made)
    sensor = CleanRoomsMLAudienceModelSensor(task_id="t", audience_model_arn=made, deferrable=deferrable)
    with pytest.raises(JobFailedError, match="It will not recover; start another one, and wait for that one."):
        run(sensor)


@both_ways
def test_a_failed_training_names_the_check_of_its_data(world: World, deferrable: bool) -> None:
    train: dict[str, Any] = {"name": "m", "training_dataset_arn": failing(world), "deferrable": deferrable}
    with pytest.raises(
        JobFailedError, match="To check the training data and its role, run CleanRoomsMLCheckTrainingData"
    ):
        run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **train))


def test_a_deleted_model_is_not_blamed_on_its_data(world: World) -> None:
    with slow_endings(world.emulator):
        arn = world.train_model()
    world.ml.delete_audience_model(audienceModelArn=arn)
    with pytest.raises(JobFailedError, match="The audience model is DELETE_") as caught:
        run(CleanRoomsMLAudienceModelSensor(task_id="t", audience_model_arn=arn))
    assert "CheckTrainingData" not in str(caught.value)


def test_expired_credentials_are_to_be_renewed(world: World) -> None:
    world.add_fault("CreateAudienceModel", "expired_credentials")
    train: dict[str, Any] = {"name": "m", "training_dataset_arn": failing(world)}
    with pytest.raises(ServiceError, match="Renew the credentials in the Airflow connection") as caught:
        run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **train))
    assert "contact AWS Support" not in str(caught.value)
    assert "\n  Request ID: " in str(caught.value)


def explain_denied_create(world: World) -> Any:
    world.add_fault("CreateAudienceModel", "access_denied")
    return run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", name="m", training_dataset_arn=failing(world)))


def explain_denied_search(world: World) -> Any:
    """A retry may not look for what an earlier try, which was killed, may have created."""
    create: dict[str, Any] = {"task_id": "t", "name": "m", "training_dataset_arn": failing(world)}
    first = TaskInstance()
    world.add_fault("CreateAudienceModel", "lose_response")
    world.add_fault("ListAudienceModels", "access_denied", times=0)
    with pytest.raises(Exception, match="."):
        run(CleanRoomsMLCreateAudienceModelOperator(**create), ti=first)
    return run(CleanRoomsMLCreateAudienceModelOperator(**create), ti=first.make_next_try())


def explain_taken_name(world: World) -> Any:
    dataset = failing(world)
    world.ml.create_audience_model(name="m", trainingDatasetArn=dataset)
    return run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", name="m", training_dataset_arn=dataset))


def explain_quota(world: World) -> Any:
    world.add_fault("CreateAudienceModel", "quota", times=0)
    train: dict[str, Any] = {"name": "m", "training_dataset_arn": failing(world), "quota_timeout": 5}
    return run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **train))


def explain_denied_poll(world: World) -> Any:
    world.add_fault("GetAudienceModel", "access_denied", times=0)
    return run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", name="m", training_dataset_arn=failing(world)))


def explain_missing_job(world: World) -> Any:
    world.add_fault("GetAudienceModel", "stale_read", times=0, seconds=1e6)
    return run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", name="m", training_dataset_arn=failing(world)))


def explain_missing_resource(world: World) -> Any:
    arn = world.train_model().replace("audience-model/", "audience-model/no-")
    return run(CleanRoomsMLAudienceModelSensor(task_id="t", audience_model_arn=arn))


def explain_denied_sensor(world: World) -> Any:
    arn = failing(world)
    made = world.ml.create_audience_model(name="m", trainingDatasetArn=arn)["audienceModelArn"]
    world.add_fault("GetAudienceModel", "access_denied", times=0)
    with pytest.raises(AccessDeniedError) as caught:
        CleanRoomsMLHook().call("get_audience_model", {"audience_model_arn": made})
    error = f"AccessDeniedError: {caught.value}"
    sensor = CleanRoomsMLAudienceModelSensor(task_id="t", audience_model_arn=made, deferrable=True)
    return sensor.execute_complete({}, {"wait": sensor._build_wait(1.0).to_json(), "error": error})


@pytest.mark.parametrize(
    ("explain", "advice"),
    [
        (explain_denied_create, ["iam:PassRole", "set durable=False"]),
        (explain_denied_search, ["iam:PassRole", "needs these permissions to look for"]),
        (explain_taken_name, ["Choose another name"]),
        (explain_quota, ["Wait for other jobs to end"]),
        (explain_denied_poll, ["iam:PassRole", "A retry continues the wait."]),
        (explain_denied_sensor, ["iam:PassRole", "A retry continues the wait."]),
        (explain_missing_job, ["First check the account and the region of the connection. Then clear the task"]),
        (explain_missing_resource, ["Check the ARN"]),
    ],
)
def test_the_advice_comes_before_the_request_id_which_comes_last(world: World, explain: Any, advice: list[str]) -> None:
    with pytest.raises(CleanRoomsMLError) as caught:
        explain(world)
    *others, last = str(caught.value).splitlines()
    assert last.startswith("  Request ID: "), str(caught.value)
    assert not any("Request ID" in line for line in others)
    # In one place: nothing that is known of the error follows the first advice.
    first = next(number for number, line in enumerate(others) if advice[0] in line)
    facts = [number for number, line in enumerate(others) if "arn:aws" in line or "The existing resource" in line]
    assert all(number < first for number in facts), str(caught.value)
    assert all(any(each in line for line in others[first:]) for each in advice)
    assert sum(line.count("Check the ") for line in others) <= 1


def test_a_data_check_with_an_invalid_rule_sends_nothing(world: World) -> None:
    arn = failing(world)
    check = CleanRoomsMLCheckTrainingDataOperator(task_id="t", training_dataset_arn=arn, warn_only=["TABLE_NOT_FUOND"])
    with pytest.raises(
        InvalidRequestError, match=r"no such rule \(did you mean 'TABLE_NOT_FOUND'\?\); .*Nothing was sent"
    ):
        run(check)
    assert world.calls.count("GetTrainingDataset") == 0


@contextmanager
def slow_endings(emulator: RunningEmulator) -> Iterator[None]:
    """What is made meanwhile takes hours to be deleted or cancelled."""
    before = emulator.change_settings(delete_seconds=10_000)["delete_seconds"]
    try:
        yield
    finally:
        emulator.change_settings(delete_seconds=before)


@both_ways
def test_a_deletion_that_takes_too_long_is_not_called_running(world: World, deferrable: bool) -> None:
    with slow_endings(world.emulator):
        arn = world.train_model()
    delete = CleanRoomsMLDeleteAudienceModelOperator(
        task_id="t", audience_model_arn=arn, waiter_delay=1, waiter_max_attempts=2, deferrable=deferrable
    )
    with pytest.raises(WaitTimeoutError, match="The deletion continues without this task.") as caught:
        run(delete)
    assert "incurring charges" not in str(caught.value)
    assert "running" not in str(caught.value)


@both_ways
def test_a_cancellation_that_takes_too_long_may_cost(slow_studio: Studio, channel: str, deferrable: bool) -> None:
    with slow_endings(slow_studio.world.emulator):
        train = slow_studio.build_training(channel=channel, wait_for_completion=False)
        model = run(CleanRoomsMLCreateTrainedModelOperator(**train)).result
    cancel = CleanRoomsMLCancelTrainedModelOperator(
        task_id="t",
        trained_model_arn=model,
        **slow_studio.mine,
        waiter_delay=1,
        waiter_max_attempts=2,
        deferrable=deferrable,
    )
    with pytest.raises(WaitTimeoutError, match="continues without this task; the job may incur charges until it ends."):
        run(cancel)


@both_ways
def test_a_sensor_of_a_deletion_calls_nothing_running_that_is_not(world: World, deferrable: bool) -> None:
    sensor = CleanRoomsMLAudienceModelSensor(
        task_id="t",
        audience_model_arn=world.train_model(),
        goal="deleted",
        timeout=1,
        deferrable=deferrable,
        poke_interval=1,
    )
    with pytest.raises(WaitTimeoutError, match="was still ACTIVE after 1 s, the timeout of the sensor.") as caught:
        run(sensor)
    assert "running" not in str(caught.value)


def test_a_wait_for_quota_repeats_one_line(
    slow_world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = slow_world.create_dataset()
    for index in range(2):
        slow_world.ml.create_audience_model(name=f"m{index}", trainingDatasetArn=dataset)
    create = CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="m", training_dataset_arn=dataset, quota_timeout=150
    )
    with pytest.raises(QuotaExceededError):
        run(create)
    # Airflow 3 prints the log of a task; 2.11 hands it to logging as well.
    text = caplog.text if "Trying again for up to" in caplog.text else "".join(capsys.readouterr())
    again = "CreateAudienceModel was refused again (quotaName: Pending or in progress audience models, quotaValue: 2)."
    assert text.count(again) > 1
    assert text.count("Nothing was started: the service refused the start for now") == 1
    assert text.count("Wait for other jobs to end") == 1


def test_a_conflict_does_not_repeat_the_service(world: World) -> None:
    arn = world.create_configured_model()
    model = world.ml.get_configured_audience_model(configuredAudienceModelArn=arn)["audienceModelArn"]
    with pytest.raises(ConflictError) as caught:
        run(CleanRoomsMLDeleteAudienceModelOperator(task_id="t", audience_model_arn=model))
    text = str(caught.value)
    assert text.count("depend") == 1 + text.count("depends on it")
    assert "Another resource depends on this one" not in text


@pytest.mark.parametrize(
    ("operation", "code", "status"),
    [
        ("CreateAudienceModel", "AccessDeniedException", 403),
        ("CreateAudienceModel", "ConflictException", 409),
        ("DeleteAudienceModel", "ConflictException", 409),
        ("CreateAudienceModel", "ServiceQuotaExceededException", 402),
        ("CreateTrainingDataset", "ServiceQuotaExceededException", 402),
        ("GetAudienceModel", "ResourceNotFoundException", 404),
        ("GetAudienceModel", "ValidationException", 400),
    ],
)
def test_advice_has_lines_that_a_viewer_shows_whole(operation: str, code: str, status: int) -> None:
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert max(map(len, str(service_error(operation, answer)).splitlines())) <= 120


def test_a_request_that_is_not_valid_was_not_sent(world: World) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        run(CleanRoomsMLDeleteTrainingDatasetOperator(task_id="t", training_dataset_arn="x"))
    assert str(caught.value).startswith("DeleteTrainingDataset was not sent, because its request is not valid:\n")


@both_ways
def test_a_listing_has_the_name_of_the_api(world: World, deferrable: bool) -> None:
    sensor = CleanRoomsMLAudienceExportJobSensor(
        task_id="t",
        name="never",
        audience_generation_job_arn=world.generate_audience(),
        timeout=1,
        deferrable=deferrable,
        poke_interval=1,
    )
    with pytest.raises(WaitTimeoutError, match="ListAudienceExportJobs does not show it"):
        run(sensor)


def test_an_operation_that_is_called_has_the_name_of_the_api(world: World) -> None:
    call = CleanRoomsMLCallOperator(
        task_id="t", operation="list_audience_models", jmespath="sum(audienceModels[].name)"
    )
    world.train_model()
    with pytest.raises(Exception, match="ListAudienceModels succeeded, but jmespath"):
        run(call)


def test_pass_without_a_default_names_what_is_missing() -> None:
    choose = CleanRoomsMLChooseAudienceSizeOperator(task_id="t", if_unsuitable="pass", aws_conn_id=None)
    with pytest.raises(
        Exception, match=r'metrics are not shared.*\n.*if_unsuitable="pass" needs default_size: the size to return here'
    ):
        run(choose)


def test_a_resource_that_is_not_found_is_no_failed_job(world: World) -> None:
    arn = world.train_model().replace("audience-model/", "audience-model/no-")
    with pytest.raises(ResourceNotFoundError):
        run(CleanRoomsMLAudienceModelSensor(task_id="t", audience_model_arn=arn))


def test_a_failed_training_names_the_logs_of_its_container(world: World) -> None:
    identifiers: dict[str, Any] = {"membership_identifier": MEMBERSHIP, "trained_model_arn": TRAINED_MODEL_ARN}
    wait = Wait("trained model", "created", identifiers, 0.0, 1.0, 1.0)
    event = {"wait": wait.to_json(), "poll_result": PollResult("CREATE_FAILED", Outcome.FAILURE).to_json()}
    sensor = CleanRoomsMLTrainedModelSensor(task_id="t", **identifiers)
    with pytest.raises(JobFailedError, match="CloudWatch log group /aws/cleanroomsml/TrainedModels"):
        sensor.execute_complete({}, event)


def test_a_sensor_of_a_deletion_that_failed_does_not_ask_for_another_resource(world: World) -> None:
    arn = world.train_model()
    wait = Wait("audience model", "deleted", {"audience_model_arn": arn}, 0.0, 1.0, 1.0)
    event = {"wait": wait.to_json(), "poll_result": PollResult("DELETE_FAILED", Outcome.FAILURE).to_json()}
    sensor = CleanRoomsMLAudienceModelSensor(task_id="t", audience_model_arn=arn, goal="deleted")
    with pytest.raises(JobFailedError, match="Once the cause is corrected, delete it again, and clear the sensor."):
        sensor.execute_complete({}, event)


def test_a_number_of_polls_that_is_not_whole_is_refused() -> None:
    half: Any = 2.5
    create = CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="m", training_dataset_arn="x", waiter_max_attempts=half
    )
    with pytest.raises(
        InvalidRequestError, match="waiter_max_attempts: 2.5 is not valid; must be a whole number above 0"
    ):
        run(create)
