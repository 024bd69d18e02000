"""Configured model algorithms: container images that train or run a custom model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_cleanroomsml._resources.table import CONFIGURED_MODEL_ALGORITHM
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.request_types import ContainerConfig, InferenceContainerConfig
    from airflow_cleanroomsml.typing import AwsKwargs, CreatingKwargs, Templated


class CleanRoomsMLCreateConfiguredModelAlgorithmOperator(CleanRoomsMLCreateOperator):
    """
    Create a configured model algorithm from container images in Amazon ECR.

    :param name: Name of the algorithm, 1 to 63 characters.
    :param role_arn: ARN of the role that pulls the images, in the caller's account.
    :param training_container_config: The training container: image, entry point, arguments, and up to 40 metrics that are read from its
        logs by regular expressions.
    :param inference_container_config: The inference container: its image, ``registry/repository[:tag]`` without a digest.
    :param kms_key_arn: ARN of the KMS key that encrypts the algorithm; aliases are not accepted.
    :param tags: Up to 50 tags.
    :param description: Description, up to 255 characters.
    :return: ARN of the configured model algorithm.
    """

    operation = "create_configured_model_algorithm"
    returns = "configured_model_algorithm_arn"
    resource = CONFIGURED_MODEL_ALGORITHM

    def __init__(
        self,
        *,
        name: Templated[str],
        role_arn: Templated[str],
        training_container_config: Templated[ContainerConfig] | None = None,
        inference_container_config: Templated[InferenceContainerConfig] | None = None,
        kms_key_arn: Templated[str] | None = None,
        tags: Templated[Mapping[str, Templated[str]]] | None = None,
        description: Templated[str] | None = None,
        **kwargs: Unpack[CreatingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.role_arn = role_arn
        self.training_container_config = training_container_config
        self.inference_container_config = inference_container_config
        self.kms_key_arn = kms_key_arn
        self.tags = tags
        self.description = description


class CleanRoomsMLDeleteConfiguredModelAlgorithmOperator(CleanRoomsMLDeleteOperator):
    """
    Delete a configured model algorithm; delete its associations first.

    :param configured_model_algorithm_arn: ARN of the configured model algorithm.
    """

    operation = "delete_configured_model_algorithm"

    def __init__(self, *, configured_model_algorithm_arn: Templated[str], **kwargs: Unpack[AwsKwargs]) -> None:
        super().__init__(**kwargs)
        self.configured_model_algorithm_arn = configured_model_algorithm_arn
