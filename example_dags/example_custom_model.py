"""
Train a custom model on joined data: algorithm, association, input channels, training, export, inference.

Every task takes the ARN that the task before it pushed to XCom. At the end the Dag deletes what the run created.
"""

from __future__ import annotations

import pendulum
from airflow import DAG

from airflow_cleanroomsml.operators import (
    CleanRoomsFindMembershipOperator,
    CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator,
    CleanRoomsMLCreateConfiguredModelAlgorithmOperator,
    CleanRoomsMLCreateMLInputChannelOperator,
    CleanRoomsMLCreateTrainedModelOperator,
    CleanRoomsMLDeleteConfiguredModelAlgorithmAssociationOperator,
    CleanRoomsMLDeleteConfiguredModelAlgorithmOperator,
    CleanRoomsMLDeleteMLConfigurationOperator,
    CleanRoomsMLDeleteMLInputChannelDataOperator,
    CleanRoomsMLDeleteTrainedModelOutputOperator,
    CleanRoomsMLPutMLConfigurationOperator,
    CleanRoomsMLStartTrainedModelExportJobOperator,
    CleanRoomsMLStartTrainedModelInferenceJobOperator,
)
from airflow_cleanroomsml.sensors import (
    CleanRoomsMLMLInputChannelSensor,
    CleanRoomsMLTrainedModelExportJobSensor,
    CleanRoomsMLTrainedModelInferenceJobSensor,
)

# The time of the run; a run that was triggered manually may have no logical date.
RUN = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%dT%H%M%S') }}"

