"""Retrain a lookalike model every week and export this week's audience of a seed, in ten lines."""

from __future__ import annotations

import pendulum
from airflow import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_cleanroomsml.task_groups import RUN, lookalike_audience, retrained_audience_model

with DAG(
    "example_task_groups",
    schedule=CronDataIntervalTimetable("0 0 * * 0", timezone="UTC"),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    tags=["example", "cleanroomsml"],
    params={"training_dataset_arn": "", "configured_audience_model_arn": "", "role_arn": "", "seed_uri": ""},
) as dag:
    retrained = retrained_audience_model(
        training_dataset_arn="{{ params.training_dataset_arn }}",
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
    )
    audience = lookalike_audience(
        name="segment-" + RUN,
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
        seed_audience={"dataSource": {"s3Uri": "{{ params.seed_uri }}"}, "roleArn": "{{ params.role_arn }}"},
        min_relevance=-1,
    )
    retrained >> audience


if __name__ == "__main__":
    dag.test()
