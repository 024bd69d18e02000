"""Audience models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow_cleanroomsml.emulator.backend.base import BackendBase
from airflow_cleanroomsml.emulator.errors import conflict
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "audience-model", "Audience model"


class AudienceModels(BackendBase):
    """Training on the files of the Glue table, in the background."""

    def create_audience_model(
        self,
        caller: Caller,
        *,
        name: str,
        training_dataset_arn: str,
        training_data_start_time: datetime | None = None,
        training_data_end_time: datetime | None = None,
        kms_key_arn: str | None = None,
        tags: dict[str, str] | None = None,
        description: str | None = None,
    ) -> dict[str, Any]:
        """CreateAudienceModel."""
        training = self.store.get(training_dataset_arn, "Training dataset", caller).fields
        dataset, role = training["trainingData"][0], training["roleArn"]
        self.require_free_name(caller, KIND, NOUN, name)
        self.require_quota(caller, KIND, "Pending or in progress audience models", self.settings.models_in_progress)

        def work() -> Any:
            # pyarrow, scipy and scikit-learn take seconds to import: wait until there is something to train.
            from airflow_cleanroomsml.emulator.lookalike.model import train

            glue, s3 = self.client("glue", caller, role), self.client("s3", caller, role)
            window = {"start": training_data_start_time, "end": training_data_end_time}
            return train(glue, s3, dataset=dataset, rules=self.settings.rules, **window)

        fields = {
            "name": name,
            "trainingDatasetArn": training_dataset_arn,
            "trainingDataStartTime": training_data_start_time,
            "trainingDataEndTime": training_data_end_time,
            "kmsKeyArn": kms_key_arn,
            "description": description,
        }
        return self.store.add(Record(KIND, fields, caller, self.job(work), "audienceModelArn", dict(tags or {}))).view()

    def get_audience_model(self, caller: Caller, *, audience_model_arn: str) -> dict[str, Any]:
        """GetAudienceModel."""
        return self.store.get(audience_model_arn, NOUN, caller).view()

    def list_audience_models(self, caller: Caller) -> Listing:
        """ListAudienceModels."""
        return self.store.listing(KIND, caller)

    def delete_audience_model(self, caller: Caller, *, audience_model_arn: str) -> dict[str, Any]:
        """DeleteAudienceModel; refused while it is trained or configured audience models depend on it."""
        record = self.store.get(audience_model_arn, NOUN, caller)
        if record.status not in ("ACTIVE", "CREATE_FAILED"):
            raise conflict(f"Audience model {record.arn} is {record.status}.")
        if any(self.store.all("configured-audience-model", caller, audienceModelArn=record.arn)):
            raise conflict(f"Configured audience models depend on the audience model {record.arn}.")
        self.delete(record)
        return {}
