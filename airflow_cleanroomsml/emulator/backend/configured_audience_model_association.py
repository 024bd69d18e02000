"""Configured audience model associations, by which a member offers an audience model to a collaboration."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.access import Access
from airflow_cleanroomsml.emulator.backend.configured_audience_model_policy import add_statement
from airflow_cleanroomsml.emulator.errors import conflict_error, not_found_error, quota_error
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "configured-audience-model-association", "Configured audience model association"


class ConfiguredAudienceModelAssociations(Access):
    """Operations on associations; with ``manageResourcePolicies`` they add a statement to the model's resource policy."""

    service = "cleanrooms"

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
        membership = self.require_active_membership(caller, membership_identifier)
        model = self.store.get(configured_audience_model_arn, "Configured audience model", caller)
        self._check_new_association(membership, model, configured_audience_model_association_name)
        fields = {
            "configuredAudienceModelArn": model.arn,
            "name": configured_audience_model_association_name,
            "manageResourcePolicies": manage_resource_policies,
            "description": description,
            "membershipId": membership.id,
            "membershipArn": membership.arn,
            "collaborationId": membership.fields["collaborationId"],
            "collaborationArn": membership.fields["collaborationArn"],
        }
        arn = caller.build_arn(f"membership/{membership.id}/configuredaudiencemodelassociation", "cleanrooms")
        record = self.add_resource(KIND, membership, fields, self.build_instant_lifecycle(), tags, "arn", arn)
        record.fields["id"] = record.id
        if manage_resource_policies:
            # A statement for the members at this time; AWS does not document what later members may do.
            members = self.require_collaboration(caller, membership.fields["collaborationId"]).fields["members"]
            add_statement(model, record, [m["accountId"] for m in members if m["accountId"] != caller.account])
        return {"configuredAudienceModelAssociation": record.describe()}

    def _check_new_association(self, membership: Record, model: Record, name: str) -> None:
        present = list(self.find_in_membership(KIND, membership))
        self.require_free_name_among(present, NOUN, name)
        if any(record.fields["configuredAudienceModelArn"] == model.arn for record in present):
            raise conflict_error(
                f"The configured audience model {model.arn} is already associated with the membership {membership.id}.",
                "ALREADY_EXISTS",
            )
        limit = self.settings.audience_model_associations_per_membership
        if len(present) >= limit:
            raise quota_error("Configured audience model associations per membership", limit)

    def _require_own_association(self, caller: Caller, membership_identifier: str, identifier: str) -> Record:
        for record in self.find_in_membership(
            KIND, self.require_membership(caller, membership_identifier), id=identifier
        ):
            return record
        raise not_found_error(NOUN, identifier)

    def get_configured_audience_model_association(
        self, caller: Caller, *, membership_identifier: str, configured_audience_model_association_identifier: str
    ) -> dict[str, Any]:
        """GetConfiguredAudienceModelAssociation."""
        record = self._require_own_association(
            caller, membership_identifier, configured_audience_model_association_identifier
        )
        return {"configuredAudienceModelAssociation": record.describe()}

    def list_configured_audience_model_associations(self, caller: Caller, *, membership_identifier: str) -> Listing:
        """ListConfiguredAudienceModelAssociations."""
        return self.build_membership_listing(KIND, caller, membership_identifier)

    def update_configured_audience_model_association(
        self,
        caller: Caller,
        *,
        membership_identifier: str,
        configured_audience_model_association_identifier: str,
        **changes: Any,
    ) -> dict[str, Any]:
        """UpdateConfiguredAudienceModelAssociation; only name and description can be changed."""
        record = self._require_own_association(
            caller, membership_identifier, configured_audience_model_association_identifier
        )
        others = [
            r
            for r in self.find_in_membership(KIND, self.require_membership(caller, membership_identifier))
            if r is not record
        ]
        self.require_free_name_among(others, NOUN, changes.get("name", record.fields["name"]))
        record.fields.update(changes)
        record.updated = self.clock.now()
        return {"configuredAudienceModelAssociation": record.describe()}

    def delete_configured_audience_model_association(
        self, caller: Caller, *, membership_identifier: str, configured_audience_model_association_identifier: str
    ) -> dict[str, Any]:
        """DeleteConfiguredAudienceModelAssociation, and the statement that it added to the model's policy."""
        record = self._require_own_association(
            caller, membership_identifier, configured_audience_model_association_identifier
        )
        self.remove_managed_statement(caller, record)
        self.delete(record)
        return {}

    def get_collaboration_configured_audience_model_association(
        self, caller: Caller, *, collaboration_identifier: str, configured_audience_model_association_identifier: str
    ) -> dict[str, Any]:
        """GetCollaborationConfiguredAudienceModelAssociation."""
        collaboration = self.require_collaboration(caller, collaboration_identifier)
        identifier = configured_audience_model_association_identifier
        for record in self.find_in_collaboration(KIND, collaboration.id, id=identifier):
            return {"collaborationConfiguredAudienceModelAssociation": record.describe()}
        raise not_found_error(NOUN, identifier, "COLLABORATION")

    def list_collaboration_configured_audience_model_associations(
        self, caller: Caller, *, collaboration_identifier: str
    ) -> Listing:
        """ListCollaborationConfiguredAudienceModelAssociations."""
        return self.build_collaboration_listing(KIND, caller, collaboration_identifier)