with DAG(
    "example_custom_model",
    description="Train, export and run a custom model on data that no single party sees",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "cleanroomsml"],
    params={
        "collaboration": "00000000-0000-4000-8000-000000000000",
        "account": "123456789012",
        "role_arn": "arn:aws:iam::123456789012:role/cleanrooms-ml-custom",
        "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/conversion",
        "output_uri": "s3://my-bucket/models",
        "training_query": "SELECT a.clicks, r.converted FROM advertiser a JOIN retailer r ON a.user_id = r.user_id",
        "inference_query": "SELECT a.clicks FROM advertiser a",
    },
    # Names contain the run, so a retry or a cleared task finds what it created.
    default_args={"if_exists": "reuse"},
    doc_md="""
### A custom model

The member that may query trains on the join of both parties' tables; neither sees the other's rows. Logs and metrics reach those
members that have an ML configuration. The tasks never show the queries in logs or rendered fields. Here the queries are
parameters, which Airflow shows with the run: keep confidential ones in a Variable.
""",
) as dag:
    membership = CleanRoomsFindMembershipOperator(
        task_id="membership",
        collaboration_identifier="{{ params.collaboration }}",
    )
    configure = CleanRoomsMLPutMLConfigurationOperator(
        task_id="configure",
        membership_identifier=membership.output,
        default_output_location={
            "destination": {"s3Destination": {"s3Uri": "{{ params.output_uri }}"}},
            "roleArn": "{{ params.role_arn }}",
        },
    )
    algorithm = CleanRoomsMLCreateConfiguredModelAlgorithmOperator(
        task_id="algorithm",
        name="conversion-" + RUN,
        role_arn="{{ params.role_arn }}",
        training_container_config={
            "imageUri": "{{ params.image }}:train",
            "metricDefinitions": [{"name": "roc_auc", "regex": "roc_auc: ([0-9.]+)"}],
        },
        inference_container_config={"imageUri": "{{ params.image }}:infer"},
    )
    associate = CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator(
        task_id="associate",
        membership_identifier=membership.output,
        configured_model_algorithm_arn=algorithm.output,
        name="conversion-" + RUN,
        privacy_configuration={
            "policies": {
                "trainedModels": {
                    "containerLogs": [{"allowedAccountIds": ["{{ params.account }}"]}],
                    "containerMetrics": {"noiseLevel": "NONE"},
                },
                "trainedModelExports": {"maxSize": {"unit": "GB", "value": 1}, "filesToExport": ["MODEL"]},
                "trainedModelInferenceJobs": {"maxOutputSize": {"unit": "GB", "value": 1}},
            }
        },
    )
    training_data = CleanRoomsMLCreateMLInputChannelOperator(
        task_id="training_data",
        membership_identifier=membership.output,
        configured_model_algorithm_associations=[associate.output],
        input_channel={
            "dataSource": {
                "protectedQueryInputParameters": {
                    "sqlParameters": {"queryString": "{{ params.training_query }}"},
                }
            },
            "roleArn": "{{ params.role_arn }}",
        },
        name="training-" + RUN,
        retention_in_days=1,
    )
    train = CleanRoomsMLCreateTrainedModelOperator(
        task_id="train",
        membership_identifier=membership.output,
        name="conversion-" + RUN,
        configured_model_algorithm_association_arn=associate.output,
        resource_config={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        data_channels=[{"mlInputChannelArn": training_data.output, "channelName": "training"}],
        hyperparameters={"max_depth": "5", "learning_rate": "0.1"},
        environment={"LOG_LEVEL": "INFO"},
        stopping_condition={"maxRuntimeInSeconds": 3600},
    )
    export = CleanRoomsMLStartTrainedModelExportJobOperator(
        task_id="export",
        membership_identifier=membership.output,
        trained_model_arn=train.output,
        name="export-" + RUN,
        output_configuration={"members": [{"accountId": "{{ params.account }}"}]},
        wait_for_completion=False,
    )
    exported = CleanRoomsMLTrainedModelExportJobSensor(
        task_id="exported",
        collaboration_identifier="{{ params.collaboration }}",
        trained_model_arn=train.output,
        name="export-" + RUN,
        poke_interval=5,
        timeout=3600,
    )
    inference_data = CleanRoomsMLCreateMLInputChannelOperator(
        task_id="inference_data",
        membership_identifier=membership.output,
        configured_model_algorithm_associations=[associate.output],
        input_channel={
            "dataSource": {
                "protectedQueryInputParameters": {
                    "sqlParameters": {"queryString": "{{ params.inference_query }}"},
                }
            },
            "roleArn": "{{ params.role_arn }}",
        },
        name="inference-" + RUN,
        retention_in_days=1,
        wait_for_completion=False,
    )
    inference_data_ready = CleanRoomsMLMLInputChannelSensor(
        task_id="inference_data_ready",
        ml_input_channel_arn=inference_data.output,
        membership_identifier=membership.output,
        mode="reschedule",
        poke_interval=5,
        timeout=3600,
    )
    infer = CleanRoomsMLStartTrainedModelInferenceJobOperator(
        task_id="infer",
        membership_identifier=membership.output,
        name="answers-" + RUN,
        trained_model_arn=train.output,
        resource_config={"instanceType": "ml.m5.2xlarge"},
        output_configuration={"accept": "text/csv", "members": [{"accountId": "{{ params.account }}"}]},
        data_source={"mlInputChannelArn": inference_data.output},
        wait_for_completion=False,
    )
    inferred = CleanRoomsMLTrainedModelInferenceJobSensor(
        task_id="inferred",
        trained_model_inference_job_arn=infer.output,
        membership_identifier=membership.output,
        mode="reschedule",
        poke_interval=5,
        timeout=3600,
    )

    delete_output = CleanRoomsMLDeleteTrainedModelOutputOperator(
        task_id="delete_output",
        membership_identifier=membership.output,
        trained_model_arn=train.output,
    ).as_teardown(setups=train)
    delete_training_data = CleanRoomsMLDeleteMLInputChannelDataOperator(
        task_id="delete_training_data",
        membership_identifier=membership.output,
        ml_input_channel_arn=training_data.output,
    ).as_teardown(setups=training_data)
    delete_inference_data = CleanRoomsMLDeleteMLInputChannelDataOperator(
        task_id="delete_inference_data",
        membership_identifier=membership.output,
        ml_input_channel_arn=inference_data.output,
    ).as_teardown(setups=inference_data)
    delete_association = CleanRoomsMLDeleteConfiguredModelAlgorithmAssociationOperator(
        task_id="delete_association",
        membership_identifier=membership.output,
        configured_model_algorithm_association_arn=associate.output,
    ).as_teardown(setups=associate)
    delete_algorithm = CleanRoomsMLDeleteConfiguredModelAlgorithmOperator(
        task_id="delete_algorithm",
        configured_model_algorithm_arn=algorithm.output,
    ).as_teardown(setups=algorithm)
    delete_configuration = CleanRoomsMLDeleteMLConfigurationOperator(
        task_id="delete_configuration",
        membership_identifier=membership.output,
    ).as_teardown(setups=configure)

    configure >> train
    export >> exported
    inference_data >> inference_data_ready >> infer >> inferred
    [exported, inferred] >> delete_output >> delete_training_data >> delete_inference_data
    delete_inference_data >> delete_association >> delete_algorithm >> delete_configuration


if __name__ == "__main__":
    dag.test()
