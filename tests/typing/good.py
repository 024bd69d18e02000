"""Calls that type checkers have to allow; never run."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.sdk import BaseOperator, Context, XComArg
from typing_extensions import Unpack

from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLCreateConfiguredAudienceModelOperator,
    CleanRoomsMLCreateTrainingDatasetOperator,
    CleanRoomsMLDeleteAudienceModelOperator,
    CleanRoomsMLDeleteTrainingDatasetOperator,
    CleanRoomsMLPutConfiguredAudienceModelPolicyOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
    CleanRoomsMLUpdateConfiguredAudienceModelOperator,
)
from airflow_cleanroomsml.request_types import ColumnSchema, ConfiguredAudienceModelOutputConfig
from airflow_cleanroomsml.typing import AirflowKwargs


def build_airflow_operator(**kwargs: Unpack[AirflowKwargs]) -> BaseOperator:
    return BaseOperator(**kwargs)


def fail_task(context: Context) -> None:
    raise RuntimeError(context["run_id"])


# A request of plain values, a part of it typed by name.
columns: list[ColumnSchema] = [
    {"columnName": "user_id", "columnTypes": ["USER_ID"]},
    {"columnName": "{{ params.item }}", "columnTypes": ["ITEM_ID", "{{ params.column_type }}"]},
]
dataset = CleanRoomsMLCreateTrainingDatasetOperator(
    task_id="dataset",
    name="interactions",
    role_arn="arn:aws:iam::123456789012:role/lookalike",
    training_data=[
        {
            "type": "INTERACTIONS",
            "inputConfig": {
                "schema": columns,
                "dataSource": {"glueDataSource": {"databaseName": "lake", "tableName": "interactions"}},
            },
        }
    ],
    tags={"team": "audience", "run": "{{ run_id }}"},
    if_exists="reuse",
)

# Arguments of Airflow's, of AWS's, and of those that wait.
model = CleanRoomsMLCreateAudienceModelOperator(
    task_id="model",
    name="model-{{ ds_nodash }}",
    training_dataset_arn=dataset.output,
    training_data_start_time=datetime(2026, 1, 1, tzinfo=timezone.utc),
    training_data_end_time="{{ data_interval_end }}",
    retries=2,
    retry_delay=timedelta(minutes=1),
    execution_timeout=timedelta(hours=50),
    on_failure_callback=fail_task,
    trigger_rule="all_done",
    outlets=[],
    aws_conn_id=None,
    region_name="eu-west-1",
    verify="/etc/ssl/ca.pem",
    botocore_config={"read_timeout": 5},
    wait_for_completion=True,
    waiter_delay=30,
    waiter_max_attempts=100,
    deferrable=True,
)

# Templates and outputs of tasks at any depth, in place of a whole structure, a list, a number or a boolean.
configured = CleanRoomsMLCreateConfiguredAudienceModelOperator(
    task_id="configured",
    name="terms",
    audience_model_arn=model.output,
    output_config={
        "destination": {"s3Destination": {"s3Uri": model.output["location"]}},
        "roleArn": "{{ params.role_arn }}",
    },
    shared_audience_metrics=["{{ params.metrics }}"],
    audience_size_config={"audienceSizeType": "PERCENTAGE", "audienceSizeBins": (1, "{{ params.size }}")},
    min_matching_seed_size="{{ params.seed_size }}",
    child_resource_tag_on_create_policy="FROM_PARENT_RESOURCE",
    tags={"owner": XComArg(model, key="owner")},
)
output_config: ConfiguredAudienceModelOutputConfig = {
    "destination": "{{ params.destination | tojson }}",
    "roleArn": configured.output,
}
CleanRoomsMLUpdateConfiguredAudienceModelOperator(
    task_id="update", configured_audience_model_arn=configured.output, output_config=output_config
)
CleanRoomsMLUpdateConfiguredAudienceModelOperator(
    task_id="update_from_templates",
    configured_audience_model_arn=configured.output,
    output_config="{{ params.output_config | tojson }}",
    shared_audience_metrics="{{ params.metrics | tojson }}",
    audience_size_config=configured.output["sizes"],
)
CleanRoomsMLPutConfiguredAudienceModelPolicyOperator(
    task_id="policy",
    configured_audience_model_arn=configured.output,
    configured_audience_model_policy={"Version": "2012-10-17", "Statement": []},
    policy_existence_condition="POLICY_MUST_NOT_EXIST",
)

# A seed by SQL, as a member that is not required; the export's result has keys.
generate = CleanRoomsMLStartAudienceGenerationJobOperator(
    task_id="generate",
    name="segment",
    configured_audience_model_arn=configured.output,
    seed_audience={"roleArn": "{{ params.role_arn }}", "sqlParameters": {"queryString": "SELECT user_id FROM buyers"}},
    include_seed_in_output="{{ params.with_seed }}",
)
export = CleanRoomsMLStartAudienceExportJobOperator(
    task_id="export",
    name="segment",
    audience_generation_job_arn=generate.output,
    audience_size={"type": "ABSOLUTE", "value": "{{ params.size }}"},
)
(
    CleanRoomsMLDeleteAudienceModelOperator(task_id="delete", audience_model_arn=model.output, depends_on_past=True)
    << export
)

# Mapped tasks.
CleanRoomsMLDeleteTrainingDatasetOperator.partial(task_id="delete_each", retries=3, aws_conn_id="aws").expand(
    training_dataset_arn=dataset.output
)
CleanRoomsMLStartAudienceExportJobOperator.partial(
    task_id="export_each", name="segment", audience_generation_job_arn=generate.output
).expand(audience_size=[{"type": "PERCENTAGE", "value": 1}, {"type": "PERCENTAGE", "value": 10}])
