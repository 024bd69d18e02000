"""Trained model export jobs: no ARN, no Get; they show in a listing of the collaboration only."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.trained_model import VERSION, Versions
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller

KIND, NOUN = "trained-model-export-job", "Trained model export job"


class TrainedModelExportJobs(Versions):
    """Nothing is written: they become ACTIVE when their time is over."""

    def start_trained_model_export_job(
        self, caller: Caller, *, membership_identifier: str, trained_model_arn: str, **given: Any
    ) -> dict[str, Any]:
        """StartTrainedModelExportJob."""
        membership = self.active_membership(caller, membership_identifier)
        fields = self.spelled("start_trained_model_export_job", given)
        model = self.active_version(membership, trained_model_arn, fields.get(VERSION))
        for receiver in fields["outputConfiguration"]["members"]:
            self.require_receiver(caller, membership, receiver["accountId"], "CAN_RECEIVE_MODEL_OUTPUT")
        fields.update({"trainedModelArn": model.arn, VERSION: model.fields["versionIdentifier"]})
        siblings = self.of_membership(KIND, membership, **{name: fields[name] for name in ("trainedModelArn", VERSION)})
        self.require_free_name_among(siblings, NOUN, fields["name"])
        self.make(KIND, membership, fields, self.following(None), None, "")
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
        job = {"trainedModelArn": trained_model_arn, VERSION: trained_model_version_identifier}
        return self.collaboration_listing(KIND, caller, collaboration_identifier, **job)
