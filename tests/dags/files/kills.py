"""Tasks that wait for jobs that do not end; each has a separate account and connection."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow import DAG
from airflow import __version__ as airflow_version

from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateTrainedModelOperator,
    CleanRoomsMLStartTrainedModelInferenceJobOperator,
)

CONF = "{{ dag_run.conf[task.task_id]."
SOON: dict[str, Any] = {"retries": 1, "retry_delay": timedelta(seconds=1)}
SLOW: dict[str, Any] = {"botocore_config": {"read_timeout": 600}}


def build_common(task_id: str, **more: Any) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "name": task_id,
        "aws_conn_id": task_id,
        "membership_identifier": CONF + "membership }}",
        "deferrable": not task_id.startswith("worker"),
        **more,
    }


def train(task_id: str, **more: Any) -> None:
    CleanRoomsMLCreateTrainedModelOperator(
        configured_model_algorithm_association_arn=CONF + "association }}",
        resource_config={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        data_channels=[{"mlInputChannelArn": CONF + "channel }}", "channelName": "training"}],
        **build_common(task_id, **more),
    )


def infer(task_id: str, **more: Any) -> None:
    CleanRoomsMLStartTrainedModelInferenceJobOperator(
        trained_model_arn=CONF + "model }}",
        resource_config={"instanceType": "ml.m5.2xlarge"},
        output_configuration={"members": [{"accountId": CONF + "account }}"}]},
        data_source={"mlInputChannelArn": CONF + "channel }}"},
        **build_common(task_id, **more),
    )


with DAG("kills", schedule=None, start_date=pendulum.datetime(2026, 1, 1)):
    for where in ("worker", "deferred"):
        train(f"{where}_train_failed")
        infer(f"{where}_infer_failed")
        infer(f"{where}_infer_times_out", execution_timeout=timedelta(seconds=80))
        train(f"{where}_cleared", **SOON)
    # The responses to their requests take longer than their execution time-out.
    train("worker_unanswered_times_out", execution_timeout=timedelta(seconds=60), **SLOW)
    if airflow_version.startswith("2."):
        # Airflow 3 gives a process five seconds.
        train("worker_unanswered_failed", **SLOW)
    train("worker_terminated", **SOON)
    train("deferred_success")
    train("deferred_kept", cancel_on_kill=False)
    train("deferred_moved")

with DAG("kills_unheard", schedule=None, start_date=pendulum.datetime(2026, 1, 1)):
    train("unheard", execution_timeout=timedelta(seconds=60))
