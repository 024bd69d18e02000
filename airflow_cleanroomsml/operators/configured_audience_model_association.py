"""Configured audience model associations: audience models offered to a collaboration; operations of ``cleanrooms``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._resources.handle import Handle
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, CONFIGURED_AUDIENCE_MODEL_ASSOCIATION
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.typing import AwsKwargs, CreatingKwargs, Templated


class CleanRoomsCreateConfiguredAudienceModelAssociationOperator(CleanRoomsMLCreateOperator):
    """
    Associate a configured audience model with a collaboration, so that its members can start generation jobs.

    The association's ARN is pushed to XCom under the key ``configured_audience_model_association_arn``.

    :param membership_identifier: Membership of the model's owner, a UUID.
    :param configured_audience_model_arn: ARN of the configured audience model.
    :param configured_audience_model_association_name: Name of the association, 1 to 100 characters.
    :param manage_resource_policies: Whether Clean Rooms writes the model's resource policy. The caller then needs the rights to do so,
        and members give the collaboration when they start jobs.
    :param tags: Up to 50 tags.
    :param description: Description, up to 255 characters.
    :return: Identifier of the association, a UUID, for its update and deletion.
    """

    service = CLEAN_ROOMS
    operation = "create_configured_audience_model_association"
    returns = "configured_audience_model_association_identifier"
    resource = CONFIGURED_AUDIENCE_MODEL_ASSOCIATION

    def __init__(
        self,
        *,
        membership_identifier: Templated[str],
        configured_audience_model_arn: Templated[str],
        configured_audience_model_association_name: Templated[str],
        manage_resource_policies: Templated[bool],
        tags: Templated[Mapping[str, Templated[str]]] | None = None,
        description: Templated[str] | None = None,
        **kwargs: Unpack[CreatingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.membership_identifier = membership_identifier
        self.configured_audience_model_arn = configured_audience_model_arn
        self.configured_audience_model_association_name = configured_audience_model_association_name
        self.manage_resource_policies = manage_resource_policies
        self.tags = tags
        self.description = description

    def build_identity(self, handle: Handle) -> dict[str, Any]:
        """Return what identifies the association, and its ARN."""
        arn = handle.response.get("arn")
        more = {"configured_audience_model_association_arn": arn} if arn else {}
        return {**super().build_identity(handle), **more}


class CleanRoomsUpdateConfiguredAudienceModelAssociationOperator(CleanRoomsMLOperator):
    """
    Change the name or the description of a configured audience model association.

    :param membership_identifier: Membership of the model's owner, a UUID.
    :param configured_audience_model_association_identifier: Identifier of the association, a UUID.
    :param name: New name, 1 to 100 characters.
    :param description: New description, up to 255 characters.
    """

    service = CLEAN_ROOMS
    operation = "update_configured_audience_model_association"

    def __init__(
        self,
        *,
        membership_identifier: Templated[str],
        configured_audience_model_association_identifier: Templated[str],
        name: Templated[str] | None = None,
        description: Templated[str] | None = None,
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.membership_identifier = membership_identifier
        self.configured_audience_model_association_identifier = configured_audience_model_association_identifier
        self.name = name
        self.description = description


class CleanRoomsDeleteConfiguredAudienceModelAssociationOperator(CleanRoomsMLDeleteOperator):
    """
    Delete a configured audience model association; a policy that Clean Rooms wrote is deleted with it.

    :param membership_identifier: Membership of the model's owner, a UUID.
    :param configured_audience_model_association_identifier: Identifier of the association, a UUID.
    """

    service = CLEAN_ROOMS
    operation = "delete_configured_audience_model_association"

    def __init__(
        self,
        *,
        membership_identifier: Templated[str],
        configured_audience_model_association_identifier: Templated[str],
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.membership_identifier = membership_identifier
        self.configured_audience_model_association_identifier = configured_audience_model_association_identifier
