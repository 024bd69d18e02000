"""Trained models and their versions."""

from __future__ import annotations

import uuid
from typing import Any

from airflow_cleanroomsml.emulator.backend.compute import Compute
from airflow_cleanroomsml.emulator.backend.ml_configuration import Publishing
from airflow_cleanroomsml.emulator.backend.ml_input_channel import Channels
from airflow_cleanroomsml.emulator.errors import conflict, invalid, not_found, quota
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "trained-model", "Trained model"
#: Identifier of the version that was trained first (API reference); no request can name it, for there it must be a UUID.
BASE = "NULL"


class Versions(Publishing):
    """How versions are found: they share an ARN."""

    def version(self, arn: str, identifier: str | None, *, latest: bool = True, **within: Any) -> Record:
        """
        One of the versions of a model.

        :param latest: Whether the latest one is meant where none is named, or the base version.
        :param within: Membership or collaboration of which the caller is.
        """
        for record in self.store.all(KIND, newest_first=latest, arn=arn, versionIdentifier=identifier, **within):
            return record
        raise not_found(NOUN, arn if identifier is None else f"{arn} version {identifier}")

    def latest_version(self, record: Record) -> dict[str, Any]:
        """The latest version of a model as the service shows it."""
        return self.version(record.arn, None).view()

    def active_version(self, membership: Record, arn: str, identifier: str | None) -> Record:
        """An ACTIVE version in the collaboration of a membership; the latest where none is named."""
        record = self.version(arn, identifier, collaborationIdentifier=membership.fields["collaborationId"])
        if record.status != "ACTIVE":
            raise invalid(f"Trained model {arn} is {record.status}; it must be ACTIVE.")
        return record


