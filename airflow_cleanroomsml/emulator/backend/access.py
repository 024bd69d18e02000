"""Access to collaborations and memberships, for all kinds of resources that belong to a membership."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_cleanroomsml._requests.permissions import REMOVE_STATEMENT
from airflow_cleanroomsml.emulator.backend.base import BackendBase
from airflow_cleanroomsml.emulator.backend.configured_audience_model_policy import remove_statement
from airflow_cleanroomsml.emulator.errors import access_denied_error, not_found_error, validation_error
from airflow_cleanroomsml.emulator.lifecycle import Lifecycle
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

COLLABORATION = "collaboration"
MEMBERSHIP = "membership"


class Access(BackendBase):
    """Lookups in collaborations, which their members see, and in memberships, which only their own account sees."""

    def require_membership(self, caller: Caller, identifier: str) -> Record:
        """
        Return a membership of the caller.

        :raises ApiError: ``ResourceNotFoundException``.
        """
        # AWS does not document the error for the membership of another account; see docs/assumptions.md, "resources of others".
        for record in self.store.find(MEMBERSHIP, caller, id=identifier):
            return record
        raise not_found_error("Membership", identifier)

    def require_active_membership(self, caller: Caller, identifier: str, ability: str = "") -> Record:
        """
        Return a membership of the caller whose collaboration still exists.

        :param ability: Ability that the member must have, for instance ``CAN_QUERY``; empty for none.
        :raises ApiError: ``ResourceNotFoundException``, or ``AccessDeniedException`` if the collaboration was deleted.
        """
        record = self.require_membership(caller, identifier)
        self.require_collaboration(caller, record.fields["collaborationId"])
        if ability and ability not in record.fields["memberAbilities"]:
            raise access_denied_error(
                f"Membership {identifier} lacks the member ability {ability}, which this operation requires."
            )
        return record

    def find_collaboration(self, caller: Caller, identifier: str) -> Record | None:
        """Return a collaboration in the caller's region, whether or not the caller is a member."""
        # A collaboration exists in a single region, but its members can be any accounts (user guide, create-collaboration).
        records = self.store.find(COLLABORATION, id=identifier)
        return next((record for record in records if record.caller.region == caller.region), None)

    def require_collaboration(self, caller: Caller, identifier: str, *statuses: str) -> Record:
        """
        Return a collaboration of which the caller is a member.

        :param statuses: Allowed statuses of the member; without any, ACTIVE.
        :raises ApiError: ``AccessDeniedException``, also if there is no such collaboration: outsiders must not learn which exist.
        """
        record = self.find_collaboration(caller, identifier)
        member = self.find_member(record, caller.account) if record else None
        if record is None or member is None or member["status"] not in (statuses or ("ACTIVE",)):
            raise access_denied_error(
                f"Account {caller.account} is not an active member of the collaboration {identifier}."
            )
        return record

    def find_member(self, collaboration: Record, account: str) -> dict[str, Any] | None:
        """Return the entry of an account in a collaboration; None for an account that was not invited."""
        members: list[dict[str, Any]] = collaboration.fields["members"]
        return next((entry for entry in members if entry["accountId"] == account), None)

    def require_receiver(self, caller: Caller, membership: Record, account: str, ability: str) -> None:
        """Reject a receiver who is not an active member with an ability."""
        collaboration = self.require_collaboration(caller, membership.fields["collaborationId"])
        member = self.find_member(collaboration, account)
        if member is None or member["status"] != "ACTIVE":
            raise validation_error(
                f"Account {account} is not an active member of the collaboration {collaboration.id}."
            )
        if ability not in member.get("mlAbilities", {}).get("customMLMemberAbilities", ()):
            raise validation_error(
                f"Account {account} lacks the member ability {ability} and cannot receive this output."
            )

    def require_payers(self, caller: Caller, membership: Record, accounts: list[str | None]) -> None:
        """Reject a payer that is not a member of the collaboration."""
        collaboration = self.require_collaboration(caller, membership.fields["collaborationId"])
        for account in accounts:
            if account is not None and self.find_member(collaboration, account) is None:
                raise validation_error(f"The payer {account} is not a member of the collaboration {collaboration.id}.")

    def find_in_membership(self, kind: str, membership: Record, **members: Any) -> Iterator[Record]:
        """Find the resources of a kind that belong to a membership."""
        return self.store.find(kind, membership_id=membership.id, **members)

    def find_in_collaboration(self, kind: str, identifier: str, **members: Any) -> Iterator[Record]:
        """Find the resources of a kind that belong to any member of a collaboration."""
        return self.store.find(kind, collaboration_id=identifier, **members)

    def build_membership_listing(self, kind: str, caller: Caller, identifier: str, **options: Any) -> Listing:
        """
        Build a listing of the resources of a kind that belong to a membership of the caller.

        :param options: As for :meth:`Store.build_listing`.
        """
        membership = self.require_membership(caller, identifier)
        return self.store.build_listing(kind, membership_id=membership.id, **options)

    def build_collaboration_listing(self, kind: str, caller: Caller, identifier: str, **options: Any) -> Listing:
        """
        Build a listing of the resources of a kind that belong to any member of a collaboration of the caller.

        :param options: As for :meth:`Store.build_listing`.
        """
        collaboration = self.require_collaboration(caller, identifier)
        return self.store.build_listing(kind, collaboration_id=collaboration.id, **options)

    def remove_managed_statement(self, caller: Caller, association: Record) -> None:
        """Remove the statement of a configured audience model association from the model's policy."""
        if association.fields["manageResourcePolicies"]:
            self.require_permissions(caller, REMOVE_STATEMENT, association.fields["configuredAudienceModelArn"])
        remove_statement(self.store, association)

    def require_in_membership(
        self, caller: Caller, membership_identifier: str, kind: str, noun: str, arn: str
    ) -> Record:
        """Return a resource of a membership of the caller."""
        for record in self.find_in_membership(kind, self.require_membership(caller, membership_identifier), arn=arn):
            return record
        raise not_found_error(noun, arn)

    def require_in_collaboration(self, kind: str, noun: str, collaboration_identifier: str, arn: str) -> Record:
        """Return a resource of any member of a collaboration."""
        for record in self.find_in_collaboration(kind, collaboration_identifier, arn=arn):
            return record
        raise not_found_error(noun, arn)

    def add_resource(
        self,
        kind: str,
        membership: Record,
        fields: dict[str, Any],
        lifecycle: Lifecycle,
        tags: dict[str, str] | None,
        member: str,
        arn: str = "",
        details: Any = None,
    ) -> Record:
        """
        Add a resource to a membership; its ARN contains the membership.

        :param member: Member that holds its ARN; empty for a kind without ARNs.
        :param arn: ARN that it shares with another resource; empty for a new one.
        :param details: As for :class:`Record`.
        """
        caller = membership.caller
        # ARNs of resources in a membership contain its identifier (service authorization reference, resource types).
        arn = arn or caller.build_arn(f"membership/{membership.id}/{kind}")
        parents = (membership.id, membership.fields["collaborationId"])
        return self.store.add(
            Record(kind, fields, caller, lifecycle, member, dict(tags or {}), arn, *parents, details=details)
        )
