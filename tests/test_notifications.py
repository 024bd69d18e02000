"""Notifications about jobs, published to SNS in the emulator."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow import DAG
from airflow.providers.amazon.aws.notifications.sns import SnsNotifier

from airflow_cleanroomsml._compat import IS_AIRFLOW_2
from airflow_cleanroomsml.exceptions import CleanRoomsMLError
from airflow_cleanroomsml.notifications import CleanRoomsMLNotifier, CleanRoomsMLSnsNotifier, describe_end
from airflow_cleanroomsml.operators import CleanRoomsMLCreateAudienceModelOperator
from airflow_cleanroomsml.sensors import CleanRoomsMLAudienceModelSensor
from tests.helpers.topic import Topic
from tests.support import TaskInstance, World, run

MODEL = "arn:aws:cleanrooms-ml:us-east-1:123456789012:audience-model/af7cca3d-0ce4-4d1c-9f8e-0d9a3d0a1c11"
SECRET = "select secret from customers"


def build_sns_notifier(topic: Topic) -> Any:
    return CleanRoomsMLSnsNotifier(target_arn=topic.arn)


def build_wrapping_notifier(topic: Topic) -> Any:
    subject, message = "{{ cleanroomsml.subject }}", "{{ cleanroomsml.message }}"
    return CleanRoomsMLNotifier(SnsNotifier(target_arn=topic.arn, subject=subject, message=message))


both_notifiers = pytest.mark.parametrize("make", [build_sns_notifier, build_wrapping_notifier], ids=["SNS", "wrapping"])


def call_back(notifier: Any, task: Any) -> TaskInstance:
    """Run a task and call the notifier as Airflow does."""
    ti = TaskInstance()
    vars(ti)["start_date"] = datetime.now(timezone.utc) - timedelta(hours=26, minutes=3)
    context: Any = {"ti": ti, "task": task, "dag": DAG("dag", schedule=None), "params": {}}
    state, context["exception"] = "success", None
    try:
        run(task, ti=ti)
    except CleanRoomsMLError as error:
        state, context["exception"] = "failed", error
    vars(ti)["state"] = state
    notifier(context)
    return ti


@both_notifiers
def test_failure_names_the_job_and_its_reason(world: World, make: Callable[[Topic], Any]) -> None:
    topic = Topic(world)
    world.add_fault("CreateAudienceModel", "fail_job", code="BAD_DATA", message="No interactions.")
    dataset = world.create_dataset()
    task = CleanRoomsMLCreateAudienceModelOperator(
        task_id="task", name="model", training_dataset_arn=dataset, waiter_delay=1
    )
    call_back(make(topic), task)
    (model,) = world.ml.list_audience_models()["audienceModels"]
    ((subject, message),) = topic.read_messages()
    assert subject == "dag.task failed: CREATE_FAILED"
    for part in ("after 26 h 3 min", model["audienceModelArn"], "status: CREATE_FAILED", "BAD_DATA: No interactions."):
        assert part in message


@both_notifiers
def test_each_task_gets_a_separate_message(world: World, make: Callable[[Topic], Any]) -> None:
    topic = Topic(world)
    notifier = make(topic)
    dataset = world.create_dataset()
    for name in ("one", "two"):
        task = CleanRoomsMLCreateAudienceModelOperator(
            task_id="task", name=name, training_dataset_arn=dataset, waiter_delay=1
        )
        ti = call_back(notifier, task)
        ((subject, message),) = topic.read_messages()
        assert subject == "dag.task succeeded"
        assert f"audience model: {ti.pushed['audience_model_arn']}" in message
        assert "reason" not in message


def test_message_names_awaited_resource(world: World) -> None:
    topic, model = Topic(world), world.train_model()
    call_back(build_sns_notifier(topic), CleanRoomsMLAudienceModelSensor(task_id="task", audience_model_arn=model))
    ((_, message),) = topic.read_messages()
    assert f"audience model: {model}" in message


def test_text_of_foreign_error_is_not_sent(world: World) -> None:
    topic = Topic(world)
    task = CleanRoomsMLAudienceModelSensor(task_id="task", audience_model_arn="x")
    error: Any = ValueError(SECRET)
    error.status = 503
    context: Any = {"ti": TaskInstance(), "task": task, "dag": DAG("dag", schedule=None), "exception": error}
    build_sns_notifier(topic)(context)
    ((subject, message),) = topic.read_messages()
    assert (subject, "503" in message) == ("dag.task failed", False)
    assert SECRET not in message
    assert "reason: ValueError" in message


@pytest.mark.skipif(IS_AIRFLOW_2, reason="Airflow 2 passes the exception to a callback in the Dag processor")
@both_notifiers
@pytest.mark.parametrize("kind", ["failed", "up_for_retry"])
def test_task_of_killed_worker_is_reported_as_failed(
    empty_world: World, make: Callable[[Topic], Any], kind: str
) -> None:
    topic = Topic(empty_world)
    call_back_in_dag_processor(make(topic), kind)
    ((subject, message),) = topic.read_messages()
    assert subject == "dag.task failed"
    assert "failed (run manual__1, try 1)." in message
    assert f"audience model: {MODEL}" in message
    assert "status: failed" in message
    assert "reason: not known" in message


def call_back_in_dag_processor(notifier: Any, kind: str) -> None:
    """Let Airflow's Dag processor run the callback of a task that the scheduler found without a heartbeat."""
    # Airflow 2.11 does not have these modules.
    processor: Any = importlib.import_module("airflow.dag_processing.processor")
    requests: Any = importlib.import_module("airflow.callbacks.callback_requests")
    log = importlib.import_module("structlog").get_logger()
    with DAG("dag", schedule=None) as dag:
        callbacks: dict[str, Any] = {"on_failure_callback": notifier, "on_retry_callback": notifier}
        CleanRoomsMLAudienceModelSensor(task_id="task", audience_model_arn=MODEL, **callbacks)
    identifiers = {"id": str(uuid.uuid4()), "dag_version_id": str(uuid.uuid4())}
    ti = {
        **identifiers,
        "task_id": "task",
        "dag_id": "dag",
        "run_id": "manual__1",
        "try_number": 1,
        "hostname": "worker",
    }
    place = {"filepath": "dag.py", "bundle_name": "dags", "bundle_version": None}
    values = {**place, "msg": "no heartbeat", "ti": ti, "task_callback_type": kind}
    request = requests.TaskCallbackRequest.model_validate(values)
    processor._execute_task_callbacks(SimpleNamespace(dags={"dag": dag}), request, log)


