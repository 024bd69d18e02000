"""Two months of weekly retraining in a real Airflow, with a failed training, cleared runs and tasks, and a roll-back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.dags.airflow_user import User
from tests.helpers.deployment import ROOT, Deployment, format_connection
from tests.support import EmulatorProcess, World, build_interactions

DAG, ROLLBACK = "example_weekly_retraining", "example_weekly_retraining_rollback"
TASKS = ("check", "train", "promote", "prune")
FIRST = datetime(2026, 1, 4, tzinfo=timezone.utc)
WEEKS, KEEP = 8, 3


def find_sunday(week: int) -> datetime:
    """The end of a week, from 1 to 8; 0 is the end of the week before."""
    return FIRST + timedelta(weeks=week)


class Weekly:
    """An Airflow that runs the Dag, and the account in which it trains."""

    def __init__(self, airflow: Deployment, world: World) -> None:
        self.airflow, self.world = airflow, world
        self.dataset = world.create_dataset()
        self.first = self._train("bought")
        self.terms = str(
            world.ml.create_configured_audience_model(
                name="terms", audienceModelArn=self.first, outputConfig=world.output, sharedAudienceMetrics=["ALL"]
            )["configuredAudienceModelArn"]
        )
        self.conf = {
            "training_dataset_arn": self.dataset,
            "configured_audience_model_arn": self.terms,
            "keep": KEEP,
        }
        # The Dag must not delete these: one has its prefix but another dataset, one has its dataset but another name.
        self.others = {self.first, world.train_model("weekly-other"), self._train("other")}

    def _train(self, name: str) -> str:
        response = self.world.ml.create_audience_model(
            name=name, trainingDatasetArn=self.dataset, trainingDataEndTime=find_sunday(0)
        )
        assert self.world.wait(response["audienceModelArn"])["status"] == "ACTIVE"
        return str(response["audienceModelArn"])

    @property
    def models(self) -> dict[str, int]:
        """The week of each model that the Dag created, by ARN; checks that all other models still exist."""
        found, others = {}, set()
        for entry in self.world.ml.list_audience_models()["audienceModels"]:
            arn = entry["audienceModelArn"]
            if entry["status"].startswith("DELETE_"):
                continue
            end = self.world.ml.get_audience_model(audienceModelArn=arn).get("trainingDataEndTime")
            if arn in self.others:
                others.add(arn)
            else:
                found[arn] = round((end - FIRST) / timedelta(weeks=1))
        assert others == self.others
        return found

    @property
    def in_service(self) -> int:
        """The week of the model in service; 0 for the one that was bought."""
        found = self.world.ml.get_configured_audience_model(configuredAudienceModelArn=self.terms)
        return {**self.models, self.first: 0}[found["audienceModelArn"]]

    @property
    def weeks(self) -> list[int]:
        """The weeks whose models exist."""
        return sorted(self.models.values())

    def find_arn(self, week: int) -> str:
        (found,) = [arn for arn, of in self.models.items() if of == week]
        return found

    def count_trainings(self) -> int:
        return self.world.calls.count("CreateAudienceModel")

    def run(self, week: int) -> dict[str, str]:
        """Run the Dag for a week, and return the states of the tasks."""
        date = (find_sunday(week) + timedelta(hours=1)).isoformat()
        return self._run(DAG, f"week-{week}", self.conf, date)

    def roll_back(self, week: int, instead_of: int) -> dict[str, str]:
        models = {"audience_model_arn": self.find_arn(week), "instead_of": self.find_arn(instead_of)}
        return self._run(ROLLBACK, "rollback", {"configured_audience_model_arn": self.terms, **models}, None)

    def _run(self, dag: str, run: str, conf: dict[str, Any], date: str | None) -> dict[str, str]:
        User(self.airflow, run).start_run(dag, conf, date)
        return self._wait_for_end(run)

    def clear(self, week: int, *tasks: str) -> dict[str, str]:
        """Clear tasks of a week's run, and return the states after they have run again."""
        User(self.airflow, f"week-{week}").clear_tasks(DAG, *tasks)
        return self._wait_for_end(f"week-{week}")

    def clear_rollback(self) -> dict[str, str]:
        User(self.airflow, "rollback").clear_tasks(ROLLBACK, "roll_back")
        return self._wait_for_end("rollback")

    def _wait_for_end(self, run: str) -> dict[str, str]:
        query = "select 1 from dag_run where run_id = ? and state in ('success', 'failed')"
        self.airflow.wait_until(lambda: self.airflow.query(query, run))
        return dict(self.airflow.query("select task_id, state from task_instance where run_id = ?", run))


