"""Training datasets."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.base import BackendBase
from airflow_cleanroomsml.emulator.errors import conflict_error
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "training-dataset", "Training dataset"


class TrainingDatasets(BackendBase):
    """Operations on training datasets: metadata, "read only during AudienceModel creation" (API reference)."""

    def create_training_dataset(
        self,
        caller: Caller,
        *,
        name: str,
        role_arn: str,
        training_data: list[dict[str, Any]],
        tags: dict[str, str] | None = None,
        description: str | None = None,
    ) -> dict[str, Any]:
        """CreateTrainingDataset."""
        self.require_own_role(caller, role_arn)
        self.require_free_name(caller, KIND, NOUN, name)
        fields = {"name": name, "roleArn": role_arn, "trainingData": training_data, "description": description}
        return self.store.add(
            Record(KIND, fields, caller, self.build_instant_lifecycle(), "trainingDatasetArn", dict(tags or {}))
        ).describe()

    def get_training_dataset(self, caller: Caller, *, training_dataset_arn: str) -> dict[str, Any]:
        """GetTrainingDataset."""
        return self.store.get(training_dataset_arn, NOUN, caller).describe()

    def list_training_datasets(self, caller: Caller) -> Listing:
        """ListTrainingDatasets."""
        return self.store.build_listing(KIND, caller)

    def delete_training_dataset(self, caller: Caller, *, training_dataset_arn: str) -> dict[str, Any]:
        """DeleteTrainingDataset; rejected while audience models depend on it."""
        record = self.store.get(training_dataset_arn, NOUN, caller)
        # "You can't delete a training dataset if there are any audience models that depend on" it (API reference).
        if any(self.store.find("audience-model", caller, trainingDatasetArn=record.arn)):
            raise conflict_error(f"Audience models depend on the training dataset {record.arn}: delete them first.")
        self.delete(record)
        return {}
