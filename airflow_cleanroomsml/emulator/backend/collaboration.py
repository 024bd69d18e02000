"""Collaborations."""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import Any

from airflow_cleanroomsml.emulator.backend.access import COLLABORATION, Access
from airflow_cleanroomsml.emulator.errors import denied, invalid
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record


class Collaborations(Access):
    """The creator names the members; each of them joins by a membership."""

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
        **given: Any,
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
            raise invalid("An account is named twice; members are all accounts but the creator's.")
        fields = {
            **self.spelled("create_collaboration", given),
            "creatorAccountId": caller.account,
            "creatorDisplayName": creator_display_name,
            "autoApprovedChangeTypes": auto_approved_change_request_types,
            "members": [self._member(entry, place) for place, entry in enumerate((creator, *members), 1)],
        }
        arn = caller.arn(COLLABORATION, "cleanrooms")
        record = Record(COLLABORATION, fields, caller, self.instant(), "arn", dict(tags or {}), arn)
        record.fields["id"] = record.id
        return {"collaboration": self._seen_by(caller, self.store.add(record))}

    def _member(self, given: dict[str, Any], place: int) -> dict[str, Any]:
        now = self.clock.now()
        queries = "CAN_QUERY" in given["memberAbilities"]
        payment = given.get("paymentConfiguration") or {"queryCompute": {"isResponsible": queries}}
        return {
            "accountId": given["accountId"],
            "status": "INVITED",
            "displayName": given["displayName"],
            "abilities": given["memberAbilities"],
            "mlAbilities": given.get("mlMemberAbilities") or {"customMLMemberAbilities": []},
            "paymentConfiguration": payment,
            "createTime": now,
            "updateTime": now,
            "sequence": place,
        }

    def _seen_by(self, caller: Caller, record: Record) -> dict[str, Any]:
        member = self.member(record, caller.account) or {}
        own = {name: member.get(name) for name in ("membershipId", "membershipArn")}
        return {**record.view(), **own, "memberStatus": member.get("status")}

    def get_collaboration(self, caller: Caller, *, collaboration_identifier: str) -> dict[str, Any]:
        """GetCollaboration; those who are invited may look, too."""
        record = self.collaboration(caller, collaboration_identifier, "INVITED", "ACTIVE")
        return {"collaboration": self._seen_by(caller, record)}

    def list_collaborations(self, caller: Caller, *, member_status: str | None = None) -> Listing:
        """ListCollaborations: those that the caller is active in or invited to."""
        statuses = (member_status,) if member_status else _PRESENT

        def is_listed(record: Record) -> bool:
            member = self.member(record, caller.account)
            return member is not None and member["status"] in statuses

        return self.store.listing(COLLABORATION, entry=partial(self._seen_by, caller), where=is_listed, member=caller)

    def list_members(self, caller: Caller, *, collaboration_identifier: str) -> Listing:
        """ListMembers."""
        record = self.collaboration(caller, collaboration_identifier, "INVITED", "ACTIVE")
        return Listing(record.fields["members"], entry=dict, position=itemgetter("sequence"))

    def delete_collaboration(self, caller: Caller, *, collaboration_identifier: str) -> dict[str, Any]:
        """DeleteCollaboration, by its creator; what it let others do to audience models ends with it."""
        record = self.find_collaboration(caller, collaboration_identifier)
        if record is None or record.caller != caller:
            raise denied(f"Only its creator may delete the collaboration {collaboration_identifier}.")
        for association in list(self.of_collaboration("configured-audience-model-association", record.id)):
            self.withdraw_statement(caller, association)
            self.delete(association)
        self.delete(record)
        return {}


_PRESENT = ("INVITED", "ACTIVE")
