"""Task groups are plain operators in order, which take the arguments that a Dag's author gives them all."""

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


def retrained(**more: Any) -> Any:
    return retrained_audience_model(training_dataset_arn="dataset", configured_audience_model_arn="terms", **more)


def audience(**more: Any) -> Any:
    seed: Any = {"dataSource": {"s3Uri": "s3://bucket/seed"}, "roleArn": "role"}
    return lookalike_audience(name="segment", configured_audience_model_arn="terms", seed_audience=seed, **more)


def tasks(make: Any, **more: Any) -> dict[str, Any]:
    """The tasks of a group, by their names in it."""
    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
        group = make(**more)
    return {name.rpartition(".")[2]: task for name, task in group.children.items()}


@pytest.mark.parametrize(
    ("make", "names"),
    [(retrained, ["check", "train", "promote", "prune"]), (audience, ["generate", "choose", "export"])],
)
def test_the_tasks_follow_each_other(make: Any, names: list[str]) -> None:
    found = tasks(make, group_id="group")
    assert list(found) == names
    for before, after in pairwise(names):
        assert f"group.{before}" in found[after].upstream_task_ids


@pytest.mark.parametrize("make", [retrained, audience])
def test_all_of_them_take_what_the_author_gives_them(make: Any) -> None:
    found = tasks(make, default_args={"aws_conn_id": "mine", "retries": 7, "deferrable": True})
    assert {(task.aws_conn_id, task.retries) for task in found.values()} == {("mine", 7)}
    assert {task.deferrable for task in found.values() if hasattr(task, "deferrable")} == {True}


def test_what_is_pruned_is_what_is_trained() -> None:
    found = tasks(retrained, name_prefix="monthly-", keep=2)
    assert found["train"].name.startswith("monthly-{{")
    assert (found["prune"].name_prefix, found["prune"].keep) == ("monthly-", 2)
    assert {found["train"].training_dataset_arn, found["prune"].training_dataset_arn} == {"dataset"}


def test_two_groups_live_in_one_dag() -> None:
    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
        retrained() >> [audience(group_id="a"), audience(group_id="b")]
    assert dag.get_task("b.generate").upstream_task_ids == {"retrained_audience_model.prune"}


class Downstream(TaskInstance):
    """A task after another one, whose XComs it reads as Airflow does: what was not pushed is the default."""

    def __init__(self, upstream: dict[str, Any]) -> None:
        super().__init__()
        self.upstream = upstream

    def xcom_pull(self, *, key: str, default: Any = None, **_: Any) -> Any:
        return self.upstream.get(key, default)

    def get_relevant_upstream_map_indexes(self, *_: Any, **__: Any) -> None:
        """What Airflow 2.11 asks: nothing is mapped."""


def test_an_audience_whose_metrics_are_not_shared_is_skipped(world: World, emulator: EmulatorProcess) -> None:
    owner = World(emulator).build()
    terms = owner.create_configured_model(metrics=["NONE"])
    owner.allow_jobs(terms, world.account)
    seed: Any = world.write_seed()
    found = tasks(
        lookalike_audience, name="x", configured_audience_model_arn=terms, seed_audience=seed, if_unsuitable="skip"
    )
    generated = run(found["generate"])
    pushed = {**generated.pushed, "return_value": generated.result}
    with pytest.raises(AirflowSkipException, match="the metrics are not shared"):
        run(found["choose"], ti=Downstream(pushed))
