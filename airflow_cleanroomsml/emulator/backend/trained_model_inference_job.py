"""Trained model inference jobs."""

from __future__ import annotations

from functools import partial
from typing import Any

from airflow_cleanroomsml.emulator.backend.base import BackendContext
from airflow_cleanroomsml.emulator.backend.compute import ComputeQuotas
from airflow_cleanroomsml.emulator.backend.configured_model_algorithm_association import AlgorithmLookup
from airflow_cleanroomsml.emulator.backend.ml_configuration import JobDetails
from airflow_cleanroomsml.emulator.backend.ml_input_channel import InputChannelLookup
from airflow_cleanroomsml.emulator.backend.trained_model import VERSION, TrainedModelLookup
from airflow_cleanroomsml.emulator.errors import conflict_error
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller

KIND, NOUN = "trained-model-inference-job", "Trained model inference job"


class TrainedModelInferenceJobs(TrainedModelLookup):
    """Operations on inference jobs; the emulator infers nothing, they become ACTIVE after some time."""

    def __init__(self, context: BackendContext) -> None:
        super().__init__(context)
        self._algorithms = AlgorithmLookup(context)
        self._channels = InputChannelLookup(context)
        self._quotas = ComputeQuotas(context)

    def start_trained_model_inference_job(
        self, caller: Caller, *, membership_identifier: str, tags: dict[str, str] | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """StartTrainedModelInferenceJob; by default with the latest version, and the algorithm that the model was trained with."""
        membership = self.require_active_membership(caller, membership_identifier, "CAN_QUERY")
        fields = self.to_api_names("start_trained_model_inference_job", arguments)
        model = self.require_active_version(membership, fields["trainedModelArn"], fields.get(VERSION))
        # The request's own association, if there is one, takes precedence over the model's.
        algorithm = "configuredModelAlgorithmAssociationArn"
        fields = {algorithm: model.fields[algorithm], **fields, VERSION: model.fields["versionIdentifier"]}
        self._algorithms.require_association(membership, fields[algorithm], "inferenceContainerConfig")
        self._channels.require_active_channel(membership, fields["dataSource"]["mlInputChannelArn"])
        for receiver in fields["outputConfiguration"]["members"]:
            self.require_receiver(caller, membership, receiver["accountId"], "CAN_RECEIVE_INFERENCE_OUTPUT")
        self.require_payers(caller, membership, [fields.get("mlModelInferencePayerAccountId")])
        self.require_free_name_among(self.find_in_membership(KIND, membership), NOUN, fields["name"])
        self._quotas.require_capacity(KIND, membership, fields["resourceConfig"])
        lifecycle, details = self.build_lifecycle(None), JobDetails()
        return self.add_resource(
            KIND, membership, fields, lifecycle, tags, "trainedModelInferenceJobArn", details=details
        ).describe()

    def get_trained_model_inference_job(
        self, caller: Caller, *, membership_identifier: str, trained_model_inference_job_arn: str
    ) -> dict[str, Any]:
        """GetTrainedModelInferenceJob."""
        record = self.require_in_membership(caller, membership_identifier, KIND, NOUN, trained_model_inference_job_arn)
        return self.describe_job(caller, record)

    def list_trained_model_inference_jobs(
        self,
        caller: Caller,
        *,
        membership_identifier: str,
        trained_model_arn: str | None = None,
        trained_model_version_identifier: str | None = None,
    ) -> Listing:
        """ListTrainedModelInferenceJobs."""
        model = {"trainedModelArn": trained_model_arn, VERSION: trained_model_version_identifier}
        return self.build_membership_listing(
            KIND, caller, membership_identifier, describe=partial(self.describe_job, caller), **model
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
        model = {"trainedModelArn": trained_model_arn, VERSION: trained_model_version_identifier}
        return self.build_collaboration_listing(
            KIND, caller, collaboration_identifier, describe=partial(self.describe_job, caller), **model
        )

    def cancel_trained_model_inference_job(
        self, caller: Caller, *, membership_identifier: str, trained_model_inference_job_arn: str
    ) -> dict[str, Any]:
        """CancelTrainedModelInferenceJob; rejected once the job has ended."""
        record = self.require_in_membership(caller, membership_identifier, KIND, NOUN, trained_model_inference_job_arn)
        if record.status not in PENDING:
            raise conflict_error(
                f"The trained model inference job {record.arn} is {record.status}; only a job in progress can be cancelled."
            )
        record.lifecycle.cancel()
        return {}
