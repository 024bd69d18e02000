"""The texts of errors and log lines, and the advice that they give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_cleanroomsml._connection.send_errors import build_outcome_unknown
from airflow_cleanroomsml._resources.table import TRAINED_MODEL, Outcome
from airflow_cleanroomsml._waiting.results import push_outputs
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


def create_failing_dataset(world: World) -> str:
    """Create a training dataset whose table is missing."""
    dataset = world.ml.create_training_dataset(
        name="d", roleArn=world.role, trainingData=world.build_training_data("no_such_table")
    )
    return str(dataset["trainingDatasetArn"])


@both_ways
def test_failed_job_advises_to_clear_the_task(world: World, deferrable: bool) -> None:
    arguments: dict[str, Any] = {
        "name": "m",
        "training_dataset_arn": create_failing_dataset(world),
        "deferrable": deferrable,
    }
    with pytest.raises(JobFailedError, match="Once the cause is corrected, clear the task: it starts another job."):
        run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **arguments))


def test_cleared_task_does_what_the_message_says(world: World) -> None:
    first = TaskInstance()
    arguments: dict[str, Any] = {"name": "m", "training_dataset_arn": create_failing_dataset(world)}
    with pytest.raises(JobFailedError):
        run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **arguments), ti=first)
    with pytest.raises(JobFailedError):
        run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **arguments), ti=first.make_cleared_try())
    assert world.calls.count("CreateAudienceModel") == 2
    # Without the tag, a cleared task does not recognise the failed job as its own, so the name is taken.
    arguments.update(name="n", durable=False)
    other = TaskInstance()
    with pytest.raises(JobFailedError, match="change the name and clear the task: it starts another job."):
        run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **arguments), ti=other)
    with pytest.raises(ConflictError):
        run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **arguments), ti=other.make_cleared_try())


@both_ways
def test_sensor_of_failed_job_advises_to_start_another(world: World, deferrable: bool) -> None:
    model_arn = world.ml.create_audience_model(name="m", trainingDatasetArn=create_failing_dataset(world))[
        "audienceModelArn"
    ]
    world.wait(model_arn)
    sensor = CleanRoomsMLAudienceModelSensor(task_id="t", audience_model_arn=model_arn, deferrable=deferrable)
    with pytest.raises(JobFailedError, match="It will not recover; start another one, and wait for that one."):
        run(sensor)


@both_ways
def test_failed_training_names_the_data_check(world: World, deferrable: bool) -> None:
    arguments: dict[str, Any] = {
        "name": "m",
        "training_dataset_arn": create_failing_dataset(world),
        "deferrable": deferrable,
    }
    with pytest.raises(
        JobFailedError, match="To check the training data and its role, run CleanRoomsMLCheckTrainingData"
    ):
        run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **arguments))


def test_deletion_of_model_is_not_blamed_on_data(world: World) -> None:
    with delay_deletions(world.emulator):
        arn = world.train_model()
    world.ml.delete_audience_model(audienceModelArn=arn)
    with pytest.raises(JobFailedError, match="The audience model is DELETE_") as caught:
        run(CleanRoomsMLAudienceModelSensor(task_id="t", audience_model_arn=arn))
    assert "CheckTrainingData" not in str(caught.value)


def test_error_advises_to_renew_credentials(world: World) -> None:
    world.add_fault("CreateAudienceModel", "expired_credentials")
    arguments: dict[str, Any] = {"name": "m", "training_dataset_arn": create_failing_dataset(world)}
    with pytest.raises(ServiceError, match="Renew the credentials in the Airflow connection") as caught:
        run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **arguments))
    assert "contact AWS Support" not in str(caught.value)
    assert "\n  Request ID: " in str(caught.value)


def provoke_denied_create(world: World) -> Any:
    world.add_fault("CreateAudienceModel", "access_denied")
    return run(
        CleanRoomsMLCreateAudienceModelOperator(
            task_id="t", name="m", training_dataset_arn=create_failing_dataset(world)
        )
    )


def provoke_denied_search(world: World) -> Any:
    """Retry a create whose response was lost, without permission to list what it created."""
    create: dict[str, Any] = {"task_id": "t", "name": "m", "training_dataset_arn": create_failing_dataset(world)}
    first = TaskInstance()
    world.add_fault("CreateAudienceModel", "lose_response")
    world.add_fault("ListAudienceModels", "access_denied", times=0)
    with pytest.raises(Exception, match="."):
        run(CleanRoomsMLCreateAudienceModelOperator(**create), ti=first)
    return run(CleanRoomsMLCreateAudienceModelOperator(**create), ti=first.make_next_try())


def provoke_taken_name(world: World) -> Any:
    dataset = create_failing_dataset(world)
    world.ml.create_audience_model(name="m", trainingDatasetArn=dataset)
    return run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", name="m", training_dataset_arn=dataset))


def provoke_full_quota(world: World) -> Any:
    world.add_fault("CreateAudienceModel", "quota", times=0)
    arguments: dict[str, Any] = {"name": "m", "training_dataset_arn": create_failing_dataset(world), "quota_timeout": 5}
    return run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **arguments))


def provoke_denied_poll(world: World) -> Any:
    world.add_fault("GetAudienceModel", "access_denied", times=0)
    return run(
        CleanRoomsMLCreateAudienceModelOperator(
            task_id="t", name="m", training_dataset_arn=create_failing_dataset(world)
        )
    )


def provoke_missing_job(world: World) -> Any:
    world.add_fault("GetAudienceModel", "stale_read", times=0, seconds=1e6)
    return run(
        CleanRoomsMLCreateAudienceModelOperator(
            task_id="t", name="m", training_dataset_arn=create_failing_dataset(world)
        )
    )


def provoke_missing_resource(world: World) -> Any:
    arn = world.train_model().replace("audience-model/", "audience-model/no-")
    return run(CleanRoomsMLAudienceModelSensor(task_id="t", audience_model_arn=arn))


def provoke_denied_sensor(world: World) -> Any:
    arn = create_failing_dataset(world)
    model_arn = world.ml.create_audience_model(name="m", trainingDatasetArn=arn)["audienceModelArn"]
    world.add_fault("GetAudienceModel", "access_denied", times=0)
    with pytest.raises(AccessDeniedError) as caught:
        CleanRoomsMLHook().call("get_audience_model", {"audience_model_arn": model_arn})
    error = f"AccessDeniedError: {caught.value}"
    sensor = CleanRoomsMLAudienceModelSensor(task_id="t", audience_model_arn=model_arn, deferrable=True)
    return sensor.execute_complete({}, {"wait": sensor._build_wait(1.0).to_json(), "error": error})


@pytest.mark.parametrize(
    ("provoke", "advice"),
    [
        (provoke_denied_create, ["cleanrooms-ml:CreateAudienceModel", "set durable=False"]),
        (provoke_denied_search, ["cleanrooms-ml:ListAudienceModels", "needs these permissions to look for"]),
        (provoke_taken_name, ["Choose another name"]),
        (provoke_full_quota, ["Wait for other jobs to end"]),
        (provoke_denied_poll, ["cleanrooms-ml:GetAudienceModel", "A retry continues the wait."]),
        (provoke_denied_sensor, ["cleanrooms-ml:GetAudienceModel", "A retry continues the wait."]),
        (provoke_missing_job, ["First check the account and the region of the connection. Then clear the task"]),
        (provoke_missing_resource, ["Check the ARN"]),
    ],
)
def test_request_id_comes_last_after_the_advice(world: World, provoke: Any, advice: list[str]) -> None:
    with pytest.raises(CleanRoomsMLError) as caught:
        provoke(world)
    *others, last = str(caught.value).splitlines()
    assert last.startswith("  Request ID: "), str(caught.value)
    assert not any("Request ID" in line for line in others)
    # The advice is in one place: no fact about the error follows its first line.
    first = next(number for number, line in enumerate(others) if advice[0] in line)
    facts = [number for number, line in enumerate(others) if "arn:aws" in line or "The existing resource" in line]
    assert all(number < first for number in facts), str(caught.value)
    assert all(any(each in line for line in others[first:]) for each in advice)
    assert sum(line.count("Check the ") for line in others) <= 1


def test_a_data_check_with_an_invalid_rule_sends_nothing(world: World) -> None:
    arn = create_failing_dataset(world)
    check = CleanRoomsMLCheckTrainingDataOperator(task_id="t", training_dataset_arn=arn, warn_only=["TABLE_NOT_FUOND"])
    with pytest.raises(
        InvalidRequestError, match=r"unknown rule \(did you mean 'TABLE_NOT_FOUND'\?\); .*Nothing was sent"
    ):
        run(check)
    assert world.calls.count("GetTrainingDataset") == 0


@contextmanager
def delay_deletions(emulator: RunningEmulator) -> Iterator[None]:
    """Let resources that are created inside the block take hours to be deleted or cancelled."""
    before = emulator.change_settings(delete_seconds=10_000)["delete_seconds"]
    try:
        yield
    finally:
        emulator.change_settings(delete_seconds=before)


@both_ways
def test_slow_deletion_is_not_called_running(world: World, deferrable: bool) -> None:
    with delay_deletions(world.emulator):
        arn = world.train_model()
    delete = CleanRoomsMLDeleteAudienceModelOperator(
        task_id="t", audience_model_arn=arn, waiter_delay=1, waiter_max_attempts=2, deferrable=deferrable
    )
    with pytest.raises(WaitTimeoutError, match="The deletion continues without this task.") as caught:
        run(delete)
    assert "incurring charges" not in str(caught.value)
    assert "running" not in str(caught.value)


@both_ways
def test_slow_cancellation_warns_of_charges(slow_studio: Studio, channel: str, deferrable: bool) -> None:
    with delay_deletions(slow_studio.world.emulator):
        arguments = slow_studio.build_training(channel=channel, wait_for_completion=False)
        model = run(CleanRoomsMLCreateTrainedModelOperator(**arguments)).result
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
def test_deletion_sensor_does_not_call_active_model_running(world: World, deferrable: bool) -> None:
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
    # Airflow 3 prints the log of a task; 2.11 also passes it to logging.
    text = caplog.text if "Trying again for up to" in caplog.text else "".join(capsys.readouterr())
    again = "CreateAudienceModel was refused again (quotaName: Pending or in progress audience models, quotaValue: 2)."
    assert text.count(again) > 1
    assert text.count("Nothing was started yet: the service refused the request") == 1
    assert text.count("Wait for other jobs to end") == 1


def test_conflict_states_its_reason_once(world: World) -> None:
    arn = world.create_configured_model()
    model = world.ml.get_configured_audience_model(configuredAudienceModelArn=arn)["audienceModelArn"]
    with pytest.raises(ConflictError) as caught:
        run(CleanRoomsMLDeleteAudienceModelOperator(task_id="t", audience_model_arn=model))
    text = str(caught.value)
    assert text.count("depend on the audience model") == 1
    assert "Another resource depends on this one" not in text


@pytest.mark.parametrize(
    ("operation", "code", "status"),
    [
        ("CreateAudienceModel", "AccessDeniedException", 403),
        ("GetAudienceModel", "AccessDeniedException", 403),
        ("CreateAudienceModel", "ConflictException", 409),
        ("DeleteAudienceModel", "ConflictException", 409),
        ("CreateAudienceModel", "ServiceQuotaExceededException", 402),
        ("CreateTrainingDataset", "ServiceQuotaExceededException", 402),
        ("GetAudienceModel", "ResourceNotFoundException", 404),
        ("GetAudienceModel", "ValidationException", 400),
    ],
)
def test_lines_have_at_most_120_characters(operation: str, code: str, status: int) -> None:
    response = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    actions = [
        "cleanrooms-ml:CreateTrainedModel",
        "cleanrooms-ml:TagResource",
        "cleanrooms:PassMembership",
        "iam:PassRole",
    ]
    error = service_error(operation, response, actions=actions)
    assert max(map(len, str(error).splitlines())) <= 120


def test_an_interrupted_wait_is_explained_once(world: World) -> None:
    arn = world.train_model()
    wait = Wait("audience model", "created", {"audience_model_arn": arn}, 0.0, 1e12, 1.0)
    create = CleanRoomsMLCreateAudienceModelOperator(task_id="t", name="m", training_dataset_arn="x", deferrable=True)
    event = {"wait": wait.to_json(), "error": "AccessDeniedError: no"}
    context: Any = {"ti": TaskInstance()}
    with pytest.raises(CleanRoomsMLError) as caught:
        create.resume_execution("execute_complete", {"event": event}, context)
    assert str(caught.value).count("The wait was interrupted") == 1
    assert str(caught.value).count("A retry continues the wait.") == 1
    assert arn in str(caught.value)


def test_a_cancellation_without_identifier_speaks_of_cancelling() -> None:
    missing: Any = None
    cancel = CleanRoomsMLCancelTrainedModelOperator(
        task_id="t", trained_model_arn=missing, membership_identifier=missing
    )
    with pytest.raises(InvalidRequestError) as caught:
        run(cancel)
    assert "are None: if they are pulled from XCom" in str(caught.value)
    assert "there is nothing to cancel" in str(caught.value)


def test_a_lost_response_of_an_unnamed_request_does_not_mention_names(world: World) -> None:
    request = CleanRoomsMLHook(service="cleanrooms").check(
        "populate_id_mapping_table",
        {"membership_identifier": MEMBERSHIP, "id_mapping_table_identifier": MEMBERSHIP},
    )
    text = str(build_outcome_unknown(request, CleanRoomsMLError("lost")))
    assert "Check whether it took effect, and clear the task only if it did not." in text
    assert "if_exists" not in text


def test_reason_with_a_full_stop_gets_no_second_one(caplog: pytest.LogCaptureFixture) -> None:
    task = CleanRoomsMLCreateAudienceModelOperator(task_id="t", name="m", training_dataset_arn="x")
    context: Any = {"ti": TaskInstance()}
    push_outputs(task, context, TRAINED_MODEL, {"logsStatus": "PUBLISH_FAILED", "logsStatusDetails": "No role is set."})
    assert "were not published: No role is set. To receive them" in caplog.text


@both_ways
def test_no_log_line_ends_with_full_stop_after_arn(
    world: World, deferrable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="airflow_cleanroomsml"):
        task = CleanRoomsMLCreateAudienceModelOperator(
            task_id="t", name="m", training_dataset_arn=world.create_dataset(), deferrable=deferrable
        )
        arn = run(task).result
    lines = [line for text in caplog.messages for line in text.splitlines() if arn in line]
    assert lines
    # Whoever copies the ARN copies the full stop, too, and the service accepts one at the end of an ARN.
    assert not [line for line in lines if line.endswith(".")]


def test_error_says_that_request_was_not_sent(world: World) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        run(CleanRoomsMLDeleteTrainingDatasetOperator(task_id="t", training_dataset_arn="x"))
    assert str(caught.value).startswith("DeleteTrainingDataset was not sent, because its request is not valid:\n")


@both_ways
def test_listing_is_named_as_in_the_api(world: World, deferrable: bool) -> None:
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


def test_called_operation_is_named_as_in_the_api(world: World) -> None:
    call = CleanRoomsMLCallOperator(
        task_id="t", operation="list_audience_models", jmespath="sum(audienceModels[].name)"
    )
    world.train_model()
    with pytest.raises(Exception, match="ListAudienceModels succeeded, but jmespath"):
        run(call)


def test_pass_without_default_names_missing_argument() -> None:
    choose = CleanRoomsMLChooseAudienceSizeOperator(task_id="t", if_unsuitable="pass", aws_conn_id=None)
    with pytest.raises(
        Exception, match=r'metrics are not shared.*\n.*if_unsuitable="pass" needs default_size: the size to return here'
    ):
        run(choose)


def test_missing_resource_is_not_a_failed_job(world: World) -> None:
    arn = world.train_model().replace("audience-model/", "audience-model/no-")
    with pytest.raises(ResourceNotFoundError):
        run(CleanRoomsMLAudienceModelSensor(task_id="t", audience_model_arn=arn))


def test_failed_training_names_the_container_logs(world: World) -> None:
    identifiers: dict[str, Any] = {"membership_identifier": MEMBERSHIP, "trained_model_arn": TRAINED_MODEL_ARN}
    wait = Wait("trained model", "created", identifiers, 0.0, 1.0, 1.0)
    event = {"wait": wait.to_json(), "poll_result": PollResult("CREATE_FAILED", Outcome.FAILURE).to_json()}
    sensor = CleanRoomsMLTrainedModelSensor(task_id="t", **identifiers)
    with pytest.raises(JobFailedError, match="CloudWatch log group /aws/cleanroomsml/TrainedModels"):
        sensor.execute_complete({}, event)


def test_sensor_of_failed_deletion_advises_to_delete_again(world: World) -> None:
    arn = world.train_model()
    wait = Wait("audience model", "deleted", {"audience_model_arn": arn}, 0.0, 1.0, 1.0)
    event = {"wait": wait.to_json(), "poll_result": PollResult("DELETE_FAILED", Outcome.FAILURE).to_json()}
    sensor = CleanRoomsMLAudienceModelSensor(task_id="t", audience_model_arn=arn, goal="deleted")
    with pytest.raises(JobFailedError, match="Once the cause is corrected, delete it again, and clear the sensor."):
        sensor.execute_complete({}, event)


def test_fractional_number_of_polls_is_rejected() -> None:
    half: Any = 2.5
    create = CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="m", training_dataset_arn="x", waiter_max_attempts=half
    )
    with pytest.raises(
        InvalidRequestError, match="waiter_max_attempts: 2.5 is not valid; must be a whole number above 0"
    ):
        run(create)
