"""Memberships."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.access import MEMBERSHIP, Access
from airflow_cleanroomsml.emulator.errors import access_denied_error, conflict_error, not_found_error
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

#: Kinds of resources that prevent the deletion of a membership, and in which statuses; in any status if none is listed.
_RESOURCES: dict[str, tuple[str, ...]] = {
    "configured-audience-model-association": (),
    "configured-model-algorithm-association": (),
    "ml-configuration": (),
    # Channels and models are never deleted completely: without their data they stay INACTIVE, and must not block the membership.
    "ml-input-channel": ("ACTIVE", *PENDING, "DELETE_PENDING", "DELETE_IN_PROGRESS"),
    "trained-model": (
        *("ACTIVE", *PENDING, "DELETE_PENDING", "DELETE_IN_PROGRESS"),
        *("CANCEL_PENDING", "CANCEL_IN_PROGRESS"),
    ),
    # Neither kind of job can be deleted, so only running ones count.
    "trained-model-inference-job": (*PENDING, "CANCEL_PENDING", "CANCEL_IN_PROGRESS"),
    "trained-model-export-job": PENDING,
}


class Memberships(Access):
    """Operations on memberships; a member joins a collaboration by creating one."""

    service = "cleanrooms"

    def create_membership(
        self,
        caller: Caller,
        *,
        collaboration_identifier: str,
        payment_configuration: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
        **arguments: Any,
    ) -> dict[str, Any]:
        """CreateMembership; accepts an invitation, which is possible once."""
        collaboration = self.find_collaboration(caller, collaboration_identifier)
        if collaboration is None:
            raise not_found_error("Collaboration", collaboration_identifier, "COLLABORATION")
        member = self.find_member(collaboration, caller.account)
        if member is not None and member["status"] == "ACTIVE":
            raise conflict_error(
                f"Account {caller.account} is already a member of the collaboration {collaboration.id}.",
                "ALREADY_EXISTS",
                resourceId=member["membershipId"],
                resourceType="MEMBERSHIP",
            )
        if member is None or member["status"] != "INVITED":
            raise access_denied_error(
                f"Account {caller.account} is not invited to the collaboration {collaboration.id}."
            )
        fields = {
            **self.to_api_names("create_membership", arguments),
            "collaborationArn": collaboration.arn,
            "collaborationId": collaboration.id,
            "collaborationCreatorAccountId": collaboration.fields["creatorAccountId"],
            "collaborationCreatorDisplayName": collaboration.fields["creatorDisplayName"],
            "collaborationName": collaboration.fields["name"],
            "memberAbilities": member["abilities"],
            "mlMemberAbilities": member["mlAbilities"],
            "paymentConfiguration": payment_configuration or member["paymentConfiguration"],
        }
        arn = caller.build_arn(MEMBERSHIP, "cleanrooms")
        record = Record(MEMBERSHIP, fields, caller, self.build_instant_lifecycle(), "arn", dict(tags or {}), arn)
        record.fields["id"] = record.id
        now = self.clock.now()
        member.update(status="ACTIVE", membershipId=record.id, membershipArn=record.arn, updateTime=now)
        return {"membership": self._describe(self.store.add(record))}

    def _describe(self, record: Record) -> dict[str, Any]:
        # An assumption: a membership outlives its collaboration, so that its resources can still be deleted.
        collaboration = self.find_collaboration(record.caller, record.fields["collaborationId"])
        return {**record.describe(), "status": "ACTIVE" if collaboration else "COLLABORATION_DELETED"}

    def get_membership(self, caller: Caller, *, membership_identifier: str) -> dict[str, Any]:
        """GetMembership."""
        return {"membership": self._describe(self.require_membership(caller, membership_identifier))}

    def list_memberships(self, caller: Caller, *, status: str | None = None) -> Listing:
        """ListMemberships."""
        return self.store.build_listing(
            MEMBERSHIP,
            caller,
            describe=self._describe,
            is_included=lambda record: status is None or self._describe(record)["status"] == status,
        )

    def delete_membership(self, caller: Caller, *, membership_identifier: str) -> dict[str, Any]:
        """DeleteMembership: "All resources under a membership must be deleted" (API reference)."""
        record = self.require_membership(caller, membership_identifier)
        for kind, statuses in _RESOURCES.items():
            for resource in self.find_in_membership(kind, record):
                if not statuses or resource.status in statuses:
                    raise conflict_error(
                        f"The membership {record.id} cannot be deleted while it has this {_describe_kind(kind)}: {resource.arn}.",
                        "SUBRESOURCES_EXIST",
                        resourceId=record.id,
                        resourceType="MEMBERSHIP",
                    )
        collaboration = self.find_collaboration(caller, record.fields["collaborationId"])
        member = self.find_member(collaboration, caller.account) if collaboration else None
        if member is not None:
            del member["membershipId"], member["membershipArn"]
            member.update(status="LEFT", updateTime=self.clock.now())
        self.delete(record)
        return {}


def _describe_kind(kind: str) -> str:
    return kind.replace("-", " ").replace("ml ", "ML ")
