"""Memberships."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.access import MEMBERSHIP, Access
from airflow_cleanroomsml.emulator.errors import conflict, denied, not_found
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

#: What must be gone before its membership, and the statuses in which it counts; without statuses it always does.
_RESOURCES: dict[str, tuple[str, ...]] = {
    "configured-audience-model-association": (),
    "configured-model-algorithm-association": (),
    "ml-configuration": (),
    "ml-input-channel": ("ACTIVE", *PENDING, "DELETE_PENDING", "DELETE_IN_PROGRESS"),
    "trained-model": (
        *("ACTIVE", *PENDING, "DELETE_PENDING", "DELETE_IN_PROGRESS"),
        *("CANCEL_PENDING", "CANCEL_IN_PROGRESS"),
    ),
    "trained-model-inference-job": (*PENDING, "CANCEL_PENDING", "CANCEL_IN_PROGRESS"),
    "trained-model-export-job": PENDING,
}


class Memberships(Access):
    """How a member joins a collaboration, one a member."""

    def create_membership(
        self,
        caller: Caller,
        *,
        collaboration_identifier: str,
        payment_configuration: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
        **given: Any,
    ) -> dict[str, Any]:
        """CreateMembership; it takes an invitation up, and each can be taken up once."""
        collaboration = self.find_collaboration(caller, collaboration_identifier)
        if collaboration is None:
            raise not_found("Collaboration", collaboration_identifier, "COLLABORATION")
        member = self.member(collaboration, caller.account)
        if member is not None and member["status"] == "ACTIVE":
            raise conflict(
                f"Account {caller.account} is a member of the collaboration {collaboration.id} already.",
                "ALREADY_EXISTS",
                resourceId=member["membershipId"],
                resourceType="MEMBERSHIP",
            )
        if member is None or member["status"] != "INVITED":
            raise denied(f"Account {caller.account} is not invited to the collaboration {collaboration.id}.")
        fields = {
            **self.spelled("create_membership", given),
            "collaborationArn": collaboration.arn,
            "collaborationId": collaboration.id,
            "collaborationCreatorAccountId": collaboration.fields["creatorAccountId"],
            "collaborationCreatorDisplayName": collaboration.fields["creatorDisplayName"],
            "collaborationName": collaboration.fields["name"],
            "memberAbilities": member["abilities"],
            "mlMemberAbilities": member["mlAbilities"],
            "paymentConfiguration": payment_configuration or member["paymentConfiguration"],
        }
        arn = caller.arn(MEMBERSHIP, "cleanrooms")
        record = Record(MEMBERSHIP, fields, caller, self.instant(), "arn", dict(tags or {}), arn)
        record.fields["id"] = record.id
        now = self.clock.now()
        member.update(status="ACTIVE", membershipId=record.id, membershipArn=record.arn, updateTime=now)
        return {"membership": self._view(self.store.add(record))}

    def _view(self, record: Record) -> dict[str, Any]:
        there = self.find_collaboration(record.caller, record.fields["collaborationId"])
        return {**record.view(), "status": "ACTIVE" if there else "COLLABORATION_DELETED"}

    def get_membership(self, caller: Caller, *, membership_identifier: str) -> dict[str, Any]:
        """GetMembership."""
        return {"membership": self._view(self.membership(caller, membership_identifier))}

    def list_memberships(self, caller: Caller, *, status: str | None = None) -> Listing:
        """ListMemberships."""
        return self.store.listing(
            MEMBERSHIP,
            caller,
            entry=self._view,
            where=lambda record: status is None or self._view(record)["status"] == status,
        )

    def delete_membership(self, caller: Caller, *, membership_identifier: str) -> dict[str, Any]:
        """DeleteMembership: "All resources under a membership must be deleted" (API reference)."""
        record = self.membership(caller, membership_identifier)
        for kind, statuses in _RESOURCES.items():
            for found in self.of_membership(kind, record):
                if not statuses or found.status in statuses:
                    raise conflict(
                        f"There is a {kind.replace('-', ' ')} of the membership {record.id}: {found.arn}.",
                        "SUBRESOURCES_EXIST",
                        resourceId=record.id,
                        resourceType="MEMBERSHIP",
                    )
        collaboration = self.find_collaboration(caller, record.fields["collaborationId"])
        member = self.member(collaboration, caller.account) if collaboration else None
        if member is not None:
            del member["membershipId"], member["membershipArn"]
            member.update(status="LEFT", updateTime=self.clock.now())
        self.delete(record)
        return {}