class TrainedModels(Versions, Channels, Compute):
    """Nothing is trained: they become ACTIVE when their time is over."""

    def create_trained_model(
        self, caller: Caller, *, membership_identifier: str, tags: dict[str, str] | None = None, **given: Any
    ) -> dict[str, Any]:
        """CreateTrainedModel: a new model, or with an incremental channel a new version of that channel's model."""
        membership = self.active_membership(caller, membership_identifier, "CAN_QUERY")
        fields = self.spelled("create_trained_model", given)
        self._require_inputs(membership, fields)
        self.require_payers(caller, membership, [fields.get("mlModelTrainingPayerAccountId")])
        earlier = self._continued(membership, fields)
        base = earlier[0] if earlier else None
        collaboration = membership.fields["collaborationId"]
        others = [r for r in self.of_collaboration(KIND, collaboration) if base is None or r.arn != base.arn]
        self.require_free_name_among(others, NOUN, fields["name"])
        self.require_capacity(KIND, membership, fields["resourceConfig"])
        fields["versionIdentifier"] = str(uuid.uuid4()) if base else BASE
        arn = base.arn if base else ""
        record = self.make(KIND, membership, fields, self.following(None, keeps=True), tags, "trainedModelArn", arn)
        if base:
            base.tags.update(record.tags)
            record.tags = base.tags
        return record.view()

    def _require_inputs(self, membership: Record, fields: dict[str, Any]) -> None:
        association = self.association(
            membership, fields["configuredModelAlgorithmAssociationArn"], "trainingContainerConfig"
        )
        channels = [*fields["dataChannels"], *fields.get("incrementalTrainingDataChannels", ())]
        names = [channel["channelName"] for channel in channels]
        if len(names) > 20 or len(set(names)) < len(names):
            raise invalid("At most 20 channels in all, each with a name of its own.")
        for channel in fields["dataChannels"]:
            found = self.channel(membership, channel["mlInputChannelArn"])
            if association.arn not in found.fields["configuredModelAlgorithmAssociations"]:
                raise invalid(f"ML input channel {found.arn} was not made for {association.arn}.")

    def _continued(self, membership: Record, fields: dict[str, Any]) -> list[Record]:
        """Versions of the model that is trained further, or none; the channel is noted as the service shows it."""
        for channel in fields.get("incrementalTrainingDataChannels", ()):
            versions = list(self.of_membership(KIND, membership, arn=channel["trainedModelArn"]))
            if not versions:
                raise not_found(NOUN, channel["trainedModelArn"])
            source = self.active_version(membership, channel["trainedModelArn"], channel.get("versionIdentifier"))
            if len(versions) >= self.settings.versions_per_trained_model:
                raise quota("Versions per trained model", self.settings.versions_per_trained_model)
            shown = {
                "channelName": channel["channelName"],
                "versionIdentifier": source.fields["versionIdentifier"],
                "modelName": source.fields["name"],
            }
            fields["incrementalTrainingDataChannels"] = [shown]
            return versions
        return []

    def _own_version(self, caller: Caller, membership: str, arn: str, version: str | None, *, latest: bool) -> Record:
        within = self.membership(caller, membership).id
        return self.version(arn, version, latest=latest, membershipIdentifier=within)

    def get_trained_model(
        self,
        caller: Caller,
        *,
        membership_identifier: str,
        trained_model_arn: str,
        version_identifier: str | None = None,
    ) -> dict[str, Any]:
        """GetTrainedModel; the latest version where none is named."""
        record = self._own_version(caller, membership_identifier, trained_model_arn, version_identifier, latest=True)
        return self.published(caller, record)

    def get_collaboration_trained_model(
        self,
        caller: Caller,
        *,
        collaboration_identifier: str,
        trained_model_arn: str,
        version_identifier: str | None = None,
    ) -> dict[str, Any]:
        """GetCollaborationTrainedModel; the latest version where none is named."""
        within = self.collaboration(caller, collaboration_identifier).id
        record = self.version(trained_model_arn, version_identifier, collaborationIdentifier=within)
        return self.published(caller, record)

    def list_trained_models(self, caller: Caller, *, membership_identifier: str) -> Listing:
        """ListTrainedModels: the latest version of each, at the place of the base version."""
        bases = {"versionIdentifier": BASE, "entry": self.latest_version}
        return self.membership_listing(KIND, caller, membership_identifier, **bases)

    def list_collaboration_trained_models(self, caller: Caller, *, collaboration_identifier: str) -> Listing:
        """ListCollaborationTrainedModels: the latest version of each, at the place of the base version."""
        bases = {"versionIdentifier": BASE, "entry": self.latest_version}
        return self.collaboration_listing(KIND, caller, collaboration_identifier, **bases)

    def list_trained_model_versions(
        self, caller: Caller, *, membership_identifier: str, trained_model_arn: str, status: str | None = None
    ) -> Listing:
        """ListTrainedModelVersions."""
        base = self._own_version(caller, membership_identifier, trained_model_arn, None, latest=False)
        return self.membership_listing(
            KIND,
            caller,
            membership_identifier,
            where=lambda record: status in (None, record.status),
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
        """CancelTrainedModel, while it is trained; the base version where none is named."""
        record = self._own_version(caller, membership_identifier, trained_model_arn, version_identifier, latest=False)
        if record.status not in PENDING:
            raise conflict(f"Trained model {record.arn} is {record.status}.")
        record.life.cancel()
        return {}

    def delete_trained_model_output(
        self,
        caller: Caller,
        *,
        membership_identifier: str,
        trained_model_arn: str,
        version_identifier: str | None = None,
    ) -> dict[str, Any]:
        """DeleteTrainedModelOutput: the data goes, the model stays INACTIVE; the base version where none is named."""
        record = self._own_version(caller, membership_identifier, trained_model_arn, version_identifier, latest=False)
        if record.status not in ("ACTIVE", "CREATE_FAILED"):
            raise conflict(f"Trained model {record.arn} is {record.status}.")
        of = (record.arn, record.fields["versionIdentifier"])
        for kind in ("trained-model-inference-job", "trained-model-export-job"):
            for job in self.store.all(kind):
                if job.status in PENDING and (job.fields["trainedModelArn"], job.fields[VERSION]) == of:
                    raise conflict(f"The job {job.fields['name']} uses the trained model {record.arn}.")
        self.delete(record)
        return {}


#: Member by which jobs name the version of their model.
VERSION = "trainedModelVersionIdentifier"
