"""XComs of failed and successful tasks in a real Airflow; ``tests/operators/test_xcom.py`` tests every operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.deployment import Deployment
from tests.helpers.extra_links import Links, read
from tests.support import EmulatorProcess, World

FILE = Path(__file__).parent / "files" / "failing.py"
WAYS = ("worker", "deferred")
pytestmark = pytest.mark.timeout(300)


#: The link to the page of a job.
DETAILS = "Clean Rooms ML details"


@pytest.fixture(scope="module")
def account(emulator: EmulatorProcess) -> World:
    return World(emulator).build()


@pytest.fixture(scope="module")
def log(airflow: Deployment, account: World) -> str:
    """The output of one run of the Dag."""
    training = account.ml.create_training_dataset(
        name="no-table", roleArn=account.role, trainingData=account.build_training_data("no_such_table")
    )
    conf = {"dataset": training["trainingDatasetArn"], "other_dataset": account.create_dataset()}
    airflow.connect(default=account)
    airflow.run(FILE, "failing", conf)
    return airflow.run_log


@pytest.fixture(scope="module")
def states(airflow: Deployment, log: str) -> dict[str, set[str]]:
    """The states of each task's instances."""
    found: dict[str, set[str]] = {}
    for task, state in airflow.query("select task_id, state from task_instance where dag_id = 'failing'"):
        found.setdefault(task, set()).add(state)
    return found


@pytest.fixture(scope="module")
def keys(airflow: Deployment, log: str) -> dict[str, dict[int, set[str]]]:
    """The keys in XCom of each task, by map index, without those of extra links."""
    found: dict[str, Any] = {}
    rows = airflow.query(
        "select task_id, map_index, key from xcom where dag_id = 'failing' and key not like '!_link!_%' escape '!'"
    )
    for task, index, key in rows:
        found.setdefault(task, {}).setdefault(index, set()).add(key)
    return found


@pytest.fixture(scope="module")
def links(airflow: Deployment, log: str) -> dict[str, Links]:
    """The extra links of each task, by map index."""
    return read(airflow, FILE, "failing")


@pytest.mark.parametrize("way", WAYS)
def test_a_task_has_its_links_however_it_ends(links: dict[str, Links], way: str) -> None:
    # It failed, or succeeded with do_xcom_push=False; those that were deferred resumed without what they knew before.
    page = "https://docs.aws.amazon.com/cleanrooms-ml/latest/APIReference/API_{}.html".format
    create, delete = {"API reference": page("CreateAudienceModel")}, {"API reference": page("DeleteAudienceModel")}

    def find(task: str) -> Links:
        # The page of a job, from Airflow 3.1 on, has tests of its own.
        of_task = links[f"{way}_{task}"].items()
        return {index: {name: url for name, url in found.items() if name != DETAILS} for index, found in of_task}

    assert (find("train"), find("delete")) == ({"-1": create}, {"-1": delete})
    assert find("mapped") == {"0": create, "1": create}
    assert find("silent") == {"-1": create}


def test_no_missing_link_is_read(log: str) -> None:
    # Airflow 3 logs each as an error.
    assert [line for line in log.splitlines() if "XCom not found" in line and "_link_" in line] == []


@pytest.mark.parametrize("way", WAYS)
def test_failed_model_is_deleted_by_next_task(states: dict[str, set[str]], account: World, way: str) -> None:
    assert (states[f"{way}_train"], states[f"{way}_delete"]) == ({"failed"}, {"success"})
    assert (states[f"{way}_mapped"], states[f"{way}_delete_mapped"]) == ({"failed"}, {"success"})
    left = {entry["name"] for entry in account.ml.list_audience_models()["audienceModels"]}
    assert left == {"worker-silent", "deferred-silent"}
    assert account.calls.count("DeleteAudienceModel") == 2 * (1 + 2) + 1


@pytest.mark.parametrize("way", WAYS)
def test_failed_training_pushes_arn_and_history_only(keys: dict[str, dict[int, set[str]]], way: str) -> None:
    assert keys[f"{way}_train"] == {-1: {"audience_model_arn", "status_history"}}
    assert keys[f"{way}_mapped"] == {index: {"audience_model_arn", "status_history"} for index in (0, 1)}


@pytest.mark.parametrize("way", WAYS)
def test_task_without_xcom_pushes_nothing(
    states: dict[str, set[str]], keys: dict[str, dict[int, set[str]]], way: str
) -> None:
    assert states[f"{way}_silent"] == {"success"}
    assert f"{way}_silent" not in keys


def test_output_of_another_task_reads_the_key(
    states: dict[str, set[str]], keys: dict[str, dict[int, set[str]]]
) -> None:
    assert keys["succeeds"] == {-1: {"audience_model_arn", "return_value", "status_history"}}
    assert states["delete_by_output"] == {"success"}


def test_delete_without_arn_fails_with_a_hint(
    log: str, states: dict[str, set[str]], keys: dict[str, dict[int, set[str]]]
) -> None:
    assert states["delete_nothing"] == {"failed"}
    assert "refused" not in keys
    assert "audience_model_arn is None: if it is pulled from XCom" in log
