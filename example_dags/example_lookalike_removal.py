"""
Delete a lookalike model in the order that the service requires: dependent resources first.

A resource that is already gone counts as deleted, so the Dag can be run again until nothing is left.
"""

from __future__ import annotations

import pendulum
from airflow import DAG

from airflow_cleanroomsml.operators import (
    CleanRoomsMLDeleteAudienceModelOperator,
    CleanRoomsMLDeleteConfiguredAudienceModelOperator,
    CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator,
    CleanRoomsMLDeleteTrainingDatasetOperator,
)

ARN = "arn:aws:cleanrooms-ml:us-east-1:123456789012"
ANY = "00000000-0000-4000-8000-000000000000"

with DAG(
    "example_lookalike_removal",
    description="Delete a configured audience model, its policy, its audience model and its training dataset",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cleanroomsml"],
    params={
        "configured_audience_model_arn": f"{ARN}:configured-audience-model/{ANY}",
        "audience_model_arn": f"{ARN}:audience-model/{ANY}",
        "training_dataset_arn": f"{ARN}:training-dataset/{ANY}",
    },
) as dag:
    policy = CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator(
        task_id="policy",
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
    )
    configured_model = CleanRoomsMLDeleteConfiguredAudienceModelOperator(
        task_id="configured_model",
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
    )
    model = CleanRoomsMLDeleteAudienceModelOperator(
        task_id="model",
        audience_model_arn="{{ params.audience_model_arn }}",
    )
    dataset = CleanRoomsMLDeleteTrainingDatasetOperator(
        task_id="dataset",
        training_dataset_arn="{{ params.training_dataset_arn }}",
    )
    policy >> configured_model >> model >> dataset


if __name__ == "__main__":
    dag.test()
