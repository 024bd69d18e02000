"""Trained models and their versions."""

from __future__ import annotations

import uuid
from typing import Any

from airflow_cleanroomsml.emulator.backend.compute import Compute
from airflow_cleanroomsml.emulator.backend.ml_configuration import Publishing
from airflow_cleanroomsml.emulator.backend.ml_input_channel import Channels
from airflow_cleanroomsml.emulator.errors import conflict, invalid, not_found, quota
from airflow_cleanroomsml.emulator.life import PENDING
from airflow_cleanroomsml.emulator.state import Caller, Record

KIND, NOUN = "trained-model", "Trained model"
#: Identifier of the version that was trained first (API reference); no request can name it, for there it must be a UUID.
BASE = "NULL"


class Versions(Publishing):
    """How versions are found: they share an ARN."""

    def version(self, versions: list[Record], arn: str, identifier: str | None, *, latest: bool = True) -> Record:
        """
        One of the versions of a model.

        :param versions: Those that the caller may see, in the order of their creation.
        :param latest: Whether the latest one is meant where none is named, or the base version.
        """
        of_model = [record for record in versions if record.arn == arn]
        if identifier is None:
            of_model = of_model[-1:] if latest else of_model[:1]
        for record in of_model:
            if identifier in (None, record.fields["versionIdentifier"]):
                return record
        raise not_found(NOUN, arn if identifier is None else f"{arn} version {identifier}")

    def active_version(self, membership: Record, arn: str, identifier: str | None) -> Record:
        """An ACTIVE version in the collaboration of a membership; the latest where none is named."""
        versions = list(self.of_collaboration(KIND, membership.fields["collaborationId"]))
        record = self.version(versions, arn, identifier)
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
        record = self.make(KIND, membership, fields, self.following(None, keeps=True), tags, "trainedModelArn")
        if base:
            record.arn = record.fields["trainedModelArn"] = base.arn
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
            versions = [r for r in self.of_membership(KIND, membership) if r.arn == channel["trainedModelArn"]]
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
        versions = list(self.of_membership(KIND, self.membership(caller, membership)))
        return self.version(versions, arn, version, latest=latest)

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
        versions = list(self.of_collaboration(KIND, self.collaboration(caller, collaboration_identifier).id))
        return self.published(caller, self.version(versions, trained_model_arn, version_identifier))

    def list_trained_models(self, caller: Caller, *, membership_identifier: str) -> list[dict[str, Any]]:
        """ListTrainedModels: the latest version of each."""
        return _latest(list(self.of_membership(KIND, self.membership(caller, membership_identifier))))

    def list_collaboration_trained_models(
        self, caller: Caller, *, collaboration_identifier: str
    ) -> list[dict[str, Any]]:
        """ListCollaborationTrainedModels: the latest version of each."""
        return _latest(list(self.of_collaboration(KIND, self.collaboration(caller, collaboration_identifier).id)))

    def list_trained_model_versions(
        self, caller: Caller, *, membership_identifier: str, trained_model_arn: str, status: str | None = None
    ) -> list[dict[str, Any]]:
        """ListTrainedModelVersions."""
        self._own_version(caller, membership_identifier, trained_model_arn, None, latest=False)
        membership = self.membership(caller, membership_identifier)
        views = [record.view() for record in self.of_membership(KIND, membership) if record.arn == trained_model_arn]
        return [view for view in views if status in (None, view["status"])]

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


def _latest(versions: list[Record]) -> list[dict[str, Any]]:
    """One entry a model, in the order of the base versions."""
    places: dict[str, int] = {}
    for record in versions:
        places.setdefault(record.arn, record.sequence)
    newest = {record.arn: record.view() for record in versions}
    return [{**newest[arn], "sequence": place} for arn, place in places.items()]
