"""Configured audience model associations: by them the other members of a collaboration find an audience model, and may use it."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.access import Access
from airflow_cleanroomsml.emulator.backend.configured_audience_model_policy import allow
from airflow_cleanroomsml.emulator.errors import conflict, not_found, quota
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "configured-audience-model-association", "Configured audience model association"


class ConfiguredAudienceModelAssociations(Access):
    """One of a membership; with ``manageResourcePolicies`` it brings a statement of the model's resource policy with it."""

    def create_configured_audience_model_association(
        self,
        caller: Caller,
        *,
        membership_identifier: str,
        configured_audience_model_arn: str,
        configured_audience_model_association_name: str,
        manage_resource_policies: bool,
        description: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """CreateConfiguredAudienceModelAssociation."""
        membership = self.active_membership(caller, membership_identifier)
        model = self.store.get(configured_audience_model_arn, "Configured audience model", caller)
        self._require_room_for_association(membership, model, configured_audience_model_association_name)
        fields = {
            "configuredAudienceModelArn": model.arn,
            "name": configured_audience_model_association_name,
            "manageResourcePolicies": manage_resource_policies,
            "description": description,
            "membershipId": membership.id,
            "membershipArn": membership.arn,
            "membershipIdentifier": membership.id,
            "collaborationId": membership.fields["collaborationId"],
            "collaborationArn": membership.fields["collaborationArn"],
            "collaborationIdentifier": membership.fields["collaborationId"],
            "creatorAccountId": caller.account,
        }
        arn = caller.arn(f"membership/{membership.id}/configuredaudiencemodelassociation", "cleanrooms")
        record = self.store.add(Record(KIND, fields, caller, self.instant(), "arn", dict(tags or {}), arn))
        record.fields["id"] = record.id
        if manage_resource_policies:
            members = self.collaboration(caller, membership.fields["collaborationId"]).fields["members"]
            allow(model, record, [m["accountId"] for m in members if m["accountId"] != caller.account])
        return {"configuredAudienceModelAssociation": record.view()}

    def _require_room_for_association(self, membership: Record, model: Record, name: str) -> None:
        present = list(self.of_membership(KIND, membership))
        self.require_free_name_among(present, NOUN, name)
        if any(record.fields["configuredAudienceModelArn"] == model.arn for record in present):
            raise conflict(f"{model.arn} is associated by the membership {membership.id} already.", "ALREADY_EXISTS")
        limit = self.settings.audience_model_associations_per_membership
        if len(present) >= limit:
            raise quota("Configured audience model associations per membership", limit)

    def _own_association(self, caller: Caller, membership_identifier: str, identifier: str) -> Record:
        for record in self.of_membership(KIND, self.membership(caller, membership_identifier), id=identifier):
            return record
        raise not_found(NOUN, identifier)

    def get_configured_audience_model_association(
        self, caller: Caller, *, membership_identifier: str, configured_audience_model_association_identifier: str
    ) -> dict[str, Any]:
        """GetConfiguredAudienceModelAssociation."""
        record = self._own_association(caller, membership_identifier, configured_audience_model_association_identifier)
        return {"configuredAudienceModelAssociation": record.view()}

    def list_configured_audience_model_associations(self, caller: Caller, *, membership_identifier: str) -> Listing:
        """ListConfiguredAudienceModelAssociations."""
        return self.membership_listing(KIND, caller, membership_identifier)

    def update_configured_audience_model_association(
        self,
        caller: Caller,
        *,
        membership_identifier: str,
        configured_audience_model_association_identifier: str,
        **changes: Any,
    ) -> dict[str, Any]:
        """UpdateConfiguredAudienceModelAssociation: name and description."""
        record = self._own_association(caller, membership_identifier, configured_audience_model_association_identifier)
        others = [
            r for r in self.of_membership(KIND, self.membership(caller, membership_identifier)) if r is not record
        ]
        self.require_free_name_among(others, NOUN, changes.get("name", record.fields["name"]))
        record.fields.update(changes)
        record.updated = self.clock.now()
        return {"configuredAudienceModelAssociation": record.view()}

    def delete_configured_audience_model_association(
        self, caller: Caller, *, membership_identifier: str, configured_audience_model_association_identifier: str
    ) -> dict[str, Any]:
        """DeleteConfiguredAudienceModelAssociation, and what it wrote into the model's policy."""
        record = self._own_association(caller, membership_identifier, configured_audience_model_association_identifier)
        self.withdraw_statement(caller, record)
        self.delete(record)
        return {}

    def get_collaboration_configured_audience_model_association(
        self, caller: Caller, *, collaboration_identifier: str, configured_audience_model_association_identifier: str
    ) -> dict[str, Any]:
        """GetCollaborationConfiguredAudienceModelAssociation."""
        collaboration = self.collaboration(caller, collaboration_identifier)
        identifier = configured_audience_model_association_identifier
        for record in self.of_collaboration(KIND, collaboration.id, id=identifier):
            return {"collaborationConfiguredAudienceModelAssociation": record.view()}
        raise not_found(NOUN, identifier, "COLLABORATION")

    def list_collaboration_configured_audience_model_associations(
        self, caller: Caller, *, collaboration_identifier: str
    ) -> Listing:
        """ListCollaborationConfiguredAudienceModelAssociations."""
        return self.collaboration_listing(KIND, caller, collaboration_identifier)
