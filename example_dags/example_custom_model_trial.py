"""
Train a model and run inference within a time limit, then cancel whatever is still running.

Cancelling a job that has ended does nothing, so the cancel tasks can always run last.
"""

from __future__ import annotations

import pendulum
from airflow import DAG

from airflow_cleanroomsml.operators import (
    CleanRoomsMLCancelTrainedModelInferenceJobOperator,
    CleanRoomsMLCancelTrainedModelOperator,
    CleanRoomsMLCreateTrainedModelOperator,
    CleanRoomsMLStartTrainedModelInferenceJobOperator,
)
from airflow_cleanroomsml.sensors import CleanRoomsMLTrainedModelSensor

# The time of the run; a run that was triggered manually may have no logical date.
RUN = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%dT%H%M%S') }}"
ANY = "00000000-0000-4000-8000-000000000000"
MEMBERSHIP_ARN = f"arn:aws:cleanrooms-ml:us-east-1:123456789012:membership/{ANY}"

with DAG(
    "example_custom_model_trial",
    description="Train a model within a time limit",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cleanroomsml"],
    params={
        "membership": ANY,
        "account": "123456789012",
        "association_arn": f"{MEMBERSHIP_ARN}/configured-model-algorithm-association/{ANY}",
        "channel_arn": f"{MEMBERSHIP_ARN}/ml-input-channel/{ANY}",
        "seconds": 3600,
    },
    default_args={"if_exists": "reuse"},
    render_template_as_native_obj=False,
) as dag:
    train = CleanRoomsMLCreateTrainedModelOperator(
        task_id="train",
        membership_identifier="{{ params.membership }}",
        name="trial-" + RUN,
        configured_model_algorithm_association_arn="{{ params.association_arn }}",
        resource_config={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        data_channels=[{"mlInputChannelArn": "{{ params.channel_arn }}", "channelName": "training"}],
        stopping_condition={"maxRuntimeInSeconds": "{{ params.seconds }}"},
        wait_for_completion=False,
    )
    trained = CleanRoomsMLTrainedModelSensor(
        task_id="trained",
        trained_model_arn=train.output,
        membership_identifier="{{ params.membership }}",
        mode="reschedule",
        poke_interval=5,
        timeout=3600,
        soft_fail=True,
    )
    infer = CleanRoomsMLStartTrainedModelInferenceJobOperator(
        task_id="infer",
        membership_identifier="{{ params.membership }}",
        name="trial-" + RUN,
        trained_model_arn=train.output,
        resource_config={"instanceType": "ml.m5.2xlarge"},
        output_configuration={"members": [{"accountId": "{{ params.account }}"}]},
        data_source={"mlInputChannelArn": "{{ params.channel_arn }}"},
        wait_for_completion=False,
    )
    cancel_inference = CleanRoomsMLCancelTrainedModelInferenceJobOperator(
        task_id="cancel_inference",
        membership_identifier="{{ params.membership }}",
        trained_model_inference_job_arn=infer.output,
    )
    cancel_training = CleanRoomsMLCancelTrainedModelOperator(
        task_id="cancel_training",
        membership_identifier="{{ params.membership }}",
        trained_model_arn=train.output,
        trigger_rule="all_done",
    )

    trained >> infer
    [trained, cancel_inference] >> cancel_training


if __name__ == "__main__":
    dag.test()
