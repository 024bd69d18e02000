"""A Dag that is scheduled by an asset alias, in a real Airflow: a promotion starts it and passes the ARN."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_cleanroomsml.assets import build_arn
from tests.dags.airflow_user import User
from tests.helpers.deployment import IS_3, ROOT, Deployment, format_connection
from tests.support import EmulatorProcess, World, build_interactions

PRODUCER, CONSUMER = "example_weekly_retraining", "example_model_retrained"
MONTH = 28 * 86_400
#: Table of the events, and the column of an event's asset, which Airflow 2.11 calls a dataset.
EVENTS = ("asset_event", "asset_id", "asset") if IS_3 else ("dataset_event", "dataset_id", "dataset")


class Case:
    """An account with a model in service, and an Airflow with the two Dags."""

    def __init__(self, emulator: EmulatorProcess, home: Path) -> None:
        self.world = world = World(emulator).build(
            build_interactions(each=40, begin=int(time.time()) - MONTH, seconds=MONTH)
        )
        self.dataset = world.create_dataset()
        old = world.ml.create_audience_model(
            name="old", trainingDatasetArn=self.dataset, trainingDataEndTime=time.time() - MONTH / 2
        )["audienceModelArn"]
        assert world.wait(old)["status"] == "ACTIVE"
        self.terms = str(
            world.ml.create_configured_audience_model(
                name="terms",
                audienceModelArn=old,
                outputConfig=world.output,
                sharedAudienceMetrics=["ALL"],
                audienceSizeConfig={"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [5, 10, 20]},
            )["configuredAudienceModelArn"]
        )
        folder = home / "dags"
        folder.mkdir(parents=True)
        for name in (PRODUCER, CONSUMER):
            (folder / f"{name}.py").write_text(self._adapt((ROOT / "example_dags" / f"{name}.py").read_text()))
        self.airflow = Deployment(
            home,
            AWS_ENDPOINT_URL=emulator.url,
            AWS_DEFAULT_REGION="us-east-1",
            AIRFLOW_CONN_AWS_DEFAULT=format_connection(world),
            AIRFLOW__CORE__DAGS_FOLDER=str(folder),
        )

    def _adapt(self, source: str) -> str:
        """Edit the default parameters, as a user does: a run that an asset triggers uses the defaults."""
        return (
            source.replace("is_paused_upon_creation=True", "is_paused_upon_creation=False")
            .replace("s3://my-bucket/seed/users.jsonl", self.world.write_seed()["dataSource"]["s3Uri"])
            .replace("arn:aws:iam::123456789012:role/cleanrooms-ml-lookalike", self.world.role)
        )

    def read_events(self) -> list[tuple[str, dict[str, Any]]]:
        """The URI and the extra of each asset event."""
        table, key, assets = EVENTS
        rows = self.airflow.query(f"select a.uri, e.extra from {table} e join {assets} a on a.id = e.{key}")
        return [(uri, json.loads(extra)) for uri, extra in rows]

    def read_states(self, dag_id: str) -> list[str]:
        return [state for (state,) in self.airflow.query("select state from dag_run where dag_id = ?", dag_id)]


@pytest.fixture
def case(emulator: EmulatorProcess, tmp_path: Path) -> Case:
    return Case(emulator, tmp_path)


@pytest.mark.skipif(not IS_3, reason="Airflow 2.11 queues the first event of an alias, but does not start the Dag")
def test_promotion_starts_the_dag_with_the_arn(case: Case) -> None:
    airflow, user = case.airflow, User(case.airflow)
    conf = {"training_dataset_arn": case.dataset, "configured_audience_model_arn": case.terms, "keep": 1}
    try:
        airflow.start()
        airflow.wait_until(lambda: airflow.query("select count(*) from serialized_dag") == [(2,)])
        user.start_run(PRODUCER, conf)
        airflow.wait_until(lambda: set(case.read_states(CONSUMER)) & {"success", "failed"})
    finally:
        airflow.stop()
    assert case.read_states(CONSUMER) == ["success"], airflow.describe_failures()
    ((uri, extra),) = case.read_events()
    model = case.world.ml.get_configured_audience_model(configuredAudienceModelArn=case.terms)["audienceModelArn"]
    assert build_arn(uri) == case.terms
    assert (extra["configured_audience_model_arn"], extra["audience_model_arn"]) == (case.terms, model)
    assert extra["replaced"] != model
    (job,) = case.world.ml.list_audience_generation_jobs()["audienceGenerationJobs"]
    assert job["configuredAudienceModelArn"] == case.terms
