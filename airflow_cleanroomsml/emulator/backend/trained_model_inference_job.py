"""Trained model inference jobs."""

from __future__ import annotations

from functools import partial
from typing import Any

from airflow_cleanroomsml.emulator.backend.compute import Compute
from airflow_cleanroomsml.emulator.backend.ml_input_channel import Channels
from airflow_cleanroomsml.emulator.backend.trained_model import VERSION, Versions
from airflow_cleanroomsml.emulator.errors import conflict
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller

KIND, NOUN = "trained-model-inference-job", "Trained model inference job"


class TrainedModelInferenceJobs(Versions, Channels, Compute):
    """Nothing is inferred: they become ACTIVE when their time is over. There is no delete."""

    def start_trained_model_inference_job(
        self, caller: Caller, *, membership_identifier: str, tags: dict[str, str] | None = None, **given: Any
    ) -> dict[str, Any]:
        """StartTrainedModelInferenceJob; with the latest version, and with the model's algorithm, where none is named."""
        membership = self.active_membership(caller, membership_identifier, "CAN_QUERY")
        fields = self.spelled("start_trained_model_inference_job", given)
        model = self.active_version(membership, fields["trainedModelArn"], fields.get(VERSION))
        algorithm = "configuredModelAlgorithmAssociationArn"
        fields = {algorithm: model.fields[algorithm], **fields, VERSION: model.fields["versionIdentifier"]}
        self.association(membership, fields[algorithm], "inferenceContainerConfig")
        self.channel(membership, fields["dataSource"]["mlInputChannelArn"])
        for receiver in fields["outputConfiguration"]["members"]:
            self.require_receiver(caller, membership, receiver["accountId"], "CAN_RECEIVE_INFERENCE_OUTPUT")
        self.require_payers(caller, membership, [fields.get("mlModelInferencePayerAccountId")])
        self.require_free_name_among(self.of_membership(KIND, membership), NOUN, fields["name"])
        self.require_capacity(KIND, membership, fields["resourceConfig"])
        return self.make(KIND, membership, fields, self.following(None), tags, "trainedModelInferenceJobArn").view()

    def get_trained_model_inference_job(
        self, caller: Caller, *, membership_identifier: str, trained_model_inference_job_arn: str
    ) -> dict[str, Any]:
        """GetTrainedModelInferenceJob."""
        record = self.own(caller, membership_identifier, KIND, NOUN, trained_model_inference_job_arn)
        return self.published(caller, record)

    def list_trained_model_inference_jobs(
        self,
        caller: Caller,
        *,
        membership_identifier: str,
        trained_model_arn: str | None = None,
        trained_model_version_identifier: str | None = None,
    ) -> Listing:
        """ListTrainedModelInferenceJobs."""
        job = {"trainedModelArn": trained_model_arn, VERSION: trained_model_version_identifier}
        return self.membership_listing(
            KIND, caller, membership_identifier, entry=partial(self.published, caller), **job
        )

    def list_collaboration_trained_model_inference_jobs(
        self,
        caller: Caller,
        *,
        collaboration_identifier: str,
        trained_model_arn: str | None = None,
        trained_model_version_identifier: str | None = None,
    ) -> Listing:
        """ListCollaborationTrainedModelInferenceJobs."""
        job = {"trainedModelArn": trained_model_arn, VERSION: trained_model_version_identifier}
        return self.collaboration_listing(
            KIND, caller, collaboration_identifier, entry=partial(self.published, caller), **job
        )

    def cancel_trained_model_inference_job(
        self, caller: Caller, *, membership_identifier: str, trained_model_inference_job_arn: str
    ) -> dict[str, Any]:
        """CancelTrainedModelInferenceJob, while it runs."""
        record = self.own(caller, membership_identifier, KIND, NOUN, trained_model_inference_job_arn)
        if record.status not in PENDING:
            raise conflict(f"Trained model inference job {record.arn} is {record.status}.")
        record.life.cancel()
        return {}
