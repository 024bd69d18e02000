"""Configured model algorithm associations: a collaboration may use an algorithm, on the terms of its provider."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.access import Access
from airflow_cleanroomsml.emulator.errors import conflict, invalid
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "configured-model-algorithm-association", "Configured model algorithm association"
_OVER = ("INACTIVE", "CREATE_FAILED")


class ConfiguredModelAlgorithmAssociations(Access):
    """Immutable; made by the account of the algorithm, used by all members."""

    def create_configured_model_algorithm_association(
        self, caller: Caller, *, membership_identifier: str, tags: dict[str, str] | None = None, **given: Any
    ) -> dict[str, Any]:
        """CreateConfiguredModelAlgorithmAssociation."""
        membership = self.active_membership(caller, membership_identifier)
        fields = self.spelled("create_configured_model_algorithm_association", given)
        self.store.get(fields["configuredModelAlgorithmArn"], "Configured model algorithm", caller)
        self.require_free_name_among(self.of_membership(KIND, membership), NOUN, fields["name"])
        return self.make(
            KIND, membership, fields, self.instant(), tags, "configuredModelAlgorithmAssociationArn"
        ).view()

    def get_configured_model_algorithm_association(
        self, caller: Caller, *, membership_identifier: str, configured_model_algorithm_association_arn: str
    ) -> dict[str, Any]:
        """GetConfiguredModelAlgorithmAssociation."""
        return self.own(caller, membership_identifier, KIND, NOUN, configured_model_algorithm_association_arn).view()

    def list_configured_model_algorithm_associations(self, caller: Caller, *, membership_identifier: str) -> Listing:
        """ListConfiguredModelAlgorithmAssociations."""
        return self.membership_listing(KIND, caller, membership_identifier)

    def get_collaboration_configured_model_algorithm_association(
        self, caller: Caller, *, collaboration_identifier: str, configured_model_algorithm_association_arn: str
    ) -> dict[str, Any]:
        """GetCollaborationConfiguredModelAlgorithmAssociation."""
        identifier = self.collaboration(caller, collaboration_identifier).id
        return self.shared(KIND, NOUN, identifier, configured_model_algorithm_association_arn).view()

    def list_collaboration_configured_model_algorithm_associations(
        self, caller: Caller, *, collaboration_identifier: str
    ) -> Listing:
        """ListCollaborationConfiguredModelAlgorithmAssociations."""
        return self.collaboration_listing(KIND, caller, collaboration_identifier)

    def delete_configured_model_algorithm_association(
        self, caller: Caller, *, membership_identifier: str, configured_model_algorithm_association_arn: str
    ) -> dict[str, Any]:
        """DeleteConfiguredModelAlgorithmAssociation; refused while data made with it is there, or a job runs."""
        record = self.own(caller, membership_identifier, KIND, NOUN, configured_model_algorithm_association_arn)
        users = [r for kind in ("ml-input-channel", "trained-model") for r in self.store.all(kind) if _uses(r, record)]
        busy = [r for r in self.store.all("trained-model-inference-job") if _uses(r, record) and r.status in PENDING]
        for user in (*(r for r in users if r.status not in _OVER), *busy):
            raise conflict(f"{user.arn} depends on the configured model algorithm association {record.arn}.")
        self.delete(record)
        return {}


def _uses(user: Record, association: Record) -> bool:
    named = user.fields.get("configuredModelAlgorithmAssociations", ())
    return association.arn in (user.fields.get("configuredModelAlgorithmAssociationArn"), *named)


class Algorithms(Access):
    """How other nouns find what an association stands for."""

    def association(self, membership: Record, arn: str, container: str = "") -> Record:
        """
        An association in the collaboration of a membership.

        :param container: Container that its algorithm must have, for instance ``trainingContainerConfig``; empty for none.
        """
        record = self.shared(KIND, NOUN, membership.fields["collaborationId"], arn)
        algorithm = self.store.get(record.fields["configuredModelAlgorithmArn"], "Configured model algorithm")
        if container and container not in algorithm.fields:
            raise invalid(f"The algorithm of {arn} has no {container}.")
        return record
