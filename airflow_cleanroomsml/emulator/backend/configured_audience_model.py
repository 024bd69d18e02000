"""Configured audience models."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.base import BackendBase
from airflow_cleanroomsml.emulator.errors import conflict, invalid
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "configured-audience-model", "Configured audience model"


class ConfiguredAudienceModels(BackendBase):
    """Terms of use of an audience model."""

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
        record = Record(KIND, fields, caller, self.instant(), "configuredAudienceModelArn", dict(tags or {}))
        return self.store.add(record).view()

    def update_configured_audience_model(
        self, caller: Caller, *, configured_audience_model_arn: str, **changes: Any
    ) -> dict[str, Any]:
        """UpdateConfiguredAudienceModel: only the members that are given."""
        record = self.store.get(configured_audience_model_arn, NOUN, caller)
        if "output_config" in changes:
            self.require_own_role(caller, changes["output_config"]["roleArn"])
        if "audience_model_arn" in changes:
            self._require_active_model(caller, changes["audience_model_arn"])
        spelling = {
            "output_config": "outputConfig",
            "audience_model_arn": "audienceModelArn",
            "shared_audience_metrics": "sharedAudienceMetrics",
            "min_matching_seed_size": "minMatchingSeedSize",
            "audience_size_config": "audienceSizeConfig",
            "description": "description",
        }
        record.fields.update({spelling[name]: value for name, value in changes.items()})
        record.updated = self.clock.now()
        return record.view()

    def get_configured_audience_model(self, caller: Caller, *, configured_audience_model_arn: str) -> dict[str, Any]:
        """GetConfiguredAudienceModel."""
        return self.store.get(configured_audience_model_arn, NOUN, caller).view()

    def list_configured_audience_models(self, caller: Caller) -> Listing:
        """ListConfiguredAudienceModels."""
        return self.store.listing(KIND, caller)

    def delete_configured_audience_model(self, caller: Caller, *, configured_audience_model_arn: str) -> dict[str, Any]:
        """DeleteConfiguredAudienceModel; refused while generation jobs use it. Its associations go with it."""
        record = self.store.get(configured_audience_model_arn, NOUN, caller)
        if any(self.store.all("audience-generation-job", caller, configuredAudienceModelArn=record.arn)):
            raise conflict(f"Audience generation jobs use the configured audience model {record.arn}.")
        kind = "configured-audience-model-association"
        associations = self.store.all(kind, caller, configuredAudienceModelArn=record.arn)
        for association in list(associations):
            self.delete(association)
        self.delete(record)
        return {}

    def _require_active_model(self, caller: Caller, arn: str) -> None:
        model = self.store.get(arn, "Audience model", caller)
        if model.status != "ACTIVE":
            raise invalid(f"Audience model {arn} is {model.status}; it must be ACTIVE.")
