"""Trained model export jobs: they have no ARN and can only be listed, by collaboration."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.trained_model import VERSION, TrainedModelLookup
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller

KIND, NOUN = "trained-model-export-job", "Trained model export job"


class TrainedModelExportJobs(TrainedModelLookup):
    """Operations on trained model export jobs; the emulator writes nothing, they become ACTIVE after some time."""

    def start_trained_model_export_job(
        self, caller: Caller, *, membership_identifier: str, trained_model_arn: str, **arguments: Any
    ) -> dict[str, Any]:
        """StartTrainedModelExportJob."""
        membership = self.require_active_membership(caller, membership_identifier)
        fields = self.to_api_names("start_trained_model_export_job", arguments)
        model = self.require_active_version(membership, trained_model_arn, fields.get(VERSION))
        for receiver in fields["outputConfiguration"]["members"]:
            self.require_receiver(caller, membership, receiver["accountId"], "CAN_RECEIVE_MODEL_OUTPUT")
        # The version is resolved now, so that a later one does not change what the job exports.
        fields.update({"trainedModelArn": model.arn, VERSION: model.fields["versionIdentifier"]})
        # An assumption: AWS documents no scope for the names of model exports.
        siblings = self.find_in_membership(
            KIND, membership, **{name: fields[name] for name in ("trainedModelArn", VERSION)}
        )
        self.require_free_name_among(siblings, NOUN, fields["name"])
        self.add_resource(KIND, membership, fields, self.build_lifecycle(None), None, "")
        return {}

    def list_collaboration_trained_model_export_jobs(
        self,
        caller: Caller,
        *,
        collaboration_identifier: str,
        trained_model_arn: str,
        trained_model_version_identifier: str | None = None,
    ) -> Listing:
        """ListCollaborationTrainedModelExportJobs."""
        model = {"trainedModelArn": trained_model_arn, VERSION: trained_model_version_identifier}
        return self.build_collaboration_listing(KIND, caller, collaboration_identifier, **model)
