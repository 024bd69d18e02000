"""Trained models and their versions."""

from __future__ import annotations

import uuid
from typing import Any

from airflow_cleanroomsml.emulator.backend.base import BackendContext
from airflow_cleanroomsml.emulator.backend.compute import ComputeQuotas
from airflow_cleanroomsml.emulator.backend.configured_model_algorithm_association import AlgorithmLookup
from airflow_cleanroomsml.emulator.backend.ml_configuration import JobDetails, JobPublications
from airflow_cleanroomsml.emulator.backend.ml_input_channel import InputChannelLookup
from airflow_cleanroomsml.emulator.errors import conflict_error, not_found_error, quota_error, validation_error
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "trained-model", "Trained model"
#: Identifier of the base version (API reference). No request can contain it, because there it must be a UUID.
BASE = "NULL"
#: Member of jobs for the version of their model.
VERSION = "trainedModelVersionIdentifier"


class TrainedModelLookup(JobPublications):
    """Looks up versions of trained models, which share the ARN of the model."""

    def require_version(self, arn: str, identifier: str | None, *, latest: bool = True, **parent: Any) -> Record:
        """
        Return a version of a model.

        :param identifier: Identifier of the version; None for the default.
        :param latest: Whether the default is the latest version, or else the base version.
        :param parent: ``membership_id`` or ``collaboration_id`` to look in.
        """
        for record in self.store.find(KIND, newest_first=latest, arn=arn, versionIdentifier=identifier, **parent):
            return record
        raise not_found_error(NOUN, arn if identifier is None else f"{arn} version {identifier}")

    def describe_latest_version(self, record: Record) -> dict[str, Any]:
        """Return the latest version of a model as the service shows it."""
        return self.require_version(record.arn, None).describe()

    def require_active_version(self, membership: Record, arn: str, identifier: str | None) -> Record:
        """
        Return an ACTIVE version in the collaboration of a membership.

        :param identifier: Identifier of the version; None for the latest.
        """
        record = self.require_version(arn, identifier, collaboration_id=membership.fields["collaborationId"])
        if record.status != "ACTIVE":
            raise validation_error(f"The trained model {arn} is not ACTIVE (status {record.status}).")
        return record


