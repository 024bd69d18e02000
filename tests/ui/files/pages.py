"""Tasks whose pages in the UI are tested: lookalike and custom jobs, in the worker, deferred and mapped."""

from __future__ import annotations

import pendulum
from airflow import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

from airflow_cleanroomsml.operators import (
    CleanRoomsMLChooseAudienceSizeOperator,
    CleanRoomsMLCreateTrainedModelOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
    CleanRoomsMLStartTrainedModelInferenceJobOperator,
)
from airflow_cleanroomsml.sensors import CleanRoomsMLAudienceGenerationJobSensor

with DAG(
    "audience",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    params=dict.fromkeys(("configured", "role", "seed", "membership", "association", "channel", "account"), ""),
    default_args={"waiter_delay": 5, "poke_interval": 0.5},
) as dag:
    begin = EmptyOperator(task_id="begin")
    generate = CleanRoomsMLStartAudienceGenerationJobOperator(
        task_id="generate",
        name="segment",
        configured_audience_model_arn="{{ params.configured }}",
        seed_audience={"dataSource": {"s3Uri": "{{ params.seed }}"}, "roleArn": "{{ params.role }}"},
        deferrable=True,
    )
    check = CleanRoomsMLAudienceGenerationJobSensor(task_id="check", audience_generation_job_arn=generate.output)
    choose = CleanRoomsMLChooseAudienceSizeOperator(task_id="choose", metrics=generate.output["metrics"], policy="knee")
    export = CleanRoomsMLStartAudienceExportJobOperator(
        task_id="export",
        name="segment",
        audience_generation_job_arn=generate.output,
        audience_size=choose.output,
    )
    train = CleanRoomsMLCreateTrainedModelOperator(
        task_id="train",
        name="model",
        membership_identifier="{{ params.membership }}",
        configured_model_algorithm_association_arn="{{ params.association }}",
        resource_config={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        data_channels=[{"mlInputChannelArn": "{{ params.channel }}", "channelName": "training"}],
    )
    infer = CleanRoomsMLStartTrainedModelInferenceJobOperator.partial(
        task_id="infer",
        membership_identifier="{{ params.membership }}",
        trained_model_arn=train.output,
        resource_config={"instanceType": "ml.m5.2xlarge"},
        output_configuration={"members": [{"accountId": "{{ params.account }}"}]},
        data_source={"mlInputChannelArn": "{{ params.channel }}"},
    ).expand(name=["monday", "tuesday"])
    silent = CleanRoomsMLStartAudienceExportJobOperator(
        task_id="silent",
        name="silent",
        audience_generation_job_arn=generate.output,
        audience_size={"type": "PERCENTAGE", "value": 20},
        do_xcom_push=False,
    )
    begin >> [generate, train]
    generate >> check
    choose >> [export, silent]
