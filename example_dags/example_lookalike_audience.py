"""
Find users like those of a seed: training dataset, audience model, configured audience model, generation job, export.

Every task takes the ARN that the task before it pushed to XCom.
"""

from __future__ import annotations

import pendulum
from airflow import DAG

from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLCreateConfiguredAudienceModelOperator,
    CleanRoomsMLCreateTrainingDatasetOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)

# The time of the run; a run that was triggered manually may have no logical date.
RUN = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%dT%H%M%S') }}"

with DAG(
    "example_lookalike_audience",
    description="From interactions in a Glue table to an audience in S3",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cleanroomsml"],
    params={
        "prefix": "lookalike",
        "role_arn": "arn:aws:iam::123456789012:role/cleanrooms-ml-lookalike",
        "glue_database": "lookalike",
        "glue_table": "interactions",
        "seed_uri": "s3://my-bucket/seed/users.jsonl",
        "output_uri": "s3://my-bucket/audiences",
    },
    # Names contain the run, so a retry or a cleared task finds what it created. All runs share the training dataset.
    default_args={"if_exists": "reuse", "retries": 2, "retry_delay": pendulum.duration(seconds=30)},
    doc_md="""
### Lookalike audience

| task | creates | pushes |
| --- | --- | --- |
| `create_dataset` | a training dataset: a pointer to the Glue table, the same for all runs | its ARN |
| `create_model` | an audience model, trained on it (on AWS several hours to two days) | its ARN |
| `configure_model` | a configured audience model: where audiences go, which sizes they may have | its ARN |
| `generate` | an audience generation job: all users, ranked by similarity to the seed | its ARN; `metrics` |
| `export` | an export of the 10 % audience: JSON lines of user ids | name, job and S3 location |

The role reads the table and the seed, and writes the audiences. Set the parameters, or trigger with others.
""",
) as dag:
    create_dataset = CleanRoomsMLCreateTrainingDatasetOperator(
        task_id="create_dataset",
        name="{{ params.prefix }}-interactions",
        role_arn="{{ params.role_arn }}",
        training_data=[
            {
                "type": "INTERACTIONS",
                "inputConfig": {
                    "schema": [
                        {"columnName": "user_id", "columnTypes": ["USER_ID"]},
                        {"columnName": "item_id", "columnTypes": ["ITEM_ID"]},
                        {"columnName": "timestamp", "columnTypes": ["TIMESTAMP"]},
                        {"columnName": "event_type", "columnTypes": ["CATEGORICAL_FEATURE"]},
                        {"columnName": "event_value", "columnTypes": ["NUMERICAL_FEATURE"]},
                    ],
                    "dataSource": {
                        "glueDataSource": {
                            "databaseName": "{{ params.glue_database }}",
                            "tableName": "{{ params.glue_table }}",
                        }
                    },
                },
            }
        ],
    )

    create_model = CleanRoomsMLCreateAudienceModelOperator(
        task_id="create_model",
        name="{{ params.prefix }}-" + RUN,
        training_dataset_arn=create_dataset.output,
    )

    configure_model = CleanRoomsMLCreateConfiguredAudienceModelOperator(
        task_id="configure_model",
        name="{{ params.prefix }}-" + RUN,
        audience_model_arn=create_model.output,
        output_config={
            "destination": {"s3Destination": {"s3Uri": "{{ params.output_uri }}"}},
            "roleArn": "{{ params.role_arn }}",
        },
        shared_audience_metrics=["ALL"],
        audience_size_config={"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [1, 5, 10, 20]},
    )

    generate = CleanRoomsMLStartAudienceGenerationJobOperator(
        task_id="generate",
        name="{{ params.prefix }}-" + RUN,
        configured_audience_model_arn=configure_model.output,
        seed_audience={
            "dataSource": {"s3Uri": "{{ params.seed_uri }}"},
            "roleArn": "{{ params.role_arn }}",
        },
    )

    export = CleanRoomsMLStartAudienceExportJobOperator(
        task_id="export",
        name="{{ params.prefix }}-10-percent-" + RUN,
        audience_generation_job_arn=generate.output,
        audience_size={"type": "PERCENTAGE", "value": 10},
    )


if __name__ == "__main__":
    dag.test()
