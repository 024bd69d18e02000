"""Planted errors, never run: a type checker has to find each at the line that names it, and nothing else."""

from __future__ import annotations

from airflow_cleanroomsml import operators
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateConfiguredAudienceModelOperator,
    CleanRoomsMLDeleteAudienceModelOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
)
from airflow_cleanroomsml.request_types import AudienceSize, S3ConfigMap

ARN = "arn:aws:cleanrooms-ml:us-east-1:123456789012:audience-model/7f0a1b2c-0000-4000-8000-000000000000"

operators.CleanRoomsMLDeleteAudienceModelsOperator(task_id="no_such_class")  # error: attr-defined
CleanRoomsMLDeleteAudienceModelOperator(task_id="missing_argument")  # error: call-arg
CleanRoomsMLDeleteAudienceModelOperator(audience_model_arn=ARN)  # error: call-arg
CleanRoomsMLDeleteAudienceModelOperator(task_id="wrong_type", audience_model_arn=["an ARN"])  # error: arg-type
CleanRoomsMLDeleteAudienceModelOperator(task_id="misspelt", audience_modle_arn=ARN)  # error: call-arg
CleanRoomsMLDeleteAudienceModelOperator(task_id="airflows_own", audience_model_arn=ARN, retries="3")  # error: arg-type
CleanRoomsMLDeleteAudienceModelOperator(task_id="airflows_name", audience_model_arn=ARN, retires=3)  # error: call-arg
CleanRoomsMLDeleteAudienceModelOperator(task_id="ours", audience_model_arn=ARN, deferable=True)  # error: call-arg
CleanRoomsMLDeleteAudienceModelOperator(task_id="deletes", audience_model_arn=ARN, if_exists="reuse")  # error: call-arg

CleanRoomsMLStartAudienceExportJobOperator(
    task_id="missing_member",
    name="export",
    audience_generation_job_arn=ARN,
    audience_size={"type": "PERCENTAGE"},  # error: arg-type
    if_exists="overwrite",  # error: arg-type
)
CleanRoomsMLCreateConfiguredAudienceModelOperator(  # error: call-arg
    task_id="misspelt_member",
    name="terms",
    audience_model_arn=ARN,
    output_config={"destination": {"s3Destinatoin": {"s3Uri": "s3://bucket"}}, "roleArn": ARN},  # error: arg-type
    shared_audience_metrics=["ALL"],
    min_matching_seed_size=25.5,  # error: arg-type
    audience_size_config={"audienceSizeType": "ABSOLUTE", "audienceSizeBins": 10_000},  # error: arg-type
    wait_for_completion=True,  # found above: it is not one that waits
)

# By itself, a part of a request is refused member by member.
bucket: S3ConfigMap = {"s3Url": "s3://bucket"}  # error: typeddict-item, typeddict-unknown-key
size: AudienceSize = {"type": "PERCENTAGE"}  # error: typeddict-item

# Not found: a wrong word of an enum, and a list that is none, could be templates. The request check refuses both.
CleanRoomsMLCreateConfiguredAudienceModelOperator(
    task_id="wrong_words",
    name="terms",
    audience_model_arn=ARN,
    output_config={"destination": {"s3Destination": {"s3Uri": "s3://bucket"}}, "roleArn": ARN},
    shared_audience_metrics=["SOME"],
    child_resource_tag_on_create_policy="ALWAYS",
)
CleanRoomsMLCreateConfiguredAudienceModelOperator(
    task_id="no_list",
    name="terms",
    audience_model_arn=ARN,
    output_config={"destination": {"s3Destination": {"s3Uri": "s3://bucket"}}, "roleArn": ARN},
    shared_audience_metrics="ALL",
)
# Nor anything in mapped tasks: Airflow types no argument of theirs.
CleanRoomsMLDeleteAudienceModelOperator.partial(task_id="mapped", retires=3).expand(audience_modle_arn=[ARN])
