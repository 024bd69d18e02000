"""The Dag that trains a model anew is safe to clear: as a whole, task by task, and after a later run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from demo.airflow_run import load
from tests.dags.airflow_user import User
from tests.dags.test_examples import EXAMPLES
from tests.helpers.deployment import Deployment, connection
from tests.support import EmulatorProcess, World

DAG = "example_lookalike_retraining"
TASKS = ("in_use", "old", "train", "trained", "replace", "allow", "mark", "unmark", "delete_old")


class Weekly:
    """An Airflow that runs the Dag, and the account in which it trains."""

    def __init__(self, airflow: Deployment, world: World) -> None:
        self.airflow, self.world = airflow, world
        self.terms = world.configured()
        dataset = world.ml.get_audience_model(audienceModelArn=self.in_use)["trainingDatasetArn"]
        self.conf = {
            "training_dataset_arn": dataset,
            "configured_audience_model_arn": self.terms,
            "partner": "210987654321",
        }

    @property
    def in_use(self) -> str:
        found = self.world.ml.get_configured_audience_model(configuredAudienceModelArn=self.terms)
        return str(found["audienceModelArn"])

    @property
    def models(self) -> list[str]:
        return [entry["audienceModelArn"] for entry in self.world.ml.list_audience_models()["audienceModels"]]

    def starts(self, run: str) -> None:
        self.airflow.until(lambda: self.airflow.rows("select 1 from serialized_dag where dag_id = ?", DAG))
        User(self.airflow, run).starts(DAG, self.conf)
        self._ends(run)

    def clears(self, run: str, *tasks: str) -> dict[str, str]:
        """The states of a run's tasks after some of them were cleared and are done again."""
        User(self.airflow, run).clears(DAG, *tasks)
        self._ends(run)
        return self.states(run)

    def states(self, run: str) -> dict[str, str]:
        return dict(self.airflow.rows("select task_id, state from task_instance where run_id = ?", run))

    def _ends(self, run: str) -> None:
        query = "select 1 from dag_run where run_id = ? and state in ('success', 'failed')"
        self.airflow.until(lambda: self.airflow.rows(query, run))


@pytest.fixture(scope="module")
def weekly(emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weekly]:
    """Two runs of the Dag, one after the other."""
    world = World(emulator).build()
    airflow = Deployment(
        tmp_path_factory.mktemp("airflow"),
        AWS_ENDPOINT_URL=emulator.url,
        AWS_DEFAULT_REGION="us-east-1",
        AIRFLOW_CONN_AWS_DEFAULT=connection(world),
        # A busy scheduler fails a sensor whose end it hears of when it has queued the next poke already.
        AIRFLOW__CORE__DEFAULT_TASK_RETRIES="3",
        AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY="1",
    )
    try:
        airflow.start()
        weekly = Weekly(airflow, world)
        for run in ("first", "second"):
            weekly.starts(run)
            assert set(weekly.states(run).values()) == {"success"}, airflow.failures()
        yield weekly
    finally:
        airflow.stop()


@pytest.fixture
def before(weekly: Weekly) -> Iterator[Any]:
    """The model in use, which is all there is; it is so afterwards, and nothing was trained."""
    trained = weekly.world.calls.count("CreateAudienceModel")
    model = weekly.in_use
    assert weekly.models == [model]
    yield model
    assert (weekly.in_use, weekly.models) == (model, [model])
    assert weekly.world.calls.count("CreateAudienceModel") == trained
    assert weekly.world.ml.list_tags_for_resource(resourceArn=model)["tags"]["in-use"] == "yes"


@pytest.mark.usefixtures("before")
@pytest.mark.parametrize("run", ["second", "first"])
@pytest.mark.parametrize("task", ["delete_old", "replace", "in_use", "old"])
def test_a_task_that_is_cleared_does_no_harm(weekly: Weekly, run: str, task: str) -> None:
    deleted = weekly.world.calls.count("DeleteAudienceModel")
    weekly.clears(run, task)
    if task == "delete_old":
        assert weekly.states(run)[task] == "success"
    else:
        assert weekly.world.calls.count("DeleteAudienceModel") == deleted


@pytest.mark.parametrize("run", ["second", "first"])
def test_a_run_that_is_cleared_stops_before_it_trains(weekly: Weekly, before: str, run: str) -> None:
    calls = weekly.world.calls
    states = weekly.clears(run, *TASKS)
    assert states == {task: "success" if task in ("in_use", "old") else "skipped" for task in TASKS}
    made = weekly.world.calls[len(calls) :]
    assert [name for name in made if not name.startswith(("Get", "List"))] == []


class TestTheModelToReplace:
    """What ``old`` says, without an Airflow around it."""

    @pytest.fixture
    def old(self, world: World) -> Callable[[str], str | None]:
        """The model that a run named ``weekly-2`` replaces."""
        dag = load(str(EXAMPLES / f"{DAG}.py"), DAG)
        return lambda arn: dag.get_task("old").python_callable(arn, "weekly-2")

    @pytest.mark.parametrize("before", ["bought", "weekly-1", "weekly-1-retry-2"])
    def test_is_the_one_in_use_where_the_run_has_made_none(
        self, world: World, old: Callable[[str], str | None], before: str
    ) -> None:
        arn = world.model(before)
        assert old(arn) == arn

    def test_is_the_one_in_use_where_that_of_the_run_has_failed(
        self, world: World, old: Callable[[str], str | None]
    ) -> None:
        arn = world.model("weekly-1")
        world.fault("CreateAudienceModel", "fail_job")
        world.ml.create_audience_model(name="weekly-2", trainingDatasetArn=world.dataset())
        assert old(arn) == arn

    @pytest.mark.parametrize("later", ["weekly-2", "weekly-2-retry-2", "weekly-3"])
    def test_is_none_where_that_of_the_run_or_a_later_one_is_in_use(
        self, world: World, old: Callable[[str], str | None], later: str
    ) -> None:
        world.model("weekly-1")
        assert old(world.model(later)) is None

    def test_is_none_where_somebody_has_put_another_to_use_since(
        self, world: World, old: Callable[[str], str | None]
    ) -> None:
        world.model("weekly-2")
        assert old(world.model("bought")) is None

    def test_is_none_where_it_is_gone(self, world: World, old: Callable[[str], str | None]) -> None:
        assert old(f"{world.model('weekly-1')[:-12]}000000000000") is None