class TrainedModels(TrainedModelLookup):
    """Operations on trained models; the emulator trains nothing, they become ACTIVE after some time."""

    def __init__(self, context: BackendContext) -> None:
        super().__init__(context)
        self._algorithms = AlgorithmLookup(context)
        self._channels = InputChannelLookup(context)
        self._quotas = ComputeQuotas(context)

    def create_trained_model(
        self, caller: Caller, *, membership_identifier: str, tags: dict[str, str] | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """CreateTrainedModel; with an incremental training data channel, a new version of that channel's model."""
        membership = self.require_active_membership(caller, membership_identifier, "CAN_QUERY")
        fields = self.to_api_names("create_trained_model", arguments)
        self._check_inputs(membership, fields)
        self.require_payers(caller, membership, [fields.get("mlModelTrainingPayerAccountId")])
        earlier = self._find_earlier_versions(membership, fields)
        base = earlier[0] if earlier else None
        collaboration = membership.fields["collaborationId"]
        # "Unique name … in the collaboration" (user guide, create-trained-model); versions of a model share its name.
        others = [r for r in self.find_in_collaboration(KIND, collaboration) if base is None or r.arn != base.arn]
        self.require_free_name_among(others, NOUN, fields["name"])
        self._quotas.require_capacity(KIND, membership, fields["resourceConfig"])
        fields["versionIdentifier"] = str(uuid.uuid4()) if base else BASE
        arn, lifecycle = base.arn if base else "", self.build_lifecycle(None, keeps_metadata=True)
        record = self.add_resource(
            KIND, membership, fields, lifecycle, tags, "trainedModelArn", arn, details=JobDetails()
        )
        if base:
            # Tags belong to the ARN, which all versions share, so they share one dict.
            base.tags.update(record.tags)
            record.tags = base.tags
        return record.describe()

    def _check_inputs(self, membership: Record, fields: dict[str, Any]) -> None:
        association = self._algorithms.require_association(
            membership, fields["configuredModelAlgorithmAssociationArn"], "trainingContainerConfig"
        )
        channels = [*fields["dataChannels"], *fields.get("incrementalTrainingDataChannels", ())]
        names = [channel["channelName"] for channel in channels]
        if len(names) > 20 or len(set(names)) < len(names):
            # The limit of 20 includes the incremental channel (API reference, CreateTrainedModel).
            raise validation_error(
                f"A trained model can have at most 20 data channels, each with a unique channelName; got {', '.join(names)}."
            )
        for channel in fields["dataChannels"]:
            record = self._channels.require_active_channel(membership, channel["mlInputChannelArn"])
            if association.arn not in record.fields["configuredModelAlgorithmAssociations"]:
                raise validation_error(
                    f"The ML input channel {record.arn} was not created for the configured model algorithm association {association.arn}."
                )

    def _find_earlier_versions(self, membership: Record, fields: dict[str, Any]) -> list[Record]:
        """
        Find the versions of the model that is trained incrementally; none for a new model.

        Replaces the incremental channel in ``fields`` by what the service shows of it.
        """
        # The model allows one incremental channel at most.
        for channel in fields.get("incrementalTrainingDataChannels", ()):
            versions = list(self.find_in_membership(KIND, membership, arn=channel["trainedModelArn"]))
            if not versions:
                raise not_found_error(NOUN, channel["trainedModelArn"])
            source = self.require_active_version(
                membership, channel["trainedModelArn"], channel.get("versionIdentifier")
            )
            if len(versions) >= self.settings.versions_per_trained_model:
                raise quota_error("Versions per trained model", self.settings.versions_per_trained_model)
            fields["incrementalTrainingDataChannels"] = [
                {
                    "channelName": channel["channelName"],
                    "versionIdentifier": source.fields["versionIdentifier"],
                    "modelName": source.fields["name"],
                }
            ]
            return versions
        return []

    def _require_own_version(
        self, caller: Caller, membership: str, arn: str, version: str | None, *, latest: bool
    ) -> Record:
        membership_id = self.require_membership(caller, membership).id
        return self.require_version(arn, version, latest=latest, membership_id=membership_id)

    def get_trained_model(
        self,
        caller: Caller,
        *,
        membership_identifier: str,
        trained_model_arn: str,
        version_identifier: str | None = None,
    ) -> dict[str, Any]:
        """GetTrainedModel; by default the latest version (API reference)."""
        record = self._require_own_version(
            caller, membership_identifier, trained_model_arn, version_identifier, latest=True
        )
        return self.describe_job(caller, record)

    def get_collaboration_trained_model(
        self,
        caller: Caller,
        *,
        collaboration_identifier: str,
        trained_model_arn: str,
        version_identifier: str | None = None,
    ) -> dict[str, Any]:
        """GetCollaborationTrainedModel; by default the latest version (API reference)."""
        collaboration = self.require_collaboration(caller, collaboration_identifier)
        record = self.require_version(trained_model_arn, version_identifier, collaboration_id=collaboration.id)
        return self.describe_job(caller, record)

    def list_trained_models(self, caller: Caller, *, membership_identifier: str) -> Listing:
        """ListTrainedModels; shows the latest version of each, at the position of its base version."""
        options = {"versionIdentifier": BASE, "describe": self.describe_latest_version}
        return self.build_membership_listing(KIND, caller, membership_identifier, **options)

    def list_collaboration_trained_models(self, caller: Caller, *, collaboration_identifier: str) -> Listing:
        """ListCollaborationTrainedModels; shows the latest version of each, at the position of its base version."""
        options = {"versionIdentifier": BASE, "describe": self.describe_latest_version}
        return self.build_collaboration_listing(KIND, caller, collaboration_identifier, **options)

    def list_trained_model_versions(
        self, caller: Caller, *, membership_identifier: str, trained_model_arn: str, status: str | None = None
    ) -> Listing:
        """ListTrainedModelVersions."""
        # Checks that the model is in the membership; any of its versions would do.
        base = self._require_own_version(caller, membership_identifier, trained_model_arn, None, latest=False)
        return self.build_membership_listing(
            KIND,
            caller,
            membership_identifier,
            is_included=lambda record: status in (None, record.status),
            trainedModelArn=base.arn,
        )

    def cancel_trained_model(
        self,
        caller: Caller,
        *,
        membership_identifier: str,
        trained_model_arn: str,
        version_identifier: str | None = None,
    ) -> dict[str, Any]:
        """CancelTrainedModel; by default the base version (API reference)."""
        record = self._require_own_version(
            caller, membership_identifier, trained_model_arn, version_identifier, latest=False
        )
        if record.status not in PENDING:
            raise conflict_error(
                f"The trained model {record.arn} is {record.status}; only a model in training can be cancelled."
            )
        record.lifecycle.cancel()
        return {}

    def delete_trained_model_output(
        self,
        caller: Caller,
        *,
        membership_identifier: str,
        trained_model_arn: str,
        version_identifier: str | None = None,
    ) -> dict[str, Any]:
        """DeleteTrainedModelOutput; by default of the base version (API reference). The version becomes INACTIVE."""
        record = self._require_own_version(
            caller, membership_identifier, trained_model_arn, version_identifier, latest=False
        )
        if record.status not in ("ACTIVE", "CREATE_FAILED"):
            raise conflict_error(
                f"The trained model {record.arn} is {record.status}; only the output of an ACTIVE or CREATE_FAILED model can be deleted."
            )
        version = (record.arn, record.fields["versionIdentifier"])
        for kind in ("trained-model-inference-job", "trained-model-export-job"):
            for job in self.store.find(kind):
                if job.status in PENDING and (job.fields["trainedModelArn"], job.fields[VERSION]) == version:
                    raise conflict_error(
                        f"The trained model {record.arn} cannot be deleted while the job '{job.fields['name']}' uses it."
                    )
        self.delete(record)
        return {}
