"""ML configurations: where a member's output, metrics and logs go."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.access import MEMBERSHIP, Access
from airflow_cleanroomsml.emulator.errors import not_found
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "ml-configuration", "ML configuration"
_JOBS = ("trained-model", "trained-model-inference-job")
_SUCCEEDED = {"metricsStatus": "PUBLISH_SUCCEEDED", "logsStatus": "PUBLISH_SUCCEEDED"}
_FAILED = {
    "metricsStatus": "PUBLISH_FAILED",
    "metricsStatusDetails": "Failed to publish metrics as no ML Config role is set",
    "logsStatus": "PUBLISH_FAILED",
    "logsStatusDetails": "Failed to publish logs as no ML Config role is set",
}

#: Member of a job for what is settled, by membership.
_PUBLICATIONS = "publications"


class Publishing(Access):
    """
    Whether metrics and logs of a job were published to a member: each sees its own.

    That is settled when the job ends; an ML configuration that comes or goes later changes nothing.
    """

    def published(self, caller: Caller, record: Record) -> dict[str, Any]:
        """A job as the service shows it to a member."""
        collaboration = record.fields["collaborationIdentifier"]
        own = self.store.all(MEMBERSHIP, caller, collaborationId=collaboration)
        return {**record.view(), **self.publication(record, next(own))}

    def publication(self, record: Record, membership: Record) -> dict[str, str]:
        """Statuses of metrics and logs for a member; nothing before the job has ended."""
        if record.status in (*PENDING, "CANCEL_PENDING", "CANCEL_IN_PROGRESS"):
            return {}
        settled: dict[str, str] | None = record.fields.get(_PUBLICATIONS, {}).get(membership.id)
        if settled is not None:
            return settled
        return _SUCCEEDED if any(self.of_membership(KIND, membership)) else _FAILED


class MLConfigurations(Publishing):
    """One of a membership."""

    def put_ml_configuration(
        self, caller: Caller, *, membership_identifier: str, default_output_location: dict[str, Any]
    ) -> dict[str, Any]:
        """PutMLConfiguration."""
        membership = self.active_membership(caller, membership_identifier)
        self.require_own_role(caller, default_output_location["roleArn"])
        present = next(self.of_membership(KIND, membership), None)
        if present is None:
            self._settle(membership)
            present = self.make(KIND, membership, {}, self.instant(), None, "")
        present.fields["defaultOutputLocation"] = default_output_location
        present.updated = self.clock.now()
        return {}

    def _settle(self, membership: Record) -> None:
        """Note for the jobs that have ended what the member's configuration was like then."""
        for kind in _JOBS:
            for job in list(self.of_collaboration(kind, membership.fields["collaborationId"])):
                publication = self.publication(job, membership)
                if publication:
                    job.fields.setdefault(_PUBLICATIONS, {})[membership.id] = publication

    def _configuration(self, membership: Record) -> Record:
        for record in self.of_membership(KIND, membership):
            return record
        raise not_found(NOUN, membership.id)

    def get_ml_configuration(self, caller: Caller, *, membership_identifier: str) -> dict[str, Any]:
        """GetMLConfiguration."""
        return self._configuration(self.membership(caller, membership_identifier)).view()

    def delete_ml_configuration(self, caller: Caller, *, membership_identifier: str) -> dict[str, Any]:
        """DeleteMLConfiguration."""
        membership = self.membership(caller, membership_identifier)
        record = self._configuration(membership)
        self._settle(membership)
        self.delete(record)
        return {}
