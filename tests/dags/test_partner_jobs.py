"""A partner's job starts the owner's Dag in a real Airflow, exactly once even if the triggerer is restarted or killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from airflow import __version__ as airflow_version

from tests.helpers.deployment import ROOT, Deployment, format_connection
from tests.helpers.offer import Offer
from tests.support import EmulatorProcess, World

EXAMPLE = ROOT / "example_dags" / "example_partner_jobs.py"
DAG = "example_partner_jobs"

pytestmark = pytest.mark.skipif(
    tuple(int(part) for part in airflow_version.split(".")[:2]) < (3, 3),
    reason="before 3.3 Airflow keeps no state for a watcher",
)


@pytest.fixture(scope="module")
def offer(emulator: EmulatorProcess) -> Offer:
    return Offer(World(emulator).build(), World(emulator).build())


@pytest.fixture(scope="module")
def airflow(offer: Offer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """An Airflow with the example, in which only the model's ARN and the pause between polls are changed."""
    folder = tmp_path_factory.mktemp("dags")
    source = EXAMPLE.read_text(encoding="utf-8")
    start = source.index("MODEL = ")
    line = source[start : source.index("\n", start)]
    source = source.replace(line, f'MODEL = "{offer.model}"').replace("waiter_delay=60", "waiter_delay=1")
    # The other Dag of the file has a run in progress all the time.
    (folder / EXAMPLE.name).write_text(source.replace('"@continuous"', "None"))
    deployment = Deployment(
        tmp_path_factory.mktemp("airflow"),
        AWS_ENDPOINT_URL=offer.owner.emulator.url,
        AWS_DEFAULT_REGION="us-east-1",
        AIRFLOW__CORE__DAGS_FOLDER=str(folder),
        AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC="2",
        AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD="8",
        AIRFLOW_CONN_AWS_DEFAULT=format_connection(offer.owner),
    )
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.stop()


def finish_job(offer: Offer, name: str) -> str:
    """Run a job of the partner to its end, and return its name in the owner's account."""
    assert offer.partner.wait(offer.start_job(offer.partner, name))["status"] == "ACTIVE"
    return f"{offer.partner.account}-{name}"


def list_reported(airflow: Deployment) -> list[str]:
    """List the jobs of all asset events, in order."""
    extras = airflow.query("select extra from asset_event order by id")
    return [json.loads(extra)["payload"]["name"] for (extra,) in extras]


def read_state(airflow: Deployment) -> str:
    """Read the state of the asset; empty if there is none."""
    rows = airflow.query("select value from asset_state_store")
    return str(rows[0][0]) if rows else ""


def list_exports(offer: Offer) -> list[str]:
    listed: list[Any] = offer.owner.ml.list_audience_export_jobs()["audienceExportJobs"]
    return [export["audienceGenerationJobArn"] for export in listed]


def count_listings(offer: Offer) -> int:
    return offer.owner.calls.count("ListAudienceGenerationJobs")


def wait_until_listed(airflow: Deployment, offer: Offer) -> None:
    """Wait until a watcher has read and evaluated the listing."""
    before = count_listings(offer)
    airflow.wait_until(lambda: count_listings(offer) >= before + 3)


def test_each_partner_job_is_exported_once(airflow: Deployment, offer: Offer) -> None:
    finish_job(offer, "old")
    airflow.wait_until(lambda: read_state(airflow))

    first = finish_job(offer, "first")
    airflow.wait_until(lambda: list_reported(airflow) == [first])
    airflow.wait_until(lambda: len(list_exports(offer)) == 1)

    airflow.wait_until(lambda: len(json.loads(json.loads(read_state(airflow)))["reported"]) == 2)
    airflow.end("triggerer")
    second = finish_job(offer, "second")
    airflow.start_part("triggerer")
    airflow.wait_until(lambda: list_reported(airflow) == [first, second])

    airflow.wait_until(lambda: len(json.loads(json.loads(read_state(airflow)))["reported"]) == 3)
    airflow.kill("triggerer")
    airflow.start_part("triggerer")
    wait_until_listed(airflow, offer)
    third = finish_job(offer, "third")
    airflow.wait_until(lambda: third in list_reported(airflow))
    assert list_reported(airflow) == [first, second, third]

    airflow.wait_until(lambda: len(list_exports(offer)) == 3)
    airflow.wait_until(lambda: not airflow.query("select 1 from dag_run where state in ('queued', 'running')"))
    assert airflow.query("select distinct dag_id, state from dag_run") == [(DAG, "success")]
    jobs = offer.owner.ml.list_audience_generation_jobs()["audienceGenerationJobs"]
    arns = {job["name"]: job["audienceGenerationJobArn"] for job in jobs}
    assert sorted(list_exports(offer)) == sorted(arns[name] for name in (first, second, third))
