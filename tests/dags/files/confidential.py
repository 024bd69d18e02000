"""Tasks with a confidential query or environment, some of which fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pendulum
from airflow import DAG

from airflow_cleanroomsml.operators import (
    CleanRoomsMLCallOperator,
    CleanRoomsMLCreateMLInputChannelOperator,
    CleanRoomsMLCreateTrainedModelOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)
from airflow_cleanroomsml.sensors import CleanRoomsMLMLInputChannelSensor

if TYPE_CHECKING:
    from airflow_cleanroomsml.request_types import InputChannel


def build_channel(query: str = "{{ var.value.query }}") -> InputChannel:
    return {
        "dataSource": {
            "protectedQueryInputParameters": {
                "sqlParameters": {"queryString": query, "parameters": {"limit": "{{ var.value.parameter }}"}}
            }
        },
        "roleArn": "{{ params.role_arn }}",
    }


#: An invalid input channel, with a query in the wrong place.
WRONG: Any = {"queryString": "{{ var.value.query }}"}
COMMON: dict[str, Any] = {
    "membership_identifier": "{{ params.membership }}",
    "configured_model_algorithm_associations": ["{{ params.association }}"],
    "retention_in_days": 1,
}

with DAG(
    "confidential",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    default_args={"waiter_delay": 2},
    params={
        "role_arn": "",
        "membership": "",
        "association": "",
        "channel": "",
        "failed_channel": "",
        "terms": "",
        "collaboration": "",
    },
) as dag:
    fails = CleanRoomsMLCreateMLInputChannelOperator(
        task_id="fails", name="fails", input_channel=build_channel(), **COMMON
    )
    ready = CleanRoomsMLCreateMLInputChannelOperator(
        task_id="ready", name="ready", input_channel=build_channel(), trigger_rule="all_done", **COMMON
    )
    # As JSON text, and one of several mapped tasks.
    mapped = CleanRoomsMLCreateMLInputChannelOperator.partial(
        task_id="mapped", name="mapped", trigger_rule="all_done", **COMMON
    ).expand(input_channel=[build_channel()])
    text = CleanRoomsMLCreateMLInputChannelOperator(
        task_id="text",
        name="text",
        input_channel='{"dataSource": {"protectedQueryInputParameters": {"sqlParameters": {"queryString": '
        '{{ var.value.query | tojson }} } } }, "roleArn": "{{ params.role_arn }}"}',
        trigger_rule="all_done",
        **COMMON,
    )
    CleanRoomsMLCreateMLInputChannelOperator(task_id="refused", name="refused", input_channel=WRONG, **COMMON)
    CleanRoomsMLCreateMLInputChannelOperator(
        task_id="not_rendered",
        name="x",
        input_channel=build_channel("SELECT marker_of_a_template {{ nothing.there }} {% oops %}"),
        **COMMON,
    )
    create = CleanRoomsMLCallOperator(
        task_id="called_to_create",
        operation="create_ml_input_channel",
        parameters={**COMMON, "name": "called", "input_channel": build_channel()},
        trigger_rule="all_done",
    )
    # The fault of the emulator applies to the first channel that is created.
    fails >> [ready, mapped, text, create]
    CleanRoomsMLMLInputChannelSensor(
        task_id="sensed",
        ml_input_channel_arn="{{ params.failed_channel }}",
        membership_identifier="{{ params.membership }}",
        poke_interval=1,
    )
    CleanRoomsMLCallOperator(
        task_id="called",
        operation="get_ml_input_channel",
        parameters={"membership_identifier": "{{ params.membership }}", "ml_input_channel_arn": ready.output},
    )
    CleanRoomsMLCreateTrainedModelOperator(
        task_id="model_fails",
        membership_identifier="{{ params.membership }}",
        name="model",
        configured_model_algorithm_association_arn="{{ params.association }}",
        resource_config={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        data_channels=[{"mlInputChannelArn": "{{ params.channel }}", "channelName": "training"}],
        environment={"PASSWORD": "{{ var.value.environment }}"},
    )
    CleanRoomsMLStartAudienceGenerationJobOperator(
        task_id="segment",
        name="segment",
        configured_audience_model_arn="{{ params.terms }}",
        collaboration_id="{{ params.collaboration }}",
        seed_audience={
            "sqlParameters": {"queryString": "{{ var.value.query }}"},
            "roleArn": "{{ params.role_arn }}",
        },
    )
