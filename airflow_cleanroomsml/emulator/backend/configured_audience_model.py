"""Configured audience models."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.base import BackendBase
from airflow_cleanroomsml.emulator.backend.configured_audience_model_policy import ConfiguredModelDetails
from airflow_cleanroomsml.emulator.errors import conflict_error, validation_error
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "configured-audience-model", "Configured audience model"


class ConfiguredAudienceModels(BackendBase):
    """Operations on configured audience models, which define how others may use an audience model."""

    def create_configured_audience_model(
        self,
        caller: Caller,
        *,
        name: str,
        audience_model_arn: str,
        output_config: dict[str, Any],
        shared_audience_metrics: list[str],
        description: str | None = None,
        min_matching_seed_size: int | None = None,
        audience_size_config: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
        child_resource_tag_on_create_policy: str | None = None,
    ) -> dict[str, Any]:
        """CreateConfiguredAudienceModel."""
        self.require_own_role(caller, output_config["roleArn"])
        self._require_active_model(caller, audience_model_arn)
        self.require_free_name(caller, KIND, NOUN, name)
        fields = {
            "name": name,
            "audienceModelArn": audience_model_arn,
            "outputConfig": output_config,
            "sharedAudienceMetrics": shared_audience_metrics,
            "description": description,
            "minMatchingSeedSize": min_matching_seed_size or self.settings.default_matching_seed_size,
            "audienceSizeConfig": audience_size_config,
            "childResourceTagOnCreatePolicy": child_resource_tag_on_create_policy,
        }
        lifecycle, details = self.build_instant_lifecycle(), ConfiguredModelDetails()
        record = Record(
            KIND, fields, caller, lifecycle, "configuredAudienceModelArn", dict(tags or {}), details=details
        )
        return self.store.add(record).describe()

    def update_configured_audience_model(
        self, caller: Caller, *, configured_audience_model_arn: str, **changes: Any
    ) -> dict[str, Any]:
        """UpdateConfiguredAudienceModel; members that are left out stay as they are."""
        record = self.store.get(configured_audience_model_arn, NOUN, caller)
        if "output_config" in changes:
            self.require_own_role(caller, changes["output_config"]["roleArn"])
        if "audience_model_arn" in changes:
            self._require_active_model(caller, changes["audience_model_arn"])
        record.fields.update(self.to_api_names("update_configured_audience_model", changes))
        record.updated = self.clock.now()
        return record.describe()

    def get_configured_audience_model(self, caller: Caller, *, configured_audience_model_arn: str) -> dict[str, Any]:
        """GetConfiguredAudienceModel."""
        return self.store.get(configured_audience_model_arn, NOUN, caller).describe()

    def list_configured_audience_models(self, caller: Caller) -> Listing:
        """ListConfiguredAudienceModels."""
        return self.store.build_listing(KIND, caller)

    def delete_configured_audience_model(self, caller: Caller, *, configured_audience_model_arn: str) -> dict[str, Any]:
        """DeleteConfiguredAudienceModel and its associations; rejected while generation jobs use it."""
        record = self.store.get(configured_audience_model_arn, NOUN, caller)
        # "You can't delete a configured audience model if there are any lookalike models that use" it (API reference), which can only mean
        # generation jobs.
        if any(self.store.find("audience-generation-job", caller, configuredAudienceModelArn=record.arn)):
            raise conflict_error(
                f"Audience generation jobs use the configured audience model {record.arn}: delete them first."
            )
        # It "will be removed from any collaborations that it is associated to" (API reference).
        kind = "configured-audience-model-association"
        associations = self.store.find(kind, caller, configuredAudienceModelArn=record.arn)
        for association in list(associations):
            self.delete(association)
        # Policy statements of the associations need not be removed: the policy is stored with the model.
        self.delete(record)
        return {}

    def _require_active_model(self, caller: Caller, arn: str) -> None:
        model = self.store.get(arn, "Audience model", caller)
        if model.status != "ACTIVE":
            raise validation_error(f"The audience model {arn} is not ACTIVE (status {model.status}).")
