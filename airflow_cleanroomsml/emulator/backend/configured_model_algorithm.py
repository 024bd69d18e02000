"""Configured model algorithms."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.base import BackendBase
from airflow_cleanroomsml.emulator.errors import conflict
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "configured-model-algorithm", "Configured model algorithm"


class ConfiguredModelAlgorithms(BackendBase):
    """Container images for training and inference; nothing pulls them here."""

    def create_configured_model_algorithm(
        self, caller: Caller, *, tags: dict[str, str] | None = None, **given: Any
    ) -> dict[str, Any]:
        """CreateConfiguredModelAlgorithm."""
        fields = self.spelled("create_configured_model_algorithm", given)
        self.require_own_role(caller, fields["roleArn"])
        self.require_free_name(caller, KIND, NOUN, fields["name"])
        record = Record(KIND, fields, caller, self.instant(), "configuredModelAlgorithmArn", dict(tags or {}))
        return self.store.add(record).view()

    def get_configured_model_algorithm(self, caller: Caller, *, configured_model_algorithm_arn: str) -> dict[str, Any]:
        """GetConfiguredModelAlgorithm."""
        return self.store.get(configured_model_algorithm_arn, NOUN, caller).view()

    def list_configured_model_algorithms(self, caller: Caller) -> Listing:
        """ListConfiguredModelAlgorithms."""
        return self.store.listing(KIND, caller)

    def delete_configured_model_algorithm(
        self, caller: Caller, *, configured_model_algorithm_arn: str
    ) -> dict[str, Any]:
        """DeleteConfiguredModelAlgorithm; refused while it is associated."""
        record = self.store.get(configured_model_algorithm_arn, NOUN, caller)
        kind = "configured-model-algorithm-association"
        if any(self.store.all(kind, caller, configuredModelAlgorithmArn=record.arn)):
            raise conflict(f"The configured model algorithm {record.arn} is associated with a collaboration.")
        self.delete(record)
        return {}
