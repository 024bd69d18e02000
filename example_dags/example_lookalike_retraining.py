"""
Train a lookalike model anew every week, behind terms that stay the same.

The user guide recommends it: a model is not trained again by itself. Whoever uses the configured audience model keeps its ARN.
A run that is cleared after its model was put to use does nothing: it neither replaces nor deletes its own model, or a newer one.
"""

from __future__ import annotations

import json
from typing import Any

import pendulum
from airflow import DAG

from airflow_cleanroomsml.operators import (
    CleanRoomsMLCallOperator,
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLDeleteAudienceModelOperator,
    CleanRoomsMLPutConfiguredAudienceModelPolicyOperator,
    CleanRoomsMLTagResourceOperator,
    CleanRoomsMLUntagResourceOperator,
    CleanRoomsMLUpdateConfiguredAudienceModelOperator,
)
from airflow_cleanroomsml.sensors import CleanRoomsMLAudienceModelSensor

try:
    from airflow.sdk import task
except ImportError:  # Airflow 2.11
    from airflow.decorators import task

# When the run is about; a run that was started by hand may have no logical date.
RUN = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%dT%H%M%S') }}"
PREFIX = "weekly-"


@task.short_circuit
def old(in_use: Any, name: str) -> str | None:
    """
    Find the model to replace, and skip the rest of the run where there is none.

    :param in_use: ARN of the model in use.
    :param name: Name of the model that this run makes; it sorts after those of earlier runs.
    """
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

    models = {model["audienceModelArn"]: model for model in CleanRoomsMLHook().items("list_audience_models")}
    own_or_later = [m["createTime"] for m in models.values() if m["name"].startswith(PREFIX) and m["name"] >= name]
    if in_use in models and all(models[in_use]["createTime"] < time for time in own_or_later):
        return str(in_use)
    return None


with DAG(
    "example_lookalike_retraining",
    description="Replace the audience model behind a configured audience model",
    schedule=None,  # "@weekly" in earnest
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cleanroomsml"],
    params={
        "training_dataset_arn": (
            "arn:aws:cleanrooms-ml:us-east-1:123456789012:training-dataset/00000000-0000-4000-8000-000000000000"
        ),
        "configured_audience_model_arn": (
            "arn:aws:cleanrooms-ml:us-east-1:123456789012:configured-audience-model/00000000-0000-4000-8000-000000000000"
        ),
        "partner": "210987654321",
    },
    doc_md="""
### Weekly retraining

A new audience model is trained and takes the place of the old one, which is deleted. Jobs that run are not touched.

To repeat a part of a run, clear the tasks that failed. A run that is cleared as a whole stops at `old` if its model, or a newer one, is
in use.
""",
) as dag:
    in_use = CleanRoomsMLCallOperator(
        task_id="in_use",
        operation="get_configured_audience_model",
        parameters={"configured_audience_model_arn": "{{ params.configured_audience_model_arn }}"},
        jmespath="audienceModelArn",
    )
    replaced = old(in_use.output, PREFIX + RUN)
    train = CleanRoomsMLCreateAudienceModelOperator(
        task_id="train",
        name=PREFIX + RUN,
        training_dataset_arn="{{ params.training_dataset_arn }}",
        wait_for_completion=False,
    )
    trained = CleanRoomsMLAudienceModelSensor(
        task_id="trained",
        audience_model_arn=train.output,
        mode="reschedule",
        poke_interval=5,
        timeout=50 * 3600,
    )
    replace = CleanRoomsMLUpdateConfiguredAudienceModelOperator(
        task_id="replace",
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
        audience_model_arn=train.output,
    )
    allow = CleanRoomsMLPutConfiguredAudienceModelPolicyOperator(
        task_id="allow",
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
        configured_audience_model_policy=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"AWS": "{{ params.partner }}"},
                        "Action": "cleanrooms-ml:StartAudienceGenerationJob",
                        "Resource": "*",
                    }
                ],
            }
        ),
    )
    mark = CleanRoomsMLTagResourceOperator(
        task_id="mark",
        resource_arn=train.output,
        tags={"in-use": "yes", "run": RUN},
    )
    unmark = CleanRoomsMLUntagResourceOperator(
        task_id="unmark",
        resource_arn="{{ params.configured_audience_model_arn }}",
        tag_keys=["retraining-requested"],
    )
    delete_old = CleanRoomsMLDeleteAudienceModelOperator(
        task_id="delete_old",
        audience_model_arn=replaced,
    )

    replaced >> train >> trained >> replace >> [allow, mark, unmark, delete_old]


if __name__ == "__main__":
    dag.test()
