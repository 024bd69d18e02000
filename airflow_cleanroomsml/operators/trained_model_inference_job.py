"""Trained model inference jobs: a trained model's predictions for the data of an ML input channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_cleanroomsml._resources.table import TRAINED_MODEL_INFERENCE_JOB, Goal
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteAndWaitOperator
from airflow_cleanroomsml.operators._job import CleanRoomsMLJobOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.request_types import (
        InferenceContainerExecutionParameters,
        InferenceOutputConfiguration,
        InferenceResourceConfig,
        ModelInferenceDataSource,
    )
    from airflow_cleanroomsml.typing import CreatingAndWaitingKwargs, Templated, WaitingKwargs


class CleanRoomsMLStartTrainedModelInferenceJobOperator(CleanRoomsMLJobOperator):
    """
    Start a trained model inference job: run a trained model on the data of an ML input channel.

    Takes up to 25 hours (user guide, Quotas). ``logs_status`` and ``metrics_status`` are pushed to XCom; the task logs a warning if logs or
    metrics were lost.

    :param membership_identifier: Membership of the member that may query, a UUID.
    :param name: Name of the job, 1 to 63 characters.
    :param trained_model_arn: ARN of the trained model.
    :param resource_config: Type and number of instances.
    :param output_configuration: The account that receives the output, and its media type.
    :param data_source: ARN of the ML input channel, ``{"mlInputChannelArn": …}``.
    :param trained_model_version_identifier: Version, a UUID; the service does not document which one it uses if None, or
        ``NULL``.
    :param configured_model_algorithm_association_arn: ARN of the algorithm association with the inference container.
    :param container_execution_parameters: Maximum size of a request to the container, 1 to 100 MB.
    :param environment: Up to 16 environment variables of the container. They are hidden in logs and in the UI.
    :param ml_model_inference_payer_account_id: Account that pays.
    :param kms_key_arn: ARN of the KMS key that encrypts the output; aliases are not accepted.
    :param tags: Up to 50 tags.
    :param description: Description, up to 255 characters.
    :return: ARN of the inference job.
    """

    operation = "start_trained_model_inference_job"
    returns = "trained_model_inference_job_arn"
    resource = TRAINED_MODEL_INFERENCE_JOB

    def __init__(
        self,
        *,
        membership_identifier: Templated[str],
        name: Templated[str],
        trained_model_arn: Templated[str],
        resource_config: Templated[InferenceResourceConfig],
        output_configuration: Templated[InferenceOutputConfiguration],
        data_source: Templated[ModelInferenceDataSource],
        trained_model_version_identifier: Templated[str] | None = None,
        configured_model_algorithm_association_arn: Templated[str] | None = None,
        container_execution_parameters: Templated[InferenceContainerExecutionParameters] | None = None,
        environment: Templated[Mapping[str, Templated[str]]] | None = None,
        ml_model_inference_payer_account_id: Templated[str] | None = None,
        kms_key_arn: Templated[str] | None = None,
        tags: Templated[Mapping[str, Templated[str]]] | None = None,
        description: Templated[str] | None = None,
        **kwargs: Unpack[CreatingAndWaitingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.membership_identifier = membership_identifier
        self.name = name
        self.trained_model_arn = trained_model_arn
        self.resource_config = resource_config
        self.output_configuration = output_configuration
        self.data_source = data_source
        self.trained_model_version_identifier = trained_model_version_identifier
        self.configured_model_algorithm_association_arn = configured_model_algorithm_association_arn
        self.container_execution_parameters = container_execution_parameters
        self.environment = environment
        self.ml_model_inference_payer_account_id = ml_model_inference_payer_account_id
        self.kms_key_arn = kms_key_arn
        self.tags = tags
        self.description = description


class CleanRoomsMLCancelTrainedModelInferenceJobOperator(CleanRoomsMLDeleteAndWaitOperator):
    """
    Cancel an inference job; do nothing if it has ended.

    :param membership_identifier: Membership of the job's owner, a UUID.
    :param trained_model_inference_job_arn: ARN of the inference job.
    """

    operation = "cancel_trained_model_inference_job"
    resource = TRAINED_MODEL_INFERENCE_JOB
    goal = Goal.CANCELLED

    def __init__(
        self,
        *,
        membership_identifier: Templated[str],
        trained_model_inference_job_arn: Templated[str],
        **kwargs: Unpack[WaitingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.membership_identifier = membership_identifier
        self.trained_model_inference_job_arn = trained_model_inference_job_arn
