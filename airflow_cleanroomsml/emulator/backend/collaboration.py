"""Collaborations."""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import Any

from airflow_cleanroomsml.emulator.backend.access import COLLABORATION, Access
from airflow_cleanroomsml.emulator.errors import access_denied_error, validation_error
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record


class Collaborations(Access):
    """Operations on collaborations: the creator invites members, who join by creating a membership."""

    service = "cleanrooms"

    def create_collaboration(
        self,
        caller: Caller,
        *,
        members: list[dict[str, Any]],
        creator_member_abilities: list[str],
        creator_display_name: str,
        creator_ml_member_abilities: dict[str, Any] | None = None,
        creator_payment_configuration: dict[str, Any] | None = None,
        auto_approved_change_request_types: list[str] | None = None,
        tags: dict[str, str] | None = None,
        **arguments: Any,
    ) -> dict[str, Any]:
        """CreateCollaboration."""
        creator = {
            "accountId": caller.account,
            "memberAbilities": creator_member_abilities,
            "mlMemberAbilities": creator_ml_member_abilities,
            "displayName": creator_display_name,
            "paymentConfiguration": creator_payment_configuration,
        }
        accounts = [entry["accountId"] for entry in (creator, *members)]
        if len(set(accounts)) < len(accounts):
            raise validation_error(
                "members: list each account once, and leave out the creator, who is always a member."
            )
        fields = {
            **self.to_api_names("create_collaboration", arguments),
            "creatorAccountId": caller.account,
            "creatorDisplayName": creator_display_name,
            "autoApprovedChangeTypes": auto_approved_change_request_types,
            "members": [self._build_member(entry) for entry in (creator, *members)],
        }
        arn = caller.build_arn(COLLABORATION, "cleanrooms")
        record = Record(COLLABORATION, fields, caller, self.build_instant_lifecycle(), "arn", dict(tags or {}), arn)
        record.fields["id"] = record.id
        return {"collaboration": self._describe_for(caller, self.store.add(record))}

    def _build_member(self, specification: dict[str, Any]) -> dict[str, Any]:
        now = self.clock.now()
        # The member who can query pays for it by default (API reference, CreateCollaboration).
        pays = "CAN_QUERY" in specification["memberAbilities"]
        payment = specification.get("paymentConfiguration") or {"queryCompute": {"isResponsible": pays}}
        return {
            "accountId": specification["accountId"],
            "status": "INVITED",
            "displayName": specification["displayName"],
            "abilities": specification["memberAbilities"],
            "mlAbilities": specification.get("mlMemberAbilities") or {"customMLMemberAbilities": []},
            "paymentConfiguration": payment,
            "createTime": now,
            "updateTime": now,
        }

    def _describe_for(self, caller: Caller, record: Record) -> dict[str, Any]:
        member = self.find_member(record, caller.account) or {}
        membership = {name: member.get(name) for name in ("membershipId", "membershipArn")}
        return {**record.describe(), **membership, "memberStatus": member.get("status")}

    def get_collaboration(self, caller: Caller, *, collaboration_identifier: str) -> dict[str, Any]:
        """GetCollaboration, by its members and those who are invited."""
        record = self.require_collaboration(caller, collaboration_identifier, "INVITED", "ACTIVE")
        return {"collaboration": self._describe_for(caller, record)}

    def list_collaborations(self, caller: Caller, *, member_status: str | None = None) -> Listing:
        """ListCollaborations: those of which the caller is a member, or to which the caller is invited."""
        statuses = (member_status,) if member_status else _PRESENT

        def is_listed(record: Record) -> bool:
            member = self.find_member(record, caller.account)
            return member is not None and member["status"] in statuses

        return self.store.build_listing(
            COLLABORATION, describe=partial(self._describe_for, caller), is_included=is_listed, member=caller
        )

    def list_members(self, caller: Caller, *, collaboration_identifier: str) -> Listing:
        """ListMembers."""
        record = self.require_collaboration(caller, collaboration_identifier, "INVITED", "ACTIVE")
        # A collaboration has few members, so numbering them for each page costs little.
        numbered = list(enumerate(record.fields["members"], 1))
        return Listing(numbered, describe=itemgetter(1), position=itemgetter(0))

    def delete_collaboration(self, caller: Caller, *, collaboration_identifier: str) -> dict[str, Any]:
        """DeleteCollaboration, by its creator; also deletes its configured audience model associations and their policy statements."""
        record = self.find_collaboration(caller, collaboration_identifier)
        # "It can only be called by the collaboration owner" (API reference).
        if record is None or record.caller != caller:
            raise access_denied_error(f"Only the creator can delete the collaboration {collaboration_identifier}.")
        for association in list(self.find_in_collaboration("configured-audience-model-association", record.id)):
            self.remove_managed_statement(caller, association)
            self.delete(association)
        self.delete(record)
        return {}


_PRESENT = ("INVITED", "ACTIVE")
