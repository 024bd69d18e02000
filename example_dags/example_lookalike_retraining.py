"""
Train a lookalike model anew every week, behind terms that stay the same.

The user guide recommends it: a model is not trained again by itself. Whoever uses the configured audience model keeps its ARN.
"""

from __future__ import annotations

import json

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

# When the run is about; a run that was started by hand may have no logical date.
RUN = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%dT%H%M%S') }}"

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
""",
) as dag:
    old = CleanRoomsMLCallOperator(
        task_id="old",
        operation="get_configured_audience_model",
        parameters={"configured_audience_model_arn": "{{ params.configured_audience_model_arn }}"},
        jmespath="audienceModelArn",
    )
    train = CleanRoomsMLCreateAudienceModelOperator(
        task_id="train",
        name="weekly-" + RUN,
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
        resource_arn=old.output,
        tag_keys=["in-use"],
    )
    delete_old = CleanRoomsMLDeleteAudienceModelOperator(
        task_id="delete_old",
        audience_model_arn=old.output,
    )

    [old, trained] >> replace >> allow
    train >> trained >> mark
    replace >> unmark >> delete_old


if __name__ == "__main__":
    dag.test()
