"""Configured model algorithm associations, by which a member offers an algorithm to a collaboration."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.access import Access
from airflow_cleanroomsml.emulator.errors import conflict_error, validation_error
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "configured-model-algorithm-association", "Configured model algorithm association"
_ENDED = ("INACTIVE", "CREATE_FAILED")


class ConfiguredModelAlgorithmAssociations(Access):
    """Operations on associations, which are immutable (user guide, associate-model-algorithm)."""

    def create_configured_model_algorithm_association(
        self, caller: Caller, *, membership_identifier: str, tags: dict[str, str] | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """CreateConfiguredModelAlgorithmAssociation."""
        membership = self.require_active_membership(caller, membership_identifier)
        fields = self.to_api_names("create_configured_model_algorithm_association", arguments)
        self.store.get(fields["configuredModelAlgorithmArn"], "Configured model algorithm", caller)
        self.require_free_name_among(self.find_in_membership(KIND, membership), NOUN, fields["name"])
        return self.add_resource(
            KIND, membership, fields, self.build_instant_lifecycle(), tags, "configuredModelAlgorithmAssociationArn"
        ).describe()

    def get_configured_model_algorithm_association(
        self, caller: Caller, *, membership_identifier: str, configured_model_algorithm_association_arn: str
    ) -> dict[str, Any]:
        """GetConfiguredModelAlgorithmAssociation."""
        return self.require_in_membership(
            caller, membership_identifier, KIND, NOUN, configured_model_algorithm_association_arn
        ).describe()

    def list_configured_model_algorithm_associations(self, caller: Caller, *, membership_identifier: str) -> Listing:
        """ListConfiguredModelAlgorithmAssociations."""
        return self.build_membership_listing(KIND, caller, membership_identifier)

    def get_collaboration_configured_model_algorithm_association(
        self, caller: Caller, *, collaboration_identifier: str, configured_model_algorithm_association_arn: str
    ) -> dict[str, Any]:
        """GetCollaborationConfiguredModelAlgorithmAssociation."""
        identifier = self.require_collaboration(caller, collaboration_identifier).id
        return self.require_in_collaboration(
            KIND, NOUN, identifier, configured_model_algorithm_association_arn
        ).describe()

    def list_collaboration_configured_model_algorithm_associations(
        self, caller: Caller, *, collaboration_identifier: str
    ) -> Listing:
        """ListCollaborationConfiguredModelAlgorithmAssociations."""
        return self.build_collaboration_listing(KIND, caller, collaboration_identifier)

    def delete_configured_model_algorithm_association(
        self, caller: Caller, *, membership_identifier: str, configured_model_algorithm_association_arn: str
    ) -> dict[str, Any]:
        """DeleteConfiguredModelAlgorithmAssociation; rejected while channels or models that use it have data, or an inference job runs."""
        record = self.require_in_membership(
            caller, membership_identifier, KIND, NOUN, configured_model_algorithm_association_arn
        )
        users = [r for kind in ("ml-input-channel", "trained-model") for r in self.store.find(kind) if _uses(r, record)]
        busy = [r for r in self.store.find("trained-model-inference-job") if _uses(r, record) and r.status in PENDING]
        for user in (*(r for r in users if r.status not in _ENDED), *busy):
            raise conflict_error(
                f"The configured model algorithm association {record.arn} cannot be deleted while {user.arn} uses it."
            )
        self.delete(record)
        return {}


def _uses(user: Record, association: Record) -> bool:
    # An input channel has a list of associations, a model or job a single one.
    associations = user.fields.get("configuredModelAlgorithmAssociations", ())
    return association.arn in (user.fields.get("configuredModelAlgorithmAssociationArn"), *associations)


class AlgorithmLookup(Access):
    """Looks up associations for other kinds of resources."""

    def require_association(self, membership: Record, arn: str, container: str = "") -> Record:
        """
        Return an association in the collaboration of a membership.

        :param container: Container that the algorithm must have, for instance ``trainingContainerConfig``; empty for none.
        """
        record = self.require_in_collaboration(KIND, NOUN, membership.fields["collaborationId"], arn)
        algorithm = self.store.get(record.fields["configuredModelAlgorithmArn"], "Configured model algorithm")
        if container and container not in algorithm.fields:
            raise validation_error(
                f"The configured model algorithm of the association {arn} has no {container}, which this operation requires."
            )
        return record