def test_skipped_task_is_reported_as_skipped() -> None:
    ti = TaskInstance()
    vars(ti)["state"] = "skipped"
    context: Any = {"ti": ti, "task": CleanRoomsMLAudienceModelSensor(task_id="task", audience_model_arn=MODEL)}
    assert describe_end(context)["subject"] == "dag.task was skipped"


@pytest.mark.parametrize(
    ("state", "more", "end"),
    [
        ("running", {}, "started"),
        (None, {}, "started"),
        # If the worker was killed, Airflow 3 passes no exception, but the task instance has no start date.
        (None, {"start_date": None}, "failed"),
        ("failed", {}, "failed"),
        ("up_for_retry", {}, "failed"),
    ],
)
def test_start_is_distinguished_from_failure(state: str | None, more: dict[str, Any], end: str) -> None:
    ti = TaskInstance()
    vars(ti).update({"state": state, "start_date": datetime.now(timezone.utc), **more})
    context: Any = {"ti": ti, "task": CleanRoomsMLAudienceModelSensor(task_id="task", audience_model_arn=MODEL)}
    end_of_task = describe_end(context)
    assert (end_of_task["subject"], end_of_task["status"]) == (f"dag.task {end}", end)
    assert ("reason" in end_of_task["message"]) is (end == "failed")
    context["exception"] = CleanRoomsMLError("killed")
    assert describe_end(context)["subject"] == "dag.task failed"


@both_notifiers
@pytest.mark.parametrize(
    ("attributes", "context", "count"),
    [
        # Like a later release of Airflow that does not say how a task continues.
        ({}, {}, 1),
        ({"_ti_context_from_server": SimpleNamespace(next_method=None)}, {"task_reschedule_count": 0}, 1),
        ({"_ti_context_from_server": SimpleNamespace(next_method="execute_complete")}, {}, 0),
        ({"next_method": "execute_complete"}, {}, 0),
        ({}, {"task_reschedule_count": 2}, 0),
    ],
)
def test_start_is_reported_unless_the_task_resumes(
    empty_world: World, make: Callable[[Topic], Any], attributes: dict[str, Any], context: dict[str, Any], count: int
) -> None:
    topic, ti = Topic(empty_world), TaskInstance()
    vars(ti).update({"state": "running", "start_date": datetime.now(timezone.utc), **attributes})
    task = CleanRoomsMLAudienceModelSensor(task_id="task", audience_model_arn=MODEL)
    make(topic)({"ti": ti, "task": task, "dag": DAG("dag", schedule=None), "params": {}, **context})
    assert [subject for subject, _ in topic.read_messages()] == ["dag.task started"] * count


def test_failure_without_a_reason_says_so() -> None:
    context: Any = {"ti": TaskInstance(), "task": None}
    end = describe_end(context)
    assert (end["subject"], end["reason"]) == ("dag.task failed", None)
    assert "reason: not known" in end["message"]