@pytest.fixture(scope="module")
def weekly(emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weekly]:
    """An Airflow that runs only what the test starts, and an account with 2,000 interactions a week."""
    begin = int(find_sunday(-1).timestamp())
    world = World(emulator).build(build_interactions(each=100, begin=begin, seconds=10 * 7 * 86_400))
    folder = tmp_path_factory.mktemp("dags")
    for name in (DAG, ROLLBACK):
        shutil.copy(ROOT / "example_dags" / f"{name}.py", folder)
    airflow = Deployment(
        tmp_path_factory.mktemp("airflow"),
        AWS_ENDPOINT_URL=emulator.url,
        AWS_DEFAULT_REGION="us-east-1",
        AIRFLOW__CORE__DAGS_FOLDER=str(folder),
        AIRFLOW_CONN_AWS_DEFAULT=format_connection(world),
        AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE="False",
        # Sixty tasks run one after the other, and each would wait for a second. An idle scheduler uses more CPU with this setting, so the
        # other tests keep the default of a second.
        AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME="0.2",
    )
    try:
        airflow.start()
        known = "select distinct dag_id from serialized_dag where dag_id in (?, ?)"
        airflow.wait_until(lambda: len(airflow.query(known, DAG, ROLLBACK)) == 2)
        User(airflow).unpause(DAG)
        yield Weekly(airflow, world)
    finally:
        airflow.stop()


SUCCESS = dict.fromkeys(TASKS, "success")
#: A run whose model, or a newer one, is in service.
SKIPPED = dict.fromkeys(TASKS, "skipped")


def test_two_months(weekly: Weekly) -> None:
    for week in (1, 2, 3):
        assert weekly.run(week) == SUCCESS, weekly.airflow.describe_failures()
        assert weekly.in_service == week
    assert weekly.weeks == [1, 2, 3]

    # A training fails: last week's model stays in service.
    weekly.world.add_fault("CreateAudienceModel", "fail_job")
    failed = weekly.run(4)
    assert failed == {"check": "success", "train": "failed", "promote": "upstream_failed", "prune": "upstream_failed"}
    assert (weekly.in_service, weekly.weeks) == (3, [1, 2, 3, 4])

    # The next good week cleans up after it.
    for week in (5, 6):
        assert weekly.run(week) == SUCCESS, weekly.airflow.describe_failures()
        assert weekly.in_service == week
    assert weekly.weeks == [3, 5, 6]

    # Clear all tasks of the newest run and of one whose training failed: nothing is trained, nothing changes.
    trainings = weekly.count_trainings()
    for week in (6, 4):
        assert weekly.clear(week, *TASKS) == SKIPPED
        assert (weekly.in_service, weekly.weeks) == (6, [3, 5, 6])
    assert weekly.count_trainings() == trainings

    # Clear single tasks of an old week.
    assert weekly.clear(3, "prune") == SUCCESS
    assert weekly.clear(3, "promote") == SUCCESS
    assert weekly.clear(3, "train") == SUCCESS
    assert weekly.clear(2, "prune") == SUCCESS
    assert weekly.clear(2, "promote")["promote"] == "skipped"
    assert (weekly.in_service, weekly.weeks) == (6, [3, 5, 6])
    assert weekly.count_trainings() == trainings

    # Clearing only the training of week 2 trains it again, since its model was pruned; the new one is not promoted, and pruned next week.
    assert weekly.clear(2, "train")["train"] == "success"
    assert (weekly.in_service, weekly.weeks) == (6, [2, 3, 5, 6])
    assert weekly.count_trainings() == trainings + 1
    assert weekly.clear(2, "check")["check"] == "skipped"
    assert weekly.clear(2, *TASKS) == SKIPPED
    assert (weekly.in_service, weekly.weeks) == (6, [2, 3, 5, 6])

    # Roll back, and clear tasks around it.
    assert weekly.run(7) == SUCCESS, weekly.airflow.describe_failures()
    assert (weekly.in_service, weekly.weeks) == (7, [5, 6, 7])
    assert weekly.roll_back(6, instead_of=7) == {"roll_back": "success"}
    assert weekly.in_service == 6
    assert weekly.clear(7, "prune") == SUCCESS
    assert weekly.clear(5, "promote") == SUCCESS
    assert weekly.clear_rollback() == {"roll_back": "success"}
    assert (weekly.in_service, weekly.weeks) == (6, [5, 6, 7])

    # The next week ends the roll-back; clearing the roll-back afterwards changes nothing.
    assert weekly.run(WEEKS) == SUCCESS, weekly.airflow.describe_failures()
    assert weekly.clear_rollback() == {"roll_back": "success"}
    assert weekly.clear(WEEKS, "promote", "prune") == SUCCESS
    assert weekly.clear(WEEKS, *TASKS) == SKIPPED
    assert (weekly.in_service, weekly.weeks) == (8, [6, 7, 8])
