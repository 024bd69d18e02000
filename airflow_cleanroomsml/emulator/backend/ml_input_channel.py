"""ML input channels, which hold query results for training and inference."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.access import Access
from airflow_cleanroomsml.emulator.backend.base import BackendContext
from airflow_cleanroomsml.emulator.backend.configured_model_algorithm_association import AlgorithmLookup
from airflow_cleanroomsml.emulator.backend.protected_query import QueryRecorder
from airflow_cleanroomsml.emulator.errors import conflict_error, quota_error, validation_error
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "ml-input-channel", "ML input channel"
_DAY = 86_400.0


class InputChannelLookup(Access):
    """Looks up channels for other kinds of resources."""

    def require_active_channel(self, membership: Record, arn: str) -> Record:
        """Return an ACTIVE channel in the collaboration of a membership."""
        record = self.require_in_collaboration(KIND, NOUN, membership.fields["collaborationId"], arn)
        if record.status != "ACTIVE":
            raise validation_error(f"The ML input channel {arn} is not ACTIVE (status {record.status}).")
        return record


class MLInputChannels(Access):
    """Operations on input channels; the emulator does not run their SQL."""

    def __init__(self, context: BackendContext) -> None:
        super().__init__(context)
        self._algorithms = AlgorithmLookup(context)
        self._queries = QueryRecorder(context)

    def create_ml_input_channel(
        self, caller: Caller, *, membership_identifier: str, tags: dict[str, str] | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """CreateMLInputChannel."""
        # Only the member who can query creates channels, trains and infers (user guide, create-custom-ml-collaboration).
        membership = self.require_active_membership(caller, membership_identifier, "CAN_QUERY")
        fields = self.to_api_names("create_ml_input_channel", arguments)
        for arn in fields["configuredModelAlgorithmAssociations"]:
            self._algorithms.require_association(membership, arn)
        self.require_own_role(caller, fields["inputChannel"]["roleArn"])
        self.require_payers(caller, membership, list(fields.get("payerConfiguration", {}).values()))
        self._check_new_channel(membership, fields["name"])
        lifecycle = self.build_lifecycle(None, keeps_metadata=True, retention=fields["retentionInDays"] * _DAY)
        source = fields["inputChannel"]["dataSource"]["protectedQueryInputParameters"]
        query = self._queries.record_query(
            membership, source["sqlParameters"], source.get("computeConfiguration"), lifecycle
        )
        fields["protectedQueryIdentifier"] = query
        return self.add_resource(KIND, membership, fields, lifecycle, tags, "mlInputChannelArn").describe()

    def _check_new_channel(self, membership: Record, name: str) -> None:
        present = list(self.find_in_membership(KIND, membership))
        self.require_free_name_among(present, NOUN, name)
        limit = self.settings.input_channels_per_membership
        if sum(record.status in ("ACTIVE", *PENDING) for record in present) >= limit:
            raise quota_error("Active ML input channels per membership", limit)

    def get_ml_input_channel(
        self, caller: Caller, *, membership_identifier: str, ml_input_channel_arn: str
    ) -> dict[str, Any]:
        """GetMLInputChannel."""
        return self.require_in_membership(caller, membership_identifier, KIND, NOUN, ml_input_channel_arn).describe()

    def list_ml_input_channels(self, caller: Caller, *, membership_identifier: str) -> Listing:
        """ListMLInputChannels."""
        return self.build_membership_listing(KIND, caller, membership_identifier)

    def get_collaboration_ml_input_channel(
        self, caller: Caller, *, collaboration_identifier: str, ml_input_channel_arn: str
    ) -> dict[str, Any]:
        """GetCollaborationMLInputChannel; its response has no member for the SQL."""
        identifier = self.require_collaboration(caller, collaboration_identifier).id
        return self.require_in_collaboration(KIND, NOUN, identifier, ml_input_channel_arn).describe()

    def list_collaboration_ml_input_channels(self, caller: Caller, *, collaboration_identifier: str) -> Listing:
        """ListCollaborationMLInputChannels."""
        return self.build_collaboration_listing(KIND, caller, collaboration_identifier)

    def delete_ml_input_channel_data(
        self, caller: Caller, *, membership_identifier: str, ml_input_channel_arn: str
    ) -> dict[str, Any]:
        """DeleteMLInputChannelData; the channel becomes INACTIVE."""
        record = self.require_in_membership(caller, membership_identifier, KIND, NOUN, ml_input_channel_arn)
        if record.status not in ("ACTIVE", "CREATE_FAILED"):
            raise conflict_error(
                f"The ML input channel {record.arn} is {record.status}; only the data of an ACTIVE or CREATE_FAILED channel can be deleted."
            )
        for job in (*self.store.find("trained-model"), *self.store.find("trained-model-inference-job")):
            if job.status in PENDING and record.arn in _list_channels(job):
                raise conflict_error(
                    f"The data of the ML input channel {record.arn} cannot be deleted while {job.arn} reads it."
                )
        self.delete(record)
        return {}


def _list_channels(job: Record) -> list[str]:
    """Return the ARNs of the channels that a job reads."""
    # An inference job has a single source, a training several channels.
    source = job.fields.get("dataSource")
    channels = [source] if source else job.fields.get("dataChannels", [])
    return [channel["mlInputChannelArn"] for channel in channels]
