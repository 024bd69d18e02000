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
def ran(airflow: Deployment, account: World, topic: Topic) -> dict[str, Any]:
    """One run of the Dag: permission is missing at the first create and the first look, and the Glue table does not exist."""
    airflow.connect(default=account)
    conf = {
        "role_arn": account.role,
        "training_data": account.build_training_data("no_such_table"),
        "trained_on": account.create_dataset("trained on"),
        "topic": topic.arn,
    }
    account.add_fault("CreateTrainingDataset", "access_denied")
    account.add_fault("GetAudienceModel", "access_denied")
    tasks: dict[str, Any] = airflow.run(FILE, "retries", conf)["tasks"]
    return tasks


def test_a_bad_request_is_neither_sent_nor_retried(ran: dict[str, Any], account: World) -> None:
    assert (ran["bad_request"]["state"], ran["bad_request"]["tries"]) == ("failed", 1)
    assert account.calls.count("CreateTrainingDataset") == 3  # both of the other task, and the one of the fixture


def test_what_may_pass_is_retried(ran: dict[str, Any]) -> None:
    assert (ran["denied_once"]["state"], ran["denied_once"]["tries"]) == ("success", 2)


@pytest.mark.parametrize("task", ["failure", "deferred_failure"])
def test_a_failed_job_is_not_started_again(ran: dict[str, Any], account: World, task: str) -> None:
    assert (ran[task]["state"], ran[task]["tries"]) == ("failed", 1)
    assert len(list_models(account)) == account.calls.count("CreateAudienceModel") == 3


def test_a_retry_goes_on_with_what_its_templates_would_ask_for_anew(ran: dict[str, Any], account: World) -> None:
    assert (ran["unstable"]["state"], ran["unstable"]["tries"]) == ("success", 2)
    assert [name for name in list_models(account) if name.startswith("unstable")] == ["unstable-1"]


@pytest.fixture(scope="module")
def sent(ran: dict[str, Any], topic: Topic) -> list[Any]:
    """Subject and message of each notification."""
    assert ran
    return list(topic.read_messages())


@pytest.fixture(scope="module")
def messages(sent: list[Any]) -> dict[str, str]:
    """The message of each subject; that of a subject which was sent twice is the last one."""
    return dict(sent)


@pytest.mark.parametrize(
    ("task", "tries"), [("denied_once", 2), ("failure", 1), ("deferred_failure", 1), ("rescheduled", 1)]
)
def test_the_start_is_reported_once_in_each_try(sent: list[Any], task: str, tries: int) -> None:
    # Airflow calls back again when a deferred or rescheduled task resumes.
    assert [subject for subject, _ in sent].count(f"retries.{task} started") == tries


def test_a_rescheduled_sensor_has_polled_again(ran: dict[str, Any], account: World) -> None:
    assert ran["rescheduled"]["state"] == "skipped"
    assert account.calls.count("ListAudienceGenerationJobs") > 1


def test_a_task_that_starts_is_not_reported_as_failed(messages: dict[str, str]) -> None:
    assert [subject for subject in messages if "denied_once" in subject] == ["retries.denied_once started"]
    message = messages["retries.denied_once started"]
    assert re.search(r"Task denied_once of Dag retries, run \S+, started, in try \d\.\n", message)
    assert "reason" not in message


def test_a_failed_task_is_notified_with_the_job_that_it_has_started(
    ran: dict[str, Any], account: World, messages: dict[str, str]
) -> None:
    # dag.test() of Airflow 2.11 sets no start date.
    took = "" if IS_AIRFLOW_2 else r" after \d+ s"
    listed = account.ml.list_audience_models()["audienceModels"]
    arns = {model["name"]: model["audienceModelArn"] for model in listed}
    for task, name in (("failure", "model-False"), ("deferred_failure", "model-True")):
        message = messages[f"retries.{task} failed: CREATE_FAILED"]
        assert f"audience model: {arns[name]}" in message
        assert re.search(rf"Task {task} of Dag retries, run \S+, failed{took}, in try 1\.", message)


def list_models(account: World) -> list[str]:
    return [entry["name"] for entry in account.ml.list_audience_models()["audienceModels"]]
