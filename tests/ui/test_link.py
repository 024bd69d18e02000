"""The link to the page, and the plugin that every process of Airflow imports."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode
from typing import Any, NamedTuple

import pytest

from airflow_cleanroomsml._compat import HAS_REACT_APPS
from airflow_cleanroomsml._ui.link import CleanRoomsMLDetailsLink
from airflow_cleanroomsml._ui.plugin import CleanRoomsMLPlugin
from airflow_cleanroomsml.exceptions import WaitTimeoutError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLDeleteAudienceModelOperator,
)
from airflow_cleanroomsml.sensors import CleanRoomsMLAudienceModelSensor
from tests.support import TaskInstance, World, run

has_pages = pytest.mark.skipif(not HAS_REACT_APPS, reason="Airflow has no pages of plugins before 3.1")

#: Prints the heavy modules that importing the plugin loads.
IMPORT = """
import sys
import airflow.plugins_manager
before = set(sys.modules)
import airflow_cleanroomsml._ui.plugin
heavy = ("airflow_cleanroomsml.", "boto3", "botocore", "fastapi", "flask", "airflow.models")
print(*sorted(name for name in set(sys.modules) - before if name.startswith(heavy) and "._ui" not in name))
"""


class Key(NamedTuple):
    """A task instance."""

    dag_id: str = "d"
    run_id: str = "manual__2026-01-01T00:00:00+00:00"
    task_id: str = "group.t"
    map_index: int = -1


def train(dataset: str = "dataset", **more: Any) -> Any:
    return CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="n", training_dataset_arn=dataset, waiter_delay=0.2, **more
    )


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (Key(), "dags/d/runs/manual__2026-01-01T00:00:00+00:00/tasks/group.t/plugin/cleanroomsml"),
        (Key(map_index=0), "dags/d/runs/manual__2026-01-01T00:00:00+00:00/tasks/group.t/mapped/0/plugin/cleanroomsml"),
        (Key(dag_id="a/b?", run_id="c d"), "dags/a%2Fb%3F/runs/c%20d/tasks/group.t/plugin/cleanroomsml"),
    ],
)
def test_link_is_relative_and_quoted(key: Key, expected: str) -> None:
    assert CleanRoomsMLDetailsLink().get_link(train(), ti_key=key) == expected


def test_task_that_pushes_nothing_has_no_link() -> None:
    assert CleanRoomsMLDetailsLink().get_link(train(do_xcom_push=False), ti_key=Key()) == ""


@has_pages
def test_link_is_available_while_the_job_runs(slow_world: World) -> None:
    ti = TaskInstance()
    with pytest.raises(WaitTimeoutError):
        run(train(slow_world.create_dataset(), waiter_max_attempts=1), ti=ti)
    assert ti.links["_link_CleanRoomsMLDetailsLink"].endswith("/tasks/task/plugin/cleanroomsml")


def test_only_jobs_and_sensors_have_the_link() -> None:
    def names(cls: Any) -> list[str]:
        return [link.name for link in cls.operator_extra_links]

    name = "Clean Rooms ML details"
    assert (name in names(CleanRoomsMLCreateAudienceModelOperator)) == HAS_REACT_APPS
    assert (name in names(CleanRoomsMLAudienceModelSensor)) == HAS_REACT_APPS
    assert name not in names(CleanRoomsMLDeleteAudienceModelOperator)


def test_airflow_loads_the_plugin() -> None:
    from airflow import plugins_manager

    plugins_manager.ensure_plugins_loaded()
    # Airflow 2.11 has a variable instead of the function.
    read_errors = getattr(plugins_manager, "get_import_errors", lambda: vars(plugins_manager)["import_errors"])
    assert read_errors() == {}


def test_the_page_is_in_the_plugin() -> None:
    (app,) = CleanRoomsMLPlugin().react_apps
    head, _, script = app["bundle_url"].partition(",")
    assert head == "data:text/javascript;base64"
    assert f"globalThis.{app['name']} = " in b64decode(script).decode()
    # Without a route Airflow shows no tab, and finds the page by its name.
    assert "url_route" not in app


def test_the_plugin_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
