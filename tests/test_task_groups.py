"""Task groups are plain operators in order, all of which take the default arguments of a Dag's author."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from airflow_cleanroomsml._compat import AirflowSkipException
from airflow_cleanroomsml.task_groups import lookalike_audience, retrained_audience_model
from tests.support import EmulatorProcess, TaskInstance, World, run

if TYPE_CHECKING:
    from airflow.sdk import DAG
else:
    try:
        from airflow.sdk import DAG
    except ImportError:  # Airflow 2.11
        from airflow.models.dag import DAG


def build_retraining_group(**more: Any) -> Any:
    return retrained_audience_model(training_dataset_arn="dataset", configured_audience_model_arn="model", **more)


def build_audience_group(**more: Any) -> Any:
    seed: Any = {"dataSource": {"s3Uri": "s3://bucket/seed"}, "roleArn": "role"}
    return lookalike_audience(name="segment", configured_audience_model_arn="model", seed_audience=seed, **more)


def build_tasks(make: Any, **more: Any) -> dict[str, Any]:
    """Build a group and return its tasks by their names in it."""
    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
        group = make(**more)
    return {name.rpartition(".")[2]: task for name, task in group.children.items()}


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (build_retraining_group, ["check", "train", "promote", "prune"]),
        (build_audience_group, ["generate", "choose", "export"]),
    ],
)
def test_the_tasks_follow_each_other(make: Any, names: list[str]) -> None:
    tasks = build_tasks(make, group_id="group")
    assert list(tasks) == names
    for before, after in pairwise(names):
        assert f"group.{before}" in tasks[after].upstream_task_ids


@pytest.mark.parametrize("make", [build_retraining_group, build_audience_group])
def test_all_tasks_take_the_default_args(make: Any) -> None:
    tasks = build_tasks(make, default_args={"aws_conn_id": "mine", "retries": 7, "deferrable": True})
    assert {(task.aws_conn_id, task.retries) for task in tasks.values()} == {("mine", 7)}
    assert {task.deferrable for task in tasks.values() if hasattr(task, "deferrable")} == {True}


def test_prune_task_matches_train_task() -> None:
    tasks = build_tasks(build_retraining_group, name_prefix="monthly-", keep=2)
    assert tasks["train"].name.startswith("monthly-{{")
    assert (tasks["prune"].name_prefix, tasks["prune"].keep) == ("monthly-", 2)
    assert {tasks["train"].training_dataset_arn, tasks["prune"].training_dataset_arn} == {"dataset"}


def test_dag_may_contain_two_groups() -> None:
    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
        build_retraining_group() >> [build_audience_group(group_id="a"), build_audience_group(group_id="b")]
    assert dag.get_task("b.generate").upstream_task_ids == {"retrained_audience_model.prune"}


class Downstream(TaskInstance):
    """A task downstream of another, whose XComs it reads as Airflow does, with a default for keys that were not pushed."""

    def __init__(self, upstream: dict[str, Any]) -> None:
        super().__init__()
        self.upstream = upstream

    def xcom_pull(self, *, key: str, default: Any = None, **_: Any) -> Any:
        return self.upstream.get(key, default)

    def get_relevant_upstream_map_indexes(self, *_: Any, **__: Any) -> None:
        """Airflow 2.11 calls it; None means that no task is mapped."""


def test_audience_without_shared_metrics_is_skipped(world: World, emulator: EmulatorProcess) -> None:
    owner = World(emulator).build()
    configured_model = owner.create_configured_model(metrics=["NONE"])
    owner.allow_jobs(configured_model, world.account)
    seed: Any = world.write_seed()
    tasks = build_tasks(
        lookalike_audience,
        name="x",
        configured_audience_model_arn=configured_model,
        seed_audience=seed,
        if_unsuitable="skip",
    )
    generation = run(tasks["generate"])
    pushed = {**generation.pushed, "return_value": generation.result}
    with pytest.raises(AirflowSkipException, match="the metrics are not shared"):
        run(tasks["choose"], ti=Downstream(pushed))
