"""Lookups in a collaboration: the caller's membership, and the configured audience model that a member offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._link_storage import store_request_links
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS
from airflow_cleanroomsml._templating import TEXT
from airflow_cleanroomsml._xcom import push_results, try_to_push_results
from airflow_cleanroomsml.exceptions import ResourceNotFoundError, join_lines
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml.typing import AwsKwargs, Templated


class _LookupOperator(CleanRoomsMLOperator):
    """An operator that looks something up in a collaboration."""

    ui_color = "#e6f3ff"
    service = CLEAN_ROOMS

    def _find_field_shapes(self) -> dict[str, Any]:
        texts = [name for name in self.template_fields if name not in self.connection_fields]
        return {**super()._find_field_shapes(), **dict.fromkeys(texts, TEXT)}

    def _parse_arguments(self, operations: list[str], given: dict[str, Any], **spelling: str) -> dict[str, Any]:
        """Convert arguments to the types of the service model, as a value of another type would match nothing."""
        from airflow_cleanroomsml._requests.request import convert_search

        return convert_search(CLEAN_ROOMS, operations, given, required=["collaboration_identifier"], spelling=spelling)


class CleanRoomsFindMembershipOperator(_LookupOperator):
    """
    Find the caller's active membership of a collaboration.

    :param collaboration_identifier: Collaboration, a UUID.
    :return: Identifier of the membership, a UUID.
    :raises ResourceNotFoundError: The caller's account is not an active member.
    """

    reference = "list_memberships"
    template_fields = ("collaboration_identifier", *CleanRoomsMLOperator.template_fields)

    def __init__(self, *, collaboration_identifier: Templated[str], **kwargs: Unpack[AwsKwargs]) -> None:
        super().__init__(**kwargs)
        self.collaboration_identifier = collaboration_identifier

    def execute(self, context: Context) -> str:
        """List the caller's memberships and find the one of the collaboration."""
        store_request_links(self, context)
        given = {"collaboration_identifier": self.collaboration_identifier}
        wanted = self._parse_arguments(["get_collaboration"], given)["collaboration_identifier"]
        # The other statuses are REMOVED and COLLABORATION_DELETED (service model), with which nothing can be started.
        for membership in self.api.items("list_memberships", {"status": "ACTIVE"}):
            if membership["collaborationId"] == wanted:
                self.log.info(
                    "Found the membership %s in the collaboration %r.",
                    membership["id"],
                    membership["collaborationName"],
                )
                return str(membership["id"])
        raise ResourceNotFoundError(
            join_lines(
                f"collaboration_identifier: this account has no active membership of the collaboration {wanted}.",
                "Check the connection's account and the region; an invited member joins with CreateMembership.",
            )
        )


class CleanRoomsFindConfiguredAudienceModelOperator(_LookupOperator):
    """
    Find the configured audience model that a collaboration offers.

    All offers are pushed to XCom under the key ``offers``: ``configured_audience_model_arn``, ``association_identifier``, ``name`` and
    ``creator_account_id`` of each.

    :param collaboration_identifier: Collaboration, a UUID.
    :param association_name: Name of the association, if there are several.
    :param creator_account_id: Account that created the association, 12 digits, if there are several.
    :return: ARN of the configured audience model, for a generation job.
    :raises ResourceNotFoundError: There is none, or more than one.
    """

    reference = "list_collaboration_configured_audience_model_associations"
    template_fields = (
        "collaboration_identifier",
        "association_name",
        "creator_account_id",
        *CleanRoomsMLOperator.template_fields,
    )

    def __init__(
        self,
        *,
        collaboration_identifier: Templated[str],
        association_name: Templated[str] | None = None,
        creator_account_id: Templated[str] | None = None,
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.collaboration_identifier = collaboration_identifier
        self.association_name = association_name
        self.creator_account_id = creator_account_id

    def execute(self, context: Context) -> str:
        """List the collaboration's associations and read the matching ones."""
        store_request_links(self, context)
        given = {
            "collaboration_identifier": self.collaboration_identifier,
            "association_name": self.association_name,
            "creator_account_id": self.creator_account_id,
        }
        listing = "list_collaboration_configured_audience_model_associations"
        wanted = self._parse_arguments([listing], given, association_name="name")
        collaboration = wanted.pop("collaboration_identifier")
        entries = self._list_associations(collaboration)
        matching = [self._read_offer(collaboration, entry) for entry in entries if _matches(entry, wanted)]
        offers = [offer for offer in matching if offer]
        if len(offers) == 1:
            push_results(self, context, {"offers": offers})
            self.log.info(
                "Found the association %(name)r of account %(creator_account_id)s with the configured audience model "
                "%(configured_audience_model_arn)s.",
                offers[0],
            )
            return str(offers[0]["configured_audience_model_arn"])
        # Before the error: somebody who has to choose one finds the candidates in XCom.
        try_to_push_results(self, context, {"offers": offers})
        found = [f"{offer['name']!r} of account {offer['creator_account_id']}" for offer in offers]
        others = ", ".join(repr(entry["name"]) for entry in entries if not _matches(entry, wanted))
        if found:
            advice = "Set association_name or creator_account_id to choose one."
        elif others:
            advice = f"It has associations with other names or creators: {others}. Correct association_name or creator_account_id."
        else:
            advice = "No member has associated a configured audience model with it yet. Ask the model's owner to create an association."
        raise ResourceNotFoundError(
            join_lines(
                f"The collaboration {collaboration} has {len(offers)} configured audience models that match; the task needs exactly one.",
                *found,
                advice,
            )
        )

    def _list_associations(self, collaboration: str) -> list[dict[str, Any]]:
        arguments = {"collaboration_identifier": collaboration}
        return list(self.api.items("list_collaboration_configured_audience_model_associations", arguments))

    def _read_offer(self, collaboration: str, entry: Mapping[str, Any]) -> dict[str, Any] | None:
        """Read an association, as the listing does not name its model; None if it was deleted since it was listed."""
        arguments = {
            "collaboration_identifier": collaboration,
            "configured_audience_model_association_identifier": entry["id"],
        }
        try:
            response = self.api.call("get_collaboration_configured_audience_model_association", arguments)
        except ResourceNotFoundError:
            return None
        association = response["collaborationConfiguredAudienceModelAssociation"]
        return {
            "configured_audience_model_arn": association["configuredAudienceModelArn"],
            "association_identifier": entry["id"],
            "name": entry["name"],
            "creator_account_id": entry["creatorAccountId"],
        }


def _matches(entry: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    values = {"association_name": entry["name"], "creator_account_id": entry["creatorAccountId"]}
    return all(values[name] == value for name, value in wanted.items())
