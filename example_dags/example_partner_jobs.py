"""
Export the audiences that partners generate with your configured audience model, as soon as their jobs are finished.

AWS does not notify the model's owner of a partner's job. From Airflow 3.0 on, an asset watcher can poll and start a run; before 3.0, a
sensor waits for the next job, in a Dag that runs continuously. Both Dags below export the same audiences; keep one of them.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow import DAG

from airflow_cleanroomsml.operators import CleanRoomsMLStartAudienceExportJobOperator
from airflow_cleanroomsml.sensors import CleanRoomsMLNewAudienceGenerationJobsSensor
from airflow_cleanroomsml.triggers import CleanRoomsMLAudienceGenerationJobFinishedTrigger

try:
    from airflow.sdk import Asset, AssetWatcher, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import task

    HAS_WATCHERS = False
else:
    HAS_WATCHERS = True

MODEL = "arn:aws:cleanrooms-ml:us-east-1:123456789012:configured-audience-model/00000000-0000-4000-8000-000000000000"
START = pendulum.datetime(2026, 1, 1, tz="UTC")


def plan_exports(jobs: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the arguments of an export for each job with an audience. An export is named after its job, so a repeated event finds it."""
    arns = {job["audience_generation_job_arn"] for job in jobs if job["status"] == "ACTIVE"}
    return [{"name": f"partner-{arn.rpartition('/')[2]}", "audience_generation_job_arn": arn} for arn in sorted(arns)]


@task
def read_events(triggering_asset_events: Any = None) -> list[dict[str, str]]:
    """Return the jobs of all events that started this run: events that arrive close together start a single run."""
    return plan_exports([event.extra["payload"] for events in triggering_asset_events.values() for event in events])


@task
def read_jobs(ti: Any = None) -> list[dict[str, str]]:
    """Return the jobs that the sensor has found."""
    return plan_exports(ti.xcom_pull(task_ids="partner_jobs", key="jobs"))


def export_all(planned: Any) -> Any:
    """Export the audience of each job."""
    return CleanRoomsMLStartAudienceExportJobOperator.partial(
        task_id="export",
        audience_size={"type": "PERCENTAGE", "value": 10},
        if_exists="reuse",
        map_index_template="{{ task.name }}",
    ).expand_kwargs(planned)


if HAS_WATCHERS:
    partner_jobs = Asset(
        name="partner_jobs",
        watchers=[
            AssetWatcher(
                name="partner_jobs",
                trigger=CleanRoomsMLAudienceGenerationJobFinishedTrigger(
                    configured_audience_model_arn=MODEL, waiter_delay=60
                ),
            )
        ],
    )
    with DAG(
        "example_partner_jobs",
        description="Export the audiences of partners after an asset event",
        schedule=[partner_jobs],
        start_date=START,
        catchup=False,
        tags=["example", "cleanroomsml"],
    ) as dag:
        export_all(read_events())

with DAG(
    "example_partner_jobs_sensor",
    description="Export the audiences of partners, one run after the other",
    schedule="@continuous",
    is_paused_upon_creation=True,
    max_active_runs=1,
    start_date=START,
    catchup=False,
    tags=["example", "cleanroomsml"],
    params={"configured_audience_model_arn": MODEL, "since": START.isoformat()},
) as sensor_dag:
    found = CleanRoomsMLNewAudienceGenerationJobsSensor(
        task_id="partner_jobs",
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
        finished=True,
        # The first run reports jobs that were created after this time; each later run continues where the previous one stopped.
        since="{{ params.since }}",
        after="{{ ti.xcom_pull(task_ids='partner_jobs', key='bookmark', map_indexes=-1, include_prior_dates=True) }}",
        poke_interval=60,
        timeout=7 * 24 * 3600,
        mode="reschedule",
    )
    planned = read_jobs()
    found >> planned
    export_all(planned)
