"""
Refresh an audience whenever a retrained model has been put into service.

The Dag has no cron schedule: an event of the asset alias starts it, and the event's ``extra`` has the ARN of the configured audience model.
``example_weekly_retraining`` produces the event when it promotes a model.
"""

from __future__ import annotations

import pendulum
from airflow import DAG

from airflow_cleanroomsml.assets import build_event_template
from airflow_cleanroomsml.operators import (
    CleanRoomsMLStartAudienceExportJobOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)

try:
    from airflow.sdk import AssetAlias
except ImportError:  # Airflow 2.11
    from airflow.datasets import DatasetAlias as AssetAlias

# The time of the run: a run that an asset triggers has no logical date in Airflow 3.
RUN = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%dT%H%M%S') }}"
ARN = "arn:aws:cleanrooms-ml:us-east-1:123456789012"
ANY = "00000000-0000-4000-8000-000000000000"

with DAG(
    "example_model_retrained",
    description="Generate and export an audience with each model that is put into service",
    schedule=AssetAlias("lookalike-model-in-service"),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    # Generation jobs cost money: set the parameters first, then unpause it.
    is_paused_upon_creation=True,
    tags=["example", "cleanroomsml"],
    params={
        "configured_audience_model_arn": f"{ARN}:configured-audience-model/{ANY}",
        "role_arn": "arn:aws:iam::123456789012:role/cleanrooms-ml-lookalike",
        "seed_uri": "s3://my-bucket/seed/users.jsonl",
    },
    default_args={"if_exists": "reuse", "retries": 2, "retry_delay": pendulum.duration(seconds=30)},
    doc_md="""
### Model retrained

Runs when `promote` of `example_weekly_retraining` has put a model into service; a promotion that changed nothing starts no run. The
parameter `configured_audience_model_arn` is for manual runs only.
""",
) as dag:
    generate = CleanRoomsMLStartAudienceGenerationJobOperator(
        task_id="generate",
        name="refreshed-" + RUN,
        configured_audience_model_arn=build_event_template(
            "configured_audience_model_arn", default="params.configured_audience_model_arn"
        ),
        seed_audience={
            "dataSource": {"s3Uri": "{{ params.seed_uri }}"},
            "roleArn": "{{ params.role_arn }}",
        },
    )

    export = CleanRoomsMLStartAudienceExportJobOperator(
        task_id="export",
        name="refreshed-10-percent-" + RUN,
        audience_generation_job_arn=generate.output,
        audience_size={"type": "PERCENTAGE", "value": 10},
    )


if __name__ == "__main__":
    dag.test()
