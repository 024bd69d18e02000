"""
Generate and export the audiences of 25 seeds independently: if one fails, the others are still exported.

Each segment is a mapped task group. A summary at the end has the locations of the exported audiences and the reasons for failures.
"""

from __future__ import annotations

import logging
from typing import Any

import pendulum
from airflow import DAG

from airflow_cleanroomsml.operators import (
    CleanRoomsMLCallOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)

try:
    from airflow.sdk import task, task_group
except ImportError:  # Airflow 2.11
    from airflow.decorators import task, task_group

# The time of the run; a run that was triggered manually may have no logical date.
RUN = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%dT%H%M%S') }}"
ANY = "00000000-0000-4000-8000-000000000000"
SEGMENTS = 25


@task
def list_seeds(seeds_uri: str, run: str) -> list[dict[str, str]]:
    """Return the arguments of each segment: its name, which is unique to the run, and its seed."""
    numbers = range(1, SEGMENTS + 1)
    return [{"name": f"segment-{n:02}-{run}", "seed_uri": f"{seeds_uri}/segment-{n:02}.jsonl"} for n in numbers]


@task_group
def segment(name: str, seed_uri: str) -> None:
    """From a seed to files in S3."""
    generate = CleanRoomsMLStartAudienceGenerationJobOperator(
        task_id="generate",
        name=name,
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
        seed_audience={"dataSource": {"s3Uri": seed_uri}, "roleArn": "{{ params.role_arn }}"},
        if_exists="reuse",
        map_index_template="{{ task.name }}",
        # Ten generation jobs of an account run at a time (user guide, Quotas); the others wait before they start.
        max_active_tis_per_dag=10,
    )
    export = CleanRoomsMLStartAudienceExportJobOperator(
        task_id="export",
        name=name,
        audience_generation_job_arn=generate.output,
        audience_size={"type": "PERCENTAGE", "value": 5},
        if_exists="reuse",
        map_index_template="{{ task.name }}",
    )
    report = CleanRoomsMLCallOperator(
        task_id="report",
        operation="get_audience_generation_job",
        parameters={"audience_generation_job_arn": generate.output["audience_generation_job_arn"]},
        jmespath="{name: name, status: status, reason: statusDetails.message}",
        trigger_rule="all_done",
    )
    export >> report


@task(trigger_rule="all_done")
def summarize(seeds: Any, reports: Any, exports: Any) -> dict[str, Any]:
    """Return the result of each segment by name: the location of its files, or why there are none."""
    locations = {export["name"]: export["output_location"] for export in exports}
    states = {report["name"]: report for report in reports}
    names = [seed["name"] for seed in seeds]
    failed = {name: why_not(states.get(name)) for name in names if name not in locations}
    log = logging.getLogger(__name__)
    log.info("Exported %d of %d segments.", len(locations), len(names))
    for name, reason in failed.items():
        log.warning("%s failed: %s", name, reason)
    return {"exported": locations, "failed": failed}


def why_not(report: dict[str, Any] | None) -> str:
    if report is None:
        return "no generation job was started; see the log of its task"
    if report["status"] == "ACTIVE":
        return "the audience was generated and not exported; see the log of the export"
    return f"{report['status']}: {report['reason']}"


with DAG(
    "example_many_segments",
    description="Generate and export the audiences of many seeds",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cleanroomsml"],
    params={
        "configured_audience_model_arn": f"arn:aws:cleanrooms-ml:us-east-1:123456789012:configured-audience-model/{ANY}",
        "role_arn": "arn:aws:iam::123456789012:role/cleanrooms-ml-lookalike",
        "seeds_uri": "s3://my-bucket/seeds",
    },
    doc_md="""
### Many segments

One `segment` for each seed, under its own name in the grid: `generate`, `export`, and `report`, which reads why a generation job failed.
The run is successful if `summarize` is. Its result has the locations of the exported audiences and the reasons for failures.
Fix the seeds and clear the failed tasks, together with `report` and `summarize`.
""",
) as dag:
    seeds = list_seeds("{{ params.seeds_uri }}", RUN)
    segments = segment.expand_kwargs(seeds)
    summary = summarize(seeds, dag.get_task("segment.report").output, dag.get_task("segment.export").output)


if __name__ == "__main__":
    dag.test()
