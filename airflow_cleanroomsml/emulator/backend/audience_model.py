"""Audience models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow_cleanroomsml.emulator.backend.base import BackendBase
from airflow_cleanroomsml.emulator.errors import conflict_error
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "audience-model", "Audience model"


class AudienceModels(BackendBase):
    """Operations on audience models, which are trained on the files of a Glue table."""

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
            # pyarrow, scipy and scikit-learn take seconds to import, which would delay the start of the emulator.
            from airflow_cleanroomsml.emulator.lookalike.model import train

            glue, s3 = self.clients.build("glue", caller, role), self.clients.build("s3", caller, role)
            role_check = self.build_role_check(caller, role, training_dataset_arn)
            return train(
                glue,
                s3,
                dataset=dataset,
                start=training_data_start_time,
                end=training_data_end_time,
                rules=self.settings.rules,
                **role_check,
            )

        fields = {
            "name": name,
            "trainingDatasetArn": training_dataset_arn,
            "trainingDataStartTime": training_data_start_time,
            "trainingDataEndTime": training_data_end_time,
            "kmsKeyArn": kms_key_arn,
            "description": description,
        }
        return self.store.add(
            Record(KIND, fields, caller, self.run_in_background(work), "audienceModelArn", dict(tags or {}))
        ).describe()

    def get_audience_model(self, caller: Caller, *, audience_model_arn: str) -> dict[str, Any]:
        """GetAudienceModel."""
        return self.store.get(audience_model_arn, NOUN, caller).describe()

    def list_audience_models(self, caller: Caller) -> Listing:
        """ListAudienceModels."""
        return self.store.build_listing(KIND, caller)

    def delete_audience_model(self, caller: Caller, *, audience_model_arn: str) -> dict[str, Any]:
        """DeleteAudienceModel; rejected while it is in training or configured audience models depend on it."""
        record = self.store.get(audience_model_arn, NOUN, caller)
        if record.status not in ("ACTIVE", "CREATE_FAILED"):
            raise conflict_error(
                f"The audience model {record.arn} is {record.status}; only an ACTIVE or CREATE_FAILED model can be deleted."
            )
        # "You can't delete an audience model if there are any configured audience models that depend on" it (API reference).
        if any(self.store.find("configured-audience-model", caller, audienceModelArn=record.arn)):
            raise conflict_error(
                f"Configured audience models depend on the audience model {record.arn}: delete them first."
            )
        self.delete(record)
        return {}
