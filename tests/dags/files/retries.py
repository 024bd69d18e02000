"""Tasks with retries, whose errors are retried or not."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow import DAG

from airflow_cleanroomsml.notifications import CleanRoomsMLSnsNotifier
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLCreateTrainingDatasetOperator,
)
from airflow_cleanroomsml.sensors import CleanRoomsMLNewAudienceGenerationJobsSensor

DEFAULTS = {"retries": 2, "retry_delay": pendulum.duration(seconds=1)}
DATASET: dict[str, Any] = {"role_arn": "{{ params.role_arn }}", "training_data": "{{ params.training_data }}"}

with DAG(
    "retries",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    default_args=DEFAULTS,
    params={"role_arn": "", "training_data": [], "trained_on": "", "topic": ""},
) as dag:
    CleanRoomsMLCreateTrainingDatasetOperator(task_id="bad_request", name="x" * 64, **DATASET)
    denied_once = CleanRoomsMLCreateTrainingDatasetOperator(
        task_id="denied_once",
        name="dataset",
        on_execute_callback=CleanRoomsMLSnsNotifier(target_arn="{{ params.topic }}"),
        **DATASET,
    )
    unstable = CleanRoomsMLCreateAudienceModelOperator(
        task_id="unstable",
        name="unstable-{{ ti.try_number }}",
        training_dataset_arn="{{ params.trained_on }}",
        training_data_end_time="{{ macros.datetime.now() }}",
    )
    CleanRoomsMLNewAudienceGenerationJobsSensor(
        task_id="rescheduled",
        since="2026-01-01T00:00:00Z",
        mode="reschedule",
        poke_interval=1,
        timeout=4,
        soft_fail=True,
        on_execute_callback=CleanRoomsMLSnsNotifier(target_arn="{{ params.topic }}"),
    )
    for deferrable in (False, True):
        unstable >> CleanRoomsMLCreateAudienceModelOperator(
            task_id="deferred_failure" if deferrable else "failure",
            name=f"model-{deferrable}",
            training_dataset_arn=denied_once.output,
            deferrable=deferrable,
            trigger_rule="all_done",
            on_execute_callback=CleanRoomsMLSnsNotifier(target_arn="{{ params.topic }}"),
            on_failure_callback=CleanRoomsMLSnsNotifier(target_arn="{{ params.topic }}"),
        )
