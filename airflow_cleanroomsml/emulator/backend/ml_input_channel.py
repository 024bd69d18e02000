"""ML input channels: results of queries, for training and inference."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.configured_model_algorithm_association import Algorithms
from airflow_cleanroomsml.emulator.backend.protected_query import Queries
from airflow_cleanroomsml.emulator.errors import conflict, invalid, quota
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "ml-input-channel", "ML input channel"
_DAY = 86_400.0


class Channels(Algorithms):
    """How other nouns find channels."""

    def channel(self, membership: Record, arn: str) -> Record:
        """An ACTIVE channel in the collaboration of a membership."""
        record = self.shared(KIND, NOUN, membership.fields["collaborationId"], arn)
        if record.status != "ACTIVE":
            raise invalid(f"ML input channel {arn} is {record.status}; it must be ACTIVE.")
        return record

    def require_payers(self, caller: Caller, membership: Record, accounts: list[str | None]) -> None:
        """Refuse a payer that is no member of the collaboration."""
        collaboration = self.collaboration(caller, membership.fields["collaborationId"])
        for account in accounts:
            if account is not None and self.member(collaboration, account) is None:
                raise invalid(f"The payer {account} is no member of the collaboration {collaboration.id}.")


class MLInputChannels(Channels, Queries):
    """The SQL is taken as it is: nothing runs it."""

    def create_ml_input_channel(
        self, caller: Caller, *, membership_identifier: str, tags: dict[str, str] | None = None, **given: Any
    ) -> dict[str, Any]:
        """CreateMLInputChannel."""
        membership = self.active_membership(caller, membership_identifier, "CAN_QUERY")
        fields = self.spelled("create_ml_input_channel", given)
        for arn in fields["configuredModelAlgorithmAssociations"]:
            self.association(membership, arn)
        self.require_own_role(caller, fields["inputChannel"]["roleArn"])
        self.require_payers(caller, membership, list(fields.get("payerConfiguration", {}).values()))
        self._require_room_for_channel(membership, fields["name"])
        life = self.following(None, keeps=True, retention=fields["retentionInDays"] * _DAY)
        source = fields["inputChannel"]["dataSource"]["protectedQueryInputParameters"]
        query = self.query(membership, source["sqlParameters"], source.get("computeConfiguration"), life)
        fields["protectedQueryIdentifier"] = query
        return self.make(KIND, membership, fields, life, tags, "mlInputChannelArn").view()

    def _require_room_for_channel(self, membership: Record, name: str) -> None:
        present = list(self.of_membership(KIND, membership))
        self.require_free_name_among(present, NOUN, name)
        limit = self.settings.input_channels_per_membership
        if sum(record.status in ("ACTIVE", *PENDING) for record in present) >= limit:
            raise quota("Active ML input channels per membership", limit)

    def get_ml_input_channel(
        self, caller: Caller, *, membership_identifier: str, ml_input_channel_arn: str
    ) -> dict[str, Any]:
        """GetMLInputChannel."""
        return self.own(caller, membership_identifier, KIND, NOUN, ml_input_channel_arn).view()

    def list_ml_input_channels(self, caller: Caller, *, membership_identifier: str) -> Listing:
        """ListMLInputChannels."""
        return self.membership_listing(KIND, caller, membership_identifier)

    def get_collaboration_ml_input_channel(
        self, caller: Caller, *, collaboration_identifier: str, ml_input_channel_arn: str
    ) -> dict[str, Any]:
        """GetCollaborationMLInputChannel; it shows no SQL."""
        identifier = self.collaboration(caller, collaboration_identifier).id
        return self.shared(KIND, NOUN, identifier, ml_input_channel_arn).view()

    def list_collaboration_ml_input_channels(self, caller: Caller, *, collaboration_identifier: str) -> Listing:
        """ListCollaborationMLInputChannels."""
        return self.collaboration_listing(KIND, caller, collaboration_identifier)

    def delete_ml_input_channel_data(
        self, caller: Caller, *, membership_identifier: str, ml_input_channel_arn: str
    ) -> dict[str, Any]:
        """DeleteMLInputChannelData: the data goes, the channel stays INACTIVE."""
        record = self.own(caller, membership_identifier, KIND, NOUN, ml_input_channel_arn)
        if record.status not in ("ACTIVE", "CREATE_FAILED"):
            raise conflict(f"ML input channel {record.arn} is {record.status}.")
        for job in (*self.store.all("trained-model"), *self.store.all("trained-model-inference-job")):
            if job.status in PENDING and record.arn in _read(job):
                raise conflict(f"{job.arn} reads the ML input channel {record.arn}.")
        self.delete(record)
        return {}


def _read(job: Record) -> list[str]:
    """Channels that a job reads."""
    source = job.fields.get("dataSource")
    channels = [source] if source else job.fields.get("dataChannels", [])
    return [channel["mlInputChannelArn"] for channel in channels]
