"""Who may do what in a collaboration: what all nouns of a membership share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_cleanroomsml._requests.permissions import REMOVE_STATEMENT
from airflow_cleanroomsml.emulator.backend.base import BackendBase
from airflow_cleanroomsml.emulator.backend.configured_audience_model_policy import withdraw
from airflow_cleanroomsml.emulator.errors import denied, invalid, not_found
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

COLLABORATION = "collaboration"
MEMBERSHIP = "membership"


class Access(BackendBase):
    """Collaborations are seen by their members, memberships by the account that made them."""

    def membership(self, caller: Caller, identifier: str) -> Record:
        """
        A membership of the caller.

        :raises ApiError: ``ResourceNotFoundException``.
        """
        for record in self.store.all(MEMBERSHIP, caller, id=identifier):
            return record
        raise not_found("Membership", identifier)

    def active_membership(self, caller: Caller, identifier: str, ability: str = "") -> Record:
        """
        A membership of the caller that may still be used.

        :param ability: What the member must be able to, for instance ``CAN_QUERY``; empty for nothing.
        :raises ApiError: ``AccessDeniedException`` also where the collaboration is gone.
        """
        record = self.membership(caller, identifier)
        self.collaboration(caller, record.fields["collaborationId"])
        if ability and ability not in record.fields["memberAbilities"]:
            raise denied(f"Membership {identifier} does not have the ability {ability}.")
        return record

    def find_collaboration(self, caller: Caller, identifier: str) -> Record | None:
        """A collaboration in the caller's region, whoever its members are."""
        found = self.store.all(COLLABORATION, id=identifier)
        return next((record for record in found if record.caller.region == caller.region), None)

    def collaboration(self, caller: Caller, identifier: str, *statuses: str) -> Record:
        """
        A collaboration of which the caller is a member.

        :param statuses: The caller's status in it must be one of these; ACTIVE if none is given.
        :raises ApiError: ``AccessDeniedException``, also where there is none: that is no news for strangers.
        """
        record = self.find_collaboration(caller, identifier)
        member = self.member(record, caller.account) if record else None
        if record is None or member is None or member["status"] not in (statuses or ("ACTIVE",)):
            raise denied(f"Account {caller.account} is no member of the collaboration {identifier}.")
        return record

    def member(self, collaboration: Record, account: str) -> dict[str, Any] | None:
        """What the collaboration says of an account."""
        members: list[dict[str, Any]] = collaboration.fields["members"]
        return next((entry for entry in members if entry["accountId"] == account), None)

    def require_receiver(self, caller: Caller, membership: Record, account: str, ability: str) -> None:
        """Refuse an account that is no active member with the ability to receive an output."""
        collaboration = self.collaboration(caller, membership.fields["collaborationId"])
        found = self.member(collaboration, account)
        if found is None or found["status"] != "ACTIVE":
            raise invalid(f"Account {account} is no active member of the collaboration {collaboration.id}.")
        if ability not in found.get("mlAbilities", {}).get("customMLMemberAbilities", ()):
            raise invalid(f"Account {account} does not have the ability {ability}.")

    def of_membership(self, kind: str, membership: Record, **members: Any) -> Iterator[Record]:
        """Resources of a kind that were made with a membership."""
        return self.store.all(kind, membershipIdentifier=membership.id, **members)

    def of_collaboration(self, kind: str, identifier: str, **members: Any) -> Iterator[Record]:
        """Resources of a kind in a collaboration, of all members."""
        return self.store.all(kind, collaborationIdentifier=identifier, **members)

    def membership_listing(self, kind: str, caller: Caller, identifier: str, **more: Any) -> Listing:
        """
        List the resources of a kind that were made with a membership of the caller.

        :param more: As for :meth:`Store.listing`.
        """
        return self.store.listing(kind, membershipIdentifier=self.membership(caller, identifier).id, **more)

    def collaboration_listing(self, kind: str, caller: Caller, identifier: str, **more: Any) -> Listing:
        """
        List the resources of a kind in a collaboration of the caller, of all members.

        :param more: As for :meth:`Store.listing`.
        """
        return self.store.listing(kind, collaborationIdentifier=self.collaboration(caller, identifier).id, **more)

    def withdraw_statement(self, caller: Caller, association: Record) -> None:
        """Take the statement of a configured audience model association out of the model's policy, where Clean Rooms manages it."""
        if association.fields["manageResourcePolicies"]:
            self.require_permissions(caller, REMOVE_STATEMENT, association.fields["configuredAudienceModelArn"])
        withdraw(self.store, association)

    def own(self, caller: Caller, membership_identifier: str, kind: str, noun: str, arn: str) -> Record:
        """A resource of one of the caller's memberships."""
        for record in self.of_membership(kind, self.membership(caller, membership_identifier), arn=arn):
            return record
        raise not_found(noun, arn)

    def shared(self, kind: str, noun: str, collaboration_identifier: str, arn: str) -> Record:
        """A resource of any member of a collaboration."""
        for record in self.of_collaboration(kind, collaboration_identifier, arn=arn):
            return record
        raise not_found(noun, arn)

    def make(
        self,
        kind: str,
        membership: Record,
        fields: dict[str, Any],
        life: Any,
        tags: dict[str, str] | None,
        member: str,
        arn: str = "",
    ) -> Record:
        """
        A new resource of a membership: its ARN names the membership, its fields the collaboration and the creator.

        :param arn: ARN that it shares with another; empty for one of its own.
        """
        caller = membership.caller
        of = {
            "membershipIdentifier": membership.id,
            "collaborationIdentifier": membership.fields["collaborationId"],
            "creatorAccountId": caller.account,
        }
        arn = arn or caller.arn(f"membership/{membership.id}/{kind}")
        return self.store.add(Record(kind, {**fields, **of}, caller, life, member, dict(tags or {}), arn))
