"""Configured model algorithm associations: an algorithm offered to a collaboration, with a privacy configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_cleanroomsml._resources.table import CONFIGURED_MODEL_ALGORITHM_ASSOCIATION
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.request_types import PrivacyConfiguration
    from airflow_cleanroomsml.typing import AwsKwargs, CreatingKwargs, Templated


class CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator(CleanRoomsMLCreateOperator):
    """
    Associate a configured model algorithm with a collaboration, for all its members; it cannot be changed afterwards.

    :param membership_identifier: Membership of the algorithm's owner, a UUID.
    :param configured_model_algorithm_arn: ARN of the configured model algorithm.
    :param name: Name of the association, 1 to 63 characters.
    :param privacy_configuration: Who may see logs and metrics, how large models, exports and inference output may be, and what may be
        exported.
    :param tags: Up to 50 tags.
    :param description: Description, up to 255 characters.
    :return: ARN of the association.
    """

    operation = "create_configured_model_algorithm_association"
    returns = "configured_model_algorithm_association_arn"
    resource = CONFIGURED_MODEL_ALGORITHM_ASSOCIATION

    def __init__(
        self,
        *,
        membership_identifier: Templated[str],
        configured_model_algorithm_arn: Templated[str],
        name: Templated[str],
        privacy_configuration: Templated[PrivacyConfiguration] | None = None,
        tags: Templated[Mapping[str, Templated[str]]] | None = None,
        description: Templated[str] | None = None,
        **kwargs: Unpack[CreatingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.membership_identifier = membership_identifier
        self.configured_model_algorithm_arn = configured_model_algorithm_arn
        self.name = name
        self.privacy_configuration = privacy_configuration
        self.tags = tags
        self.description = description


class CleanRoomsMLDeleteConfiguredModelAlgorithmAssociationOperator(CleanRoomsMLDeleteOperator):
    """
    Delete a configured model algorithm association.

    :param membership_identifier: Membership of the algorithm's owner, a UUID.
    :param configured_model_algorithm_association_arn: ARN of the association.
    """

    operation = "delete_configured_model_algorithm_association"

    def __init__(
        self,
        *,
        membership_identifier: Templated[str],
        configured_model_algorithm_association_arn: Templated[str],
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.membership_identifier = membership_identifier
        self.configured_model_algorithm_association_arn = configured_model_algorithm_association_arn
