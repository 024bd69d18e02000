"""
Check the training data and the seed before a model is trained and an audience generated, both of which cost money.

The seed is checked at the start of the run, not after a training of up to two days.
"""

from __future__ import annotations

import pendulum
from airflow import DAG

from airflow_cleanroomsml.operators import (
    CleanRoomsMLCheckSeedAudienceOperator,
    CleanRoomsMLCheckTrainingDataOperator,
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLPromoteAudienceModelOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)

# The time of the run; a run that was triggered manually may have no logical date.
RUN = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%dT%H%M%S') }}"
ARN = "arn:aws:cleanrooms-ml:us-east-1:123456789012"
ANY = "00000000-0000-4000-8000-000000000000"

with DAG(
    "example_checked_training",
    description="Check training data and seed, then train a model and generate an audience",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cleanroomsml"],
    params={
        "training_dataset_arn": f"{ARN}:training-dataset/{ANY}",
        "configured_audience_model_arn": f"{ARN}:configured-audience-model/{ANY}",
        "role_arn": "arn:aws:iam::123456789012:role/cleanrooms-ml-lookalike",
        "seed_uri": "s3://my-bucket/seed/users.jsonl",
        "statistics": "athena",
        # The service's minimums; lower values only make sense for an emulator with little data.
        "min_interactions": 1_000_000,
        "min_users": 100_000,
        "min_seed_size": 25,
    },
    doc_md="""
### Check before paying

| task | does | if it fails |
| --- | --- | --- |
| `check_data` | checks the table, files, role and counts of the training data | nothing was paid for; fix what the report says |
| `check_seed` | checks the seed and its role | nothing was paid for, and no training has begun |
| `train` | trains a model | the service found something that the checks cannot detect |
| `promote` | puts it into service | the older model stays in service |
| `generate` | generates the audience | the service found something that the checks cannot detect |
""",
) as dag:
    check_data = CleanRoomsMLCheckTrainingDataOperator(
        task_id="check_data",
        training_dataset_arn="{{ params.training_dataset_arn }}",
        statistics="{{ params.statistics }}",
        min_interactions="{{ params.min_interactions }}",
        min_users="{{ params.min_users }}",
    )
    check_seed = CleanRoomsMLCheckSeedAudienceOperator(
        task_id="check_seed",
        seed_audience={
            "dataSource": {"s3Uri": "{{ params.seed_uri }}"},
            "roleArn": "{{ params.role_arn }}",
        },
        min_seed_size="{{ params.min_seed_size }}",
    )
    train = CleanRoomsMLCreateAudienceModelOperator(
        task_id="train",
        name="checked-" + RUN,
        training_dataset_arn="{{ params.training_dataset_arn }}",
        if_exists="reuse",
    )
    promote = CleanRoomsMLPromoteAudienceModelOperator(
        task_id="promote",
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
        audience_model_arn=train.output,
    )
    generate = CleanRoomsMLStartAudienceGenerationJobOperator(
        task_id="generate",
        name="checked-" + RUN,
        configured_audience_model_arn="{{ params.configured_audience_model_arn }}",
        seed_audience={
            "dataSource": {"s3Uri": "{{ params.seed_uri }}"},
            "roleArn": "{{ params.role_arn }}",
        },
        if_exists="reuse",
    )

    [check_data, check_seed] >> train >> promote >> generate


if __name__ == "__main__":
    dag.test()
