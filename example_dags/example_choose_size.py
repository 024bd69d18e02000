"""
Choose the size of an audience by the metrics of its generation job, and export an audience of that size.

From Airflow 3.1 on, somebody must approve the choice before the export starts.
"""

from __future__ import annotations

import pendulum
from airflow import DAG
from airflow import __version__ as airflow_version

from airflow_cleanroomsml.operators import (
    CleanRoomsMLChooseAudienceSizeOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)

HAS_APPROVALS = tuple(map(int, airflow_version.split(".")[:2])) >= (3, 1)
if HAS_APPROVALS:
    from airflow.providers.standard.operators.hitl import ApprovalOperator

# The time of the run; a run that was triggered manually may have no logical date.
RUN = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%dT%H%M%S') }}"
ANY = "00000000-0000-4000-8000-000000000000"

with DAG(
    "example_choose_size",
    description="Export the largest audience that is relevant enough",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cleanroomsml"],
    params={
        "configured_audience_model_arn": f"arn:aws:cleanrooms-ml:us-east-1:123456789012:configured-audience-model/{ANY}",
        "role_arn": "arn:aws:iam::123456789012:role/cleanrooms-ml-lookalike",
        "seed_uri": "s3://my-bucket/seed/users.jsonl",
        "min_relevance": 0.0,
    },
    doc_md="""
### Choose the size

`choose` logs recall and relevance in one line, fails if the recall is no better than that of a random selection, and returns the largest
size whose relevance is at least `min_relevance`. From Airflow 3.1 on `approve` shows the choice and waits for a response; a
rejection skips the export.
""",
) as dag:
    generate = CleanRoomsMLStartAudienceGenerationJobOperator(
        task_id="generate",
        name="segment-" + RUN,
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
        seed_audience={
            "dataSource": {"s3Uri": "{{ params.seed_uri }}"},
            "roleArn": "{{ params.role_arn }}",
        },
        if_exists="reuse",
    )
    choose = CleanRoomsMLChooseAudienceSizeOperator(
        task_id="choose",
        metrics=generate.output["metrics"],
        policy="relevance",
        min_relevance="{{ params.min_relevance }}",
    )
    export = CleanRoomsMLStartAudienceExportJobOperator(
        task_id="export",
        name="export-" + RUN,
        audience_generation_job_arn=generate.output,
        audience_size=choose.output,
        if_exists="reuse",
    )

    if HAS_APPROVALS:
        approve = ApprovalOperator(
            task_id="approve",
            subject="Export the audience of {{ ti.xcom_pull('choose') }}?",
            body="Metrics of the generation job: {{ ti.xcom_pull('generate', key='metrics') }}",
        )
        choose >> approve >> export


if __name__ == "__main__":
    dag.test()
