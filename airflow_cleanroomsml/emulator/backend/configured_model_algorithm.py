"""Configured model algorithms."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.base import BackendBase
from airflow_cleanroomsml.emulator.errors import conflict_error
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "configured-model-algorithm", "Configured model algorithm"


class ConfiguredModelAlgorithms(BackendBase):
    """Operations on configured model algorithms; the emulator does not pull their container images."""

    def create_configured_model_algorithm(
        self, caller: Caller, *, tags: dict[str, str] | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """CreateConfiguredModelAlgorithm."""
        fields = self.to_api_names("create_configured_model_algorithm", arguments)
        self.require_own_role(caller, fields["roleArn"])
        self.require_free_name(caller, KIND, NOUN, fields["name"])
        record = Record(
            KIND, fields, caller, self.build_instant_lifecycle(), "configuredModelAlgorithmArn", dict(tags or {})
        )
        return self.store.add(record).describe()

    def get_configured_model_algorithm(self, caller: Caller, *, configured_model_algorithm_arn: str) -> dict[str, Any]:
        """GetConfiguredModelAlgorithm."""
        return self.store.get(configured_model_algorithm_arn, NOUN, caller).describe()

    def list_configured_model_algorithms(self, caller: Caller) -> Listing:
        """ListConfiguredModelAlgorithms."""
        return self.store.build_listing(KIND, caller)

    def delete_configured_model_algorithm(
        self, caller: Caller, *, configured_model_algorithm_arn: str
    ) -> dict[str, Any]:
        """DeleteConfiguredModelAlgorithm; rejected while it is associated with a collaboration."""
        record = self.store.get(configured_model_algorithm_arn, NOUN, caller)
        # AWS's own clean-up deletes associations before algorithms (aws-samples/sample-AWSCleanRoomsCustomMLModel, undeploy).
        kind = "configured-model-algorithm-association"
        if any(self.store.find(kind, caller, configuredModelAlgorithmArn=record.arn)):
            raise conflict_error(f"The configured model algorithm {record.arn} has associations: delete them first.")
        self.delete(record)
        return {}
