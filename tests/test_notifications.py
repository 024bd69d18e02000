"""Messages about jobs, published to SNS in the emulator."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow import DAG
from airflow.providers.amazon.aws.notifications.sns import SnsNotifier

from airflow_cleanroomsml.exceptions import CleanRoomsMLError
from airflow_cleanroomsml.notifications import CleanRoomsMLNotifier, CleanRoomsMLSnsNotifier
from airflow_cleanroomsml.operators import CleanRoomsMLCreateAudienceModelOperator
from airflow_cleanroomsml.sensors import CleanRoomsMLAudienceModelSensor
from tests.helpers.topic import Topic
from tests.support import TaskInstance, World, run

SECRET = "select secret from customers"


def deliver_itself(topic: Topic) -> Any:
    return CleanRoomsMLSnsNotifier(target_arn=topic.arn)


def deliver_by_another(topic: Topic) -> Any:
    subject, message = "{{ cleanroomsml.subject }}", "{{ cleanroomsml.message }}"
    return CleanRoomsMLNotifier(SnsNotifier(target_arn=topic.arn, subject=subject, message=message))


either = pytest.mark.parametrize("make", [deliver_itself, deliver_by_another], ids=["itself", "by another"])


def call_back(notifier: Any, task: Any) -> TaskInstance:
    """Run a task and call the notifier as Airflow does."""
    ti = TaskInstance()
    vars(ti)["start_date"] = datetime.now(timezone.utc) - timedelta(hours=26, minutes=3)
    context: Any = {"ti": ti, "task": task, "dag": DAG("dag", schedule=None), "params": {}}
    try:
        run(task, ti=ti)
    except CleanRoomsMLError as error:
        context["exception"] = error
    notifier(context)
    return ti


@either
def test_a_failed_job_is_named_with_its_reason(world: World, make: Callable[[Topic], Any]) -> None:
    topic = Topic(world)
    world.fault("CreateAudienceModel", "fail_job", code="BAD_DATA", message="No interactions.")
    dataset = world.dataset()
    task = CleanRoomsMLCreateAudienceModelOperator(
        task_id="task", name="model", training_dataset_arn=dataset, waiter_delay=1
    )
    call_back(make(topic), task)
    (model,) = world.ml.list_audience_models()["audienceModels"]
    ((subject, message),) = topic.published()
    assert subject == "dag.task failed: CREATE_FAILED"
    for part in ("after 26 h 3 min", model["audienceModelArn"], "status: CREATE_FAILED", "BAD_DATA: No interactions."):
        assert part in message


@either
def test_each_task_has_a_message_of_its_own(world: World, make: Callable[[Topic], Any]) -> None:
    topic = Topic(world)
    notifier = make(topic)
    dataset = world.dataset()
    for name in ("one", "two"):
        task = CleanRoomsMLCreateAudienceModelOperator(
            task_id="task", name=name, training_dataset_arn=dataset, waiter_delay=1
        )
        ti = call_back(notifier, task)
        ((subject, message),) = topic.published()
        assert subject == "dag.task succeeded"
        assert f"audience model: {ti.pushed['audience_model_arn']}" in message
        assert "reason" not in message


def test_what_a_sensor_waits_for_is_named(world: World) -> None:
    topic, model = Topic(world), world.model()
    call_back(deliver_itself(topic), CleanRoomsMLAudienceModelSensor(task_id="task", audience_model_arn=model))
    ((_, message),) = topic.published()
    assert f"audience model: {model}" in message


def test_the_text_of_an_error_of_others_is_not_sent(world: World) -> None:
    topic = Topic(world)
    task = CleanRoomsMLAudienceModelSensor(task_id="task", audience_model_arn="x")
    error: Any = ValueError(SECRET)
    error.status = 503
    context: Any = {"ti": TaskInstance(), "task": task, "dag": DAG("dag", schedule=None), "exception": error}
    deliver_itself(topic)(context)
    ((subject, message),) = topic.published()
    assert (subject, "503" in message) == ("dag.task failed", False)
    assert SECRET not in message
    assert "reason: ValueError" in message
