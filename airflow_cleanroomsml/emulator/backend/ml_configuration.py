"""ML configurations, which set where a member's output, metrics and logs go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from airflow_cleanroomsml.emulator.backend.access import MEMBERSHIP, Access
from airflow_cleanroomsml.emulator.errors import not_found_error
from airflow_cleanroomsml.emulator.lifecycle import PENDING
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "ml-configuration", "ML configuration"
_JOBS = ("trained-model", "trained-model-inference-job")
#: The details are those of the service (AWS agent toolkit, custom-model-logging-debugging).
_SUCCEEDED = {"metricsStatus": "PUBLISH_SUCCEEDED", "logsStatus": "PUBLISH_SUCCEEDED"}
_FAILED = {
    "metricsStatus": "PUBLISH_FAILED",
    "metricsStatusDetails": "Failed to publish metrics as no ML Config role is set",
    "logsStatus": "PUBLISH_FAILED",
    "logsStatusDetails": "Failed to publish logs as no ML Config role is set",
}


@dataclass(frozen=True)
class JobDetails:
    """
    Details of a trained model or an inference job.

    :param publications: Statuses of metrics and logs that are final, by the identifier of the membership.
    """

    publications: Mapping[str, dict[str, str]] = field(default_factory=lambda: MappingProxyType({}))


class JobPublications(Access):
    """
    Determines whether metrics and logs of a job were published; each member sees their own statuses.

    They depend on the member's ML configuration at the end of the job; later changes have no effect (AWS agent toolkit: fixing the role
    does not republish the logs of past jobs).
    """

    def describe_job(self, caller: Caller, record: Record) -> dict[str, Any]:
        """Return a job as the service shows it to a member."""
        memberships = self.store.find(MEMBERSHIP, caller, collaborationId=record.collaboration_id)
        return {**record.describe(), **self.find_publication(record, next(memberships))}

    def find_publication(self, record: Record, membership: Record) -> dict[str, str]:
        """Return the statuses of metrics and logs for a member; empty before the job has ended."""
        if record.status in (*PENDING, "CANCEL_PENDING", "CANCEL_IN_PROGRESS"):
            return {}
        final: dict[str, str] | None = record.details.publications.get(membership.id)
        if final is not None:
            return final
        return _SUCCEEDED if any(self.find_in_membership(KIND, membership)) else _FAILED


class MLConfigurations(JobPublications):
    """Operations on ML configurations; each membership has at most one."""

    def put_ml_configuration(
        self, caller: Caller, *, membership_identifier: str, default_output_location: dict[str, Any]
    ) -> dict[str, Any]:
        """PutMLConfiguration."""
        membership = self.require_active_membership(caller, membership_identifier)
        self.require_own_role(caller, default_output_location["roleArn"])
        record = next(self.find_in_membership(KIND, membership), None)
        if record is None:
            self._record_publications(membership)
            record = self.add_resource(KIND, membership, {}, self.build_instant_lifecycle(), None, "")
        record.fields["defaultOutputLocation"] = default_output_location
        record.updated = self.clock.now()
        return {}

    def _record_publications(self, membership: Record) -> None:
        """Record the final statuses of the jobs that have ended, before the configuration is created or deleted."""
        for kind in _JOBS:
            for job in list(self.find_in_collaboration(kind, membership.fields["collaborationId"])):
                publication = self.find_publication(job, membership)
                if publication:
                    job.details = JobDetails({**job.details.publications, membership.id: publication})

    def _require_configuration(self, membership: Record) -> Record:
        for record in self.find_in_membership(KIND, membership):
            return record
        raise not_found_error(f"{NOUN} of membership", membership.id)

    def get_ml_configuration(self, caller: Caller, *, membership_identifier: str) -> dict[str, Any]:
        """GetMLConfiguration."""
        return self._require_configuration(self.require_membership(caller, membership_identifier)).describe()

    def delete_ml_configuration(self, caller: Caller, *, membership_identifier: str) -> dict[str, Any]:
        """DeleteMLConfiguration."""
        membership = self.require_membership(caller, membership_identifier)
        record = self._require_configuration(membership)
        self._record_publications(membership)
        self.delete(record)
        return {}
