from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from airflow_cleanroomsml._compat import IS_AIRFLOW_2
from tests.helpers.deployment import Deployment
from tests.helpers.topic import Topic
from tests.support import EmulatorProcess, World

pytestmark = pytest.mark.timeout(600)
FILE = Path(__file__).parent / "files" / "retries.py"


@pytest.fixture(scope="module")
def account(emulator: EmulatorProcess) -> World:
    return World(emulator).build()


@pytest.fixture(scope="module")
def topic(account: World) -> Topic:
    return Topic(account)


@pytest.fixture(scope="module")
def tasks(airflow: Deployment, account: World, topic: Topic) -> dict[str, Any]:
    """The tasks of one run, in which the first create and the first poll are denied, and the Glue table does not exist."""
    airflow.connect(default=account)
    conf = {
        "role_arn": account.role,
        "training_data": account.build_training_data("no_such_table"),
        "trained_on": account.create_dataset("trained on"),
        "topic": topic.arn,
    }
    account.add_fault("CreateTrainingDataset", "access_denied")
    account.add_fault("GetAudienceModel", "access_denied")
    results: dict[str, Any] = airflow.run(FILE, "retries", conf)["tasks"]
    return results


def test_invalid_request_is_neither_sent_nor_retried(tasks: dict[str, Any], account: World) -> None:
    assert (tasks["bad_request"]["state"], tasks["bad_request"]["tries"]) == ("failed", 1)
    assert account.calls.count("CreateTrainingDataset") == 3  # two by the other task, one by the fixture


def test_transient_error_is_retried(tasks: dict[str, Any]) -> None:
    assert (tasks["denied_once"]["state"], tasks["denied_once"]["tries"]) == ("success", 2)


@pytest.mark.parametrize("task", ["failure", "deferred_failure"])
def test_failed_job_is_not_restarted(tasks: dict[str, Any], account: World, task: str) -> None:
    assert (tasks[task]["state"], tasks[task]["tries"]) == ("failed", 1)
    assert len(list_models(account)) == account.calls.count("CreateAudienceModel") == 3


def test_retry_reuses_resource_despite_other_rendered_arguments(tasks: dict[str, Any], account: World) -> None:
    assert (tasks["unstable"]["state"], tasks["unstable"]["tries"]) == ("success", 2)
    assert [name for name in list_models(account) if name.startswith("unstable")] == ["unstable-1"]


@pytest.fixture(scope="module")
def notifications(tasks: dict[str, Any], topic: Topic) -> list[Any]:
    """Subject and message of each notification."""
    assert tasks
    return list(topic.read_messages())


@pytest.fixture(scope="module")
def messages(notifications: list[Any]) -> dict[str, str]:
    """The message of each subject; that of a subject which was sent twice is the last one."""
    return dict(notifications)


@pytest.mark.parametrize(
    ("task", "tries"), [("denied_once", 2), ("failure", 1), ("deferred_failure", 1), ("rescheduled", 1)]
)
def test_start_is_reported_once_per_try(notifications: list[Any], task: str, tries: int) -> None:
    # Airflow calls the callback again when a deferred or rescheduled task resumes.
    assert [subject for subject, _ in notifications].count(f"retries.{task} started") == tries


def test_rescheduled_sensor_polls_again(tasks: dict[str, Any], account: World) -> None:
    assert tasks["rescheduled"]["state"] == "skipped"
    assert account.calls.count("ListAudienceGenerationJobs") > 1


def test_started_task_is_not_reported_as_failed(messages: dict[str, str]) -> None:
    assert [subject for subject in messages if "denied_once" in subject] == ["retries.denied_once started"]
    message = messages["retries.denied_once started"]
    assert re.search(r"Task denied_once of Dag retries started \(run \S+, try \d\)\.\n", message)
    assert "reason" not in message


def test_failure_notification_names_the_job(tasks: dict[str, Any], account: World, messages: dict[str, str]) -> None:
    # dag.test() of Airflow 2.11 sets no start date.
    took = "" if IS_AIRFLOW_2 else r" after \d+ s"
    listed = account.ml.list_audience_models()["audienceModels"]
    arns = {model["name"]: model["audienceModelArn"] for model in listed}
    for task, name in (("failure", "model-False"), ("deferred_failure", "model-True")):
        message = messages[f"retries.{task} failed: CREATE_FAILED"]
        assert f"audience model: {arns[name]}" in message
        assert re.search(rf"Task {task} of Dag retries failed{took} \(run \S+, try 1\)\.", message)


def list_models(account: World) -> list[str]:
    return [entry["name"] for entry in account.ml.list_audience_models()["audienceModels"]]
