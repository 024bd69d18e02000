"""Protected queries, which ML input channels and SQL seeds start; the emulator does not run them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_cleanroomsml.emulator.backend.access import Access
from airflow_cleanroomsml.emulator.errors import conflict_error, not_found_error
from airflow_cleanroomsml.emulator.lifecycle import Lifecycle
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.lookalike import JobFailure, StatusCode
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "protected-query", "Protected query"
#: Statuses of protected queries by the status of their lifecycle.
_STATUS = {
    "CREATE_PENDING": "SUBMITTED",
    "CREATE_IN_PROGRESS": "STARTED",
    "CREATE_FAILED": "FAILED",
    "ACTIVE": "SUCCESS",
    "CANCEL_PENDING": "CANCELLING",
    "CANCEL_IN_PROGRESS": "CANCELLING",
    "INACTIVE": "CANCELLED",
}


@dataclass(frozen=True)
class QueryDetails:
    """
    Details of a query.

    :param job: Lifecycle of the job or channel that started it.
    """

    job: Lifecycle


class QueryRecorder(Access):
    """Records the queries of other kinds of resources."""

    def record_query(
        self, membership: Record, parameters: dict[str, Any], compute: dict[str, Any] | None, job: Lifecycle
    ) -> str:
        """
        Record a query.

        :param parameters: ``sqlParameters``.
        :param compute: ``computeConfiguration``.
        :param job: Lifecycle of the job or channel, which fails together with its query.
        :return: Identifier of the query.
        """
        # With a lifecycle of its own, because the query can be cancelled before its job ends.
        lifecycle = self.build_lifecycle(None)
        if job.forced_failure is not None:
            lifecycle.fail(job.forced_failure)
        fields = {
            "membershipId": membership.id,
            "membershipArn": membership.arn,
            "sqlParameters": parameters,
            "computeConfiguration": compute,
        }
        arn = membership.caller.build_arn(f"membership/{membership.id}/protectedquery", "cleanrooms")
        details = QueryDetails(job)
        return self.add_resource(KIND, membership, fields, lifecycle, None, "", arn, details=details).id


class ProtectedQueries(Access):
    """Operations on protected queries."""

    service = "cleanrooms"

    def _require_own_query(self, caller: Caller, membership_identifier: str, identifier: str) -> Record:
        for record in self.find_in_membership(
            KIND, self.require_membership(caller, membership_identifier), id=identifier
        ):
            return record
        raise not_found_error(NOUN, identifier)

    def get_protected_query(
        self, caller: Caller, *, membership_identifier: str, protected_query_identifier: str
    ) -> dict[str, Any]:
        """GetProtectedQuery."""
        return {
            "protectedQuery": _describe(
                self._require_own_query(caller, membership_identifier, protected_query_identifier)
            )
        }

    def list_protected_queries(
        self, caller: Caller, *, membership_identifier: str, status: str | None = None
    ) -> Listing:
        """ListProtectedQueries, "sorted by the most recent query" (API reference)."""
        return self.build_membership_listing(
            KIND,
            caller,
            membership_identifier,
            describe=lambda record: {**_describe(record), "receiverConfigurations": []},
            is_included=lambda record: status in (None, _STATUS[record.status]),
            newest_first=True,
        )

    def update_protected_query(
        self, caller: Caller, *, membership_identifier: str, protected_query_identifier: str, target_status: str
    ) -> dict[str, Any]:
        """UpdateProtectedQuery: cancels a running query; its job or channel fails once the query is CANCELLED."""
        record = self._require_own_query(caller, membership_identifier, protected_query_identifier)
        status = _describe(record)["status"]
        if status not in ("SUBMITTED", "STARTED"):
            raise conflict_error(
                f"The protected query {record.id} is {status}; only a SUBMITTED or STARTED query can be cancelled.",
                resourceId=record.id,
            )
        record.lifecycle.cancel()
        # The job fails when the query is CANCELLED, not while it is still CANCELLING.
        failure = JobFailure(StatusCode.QUERY_CANCELLED, f"The protected query {record.id} was cancelled.")
        record.details.job.fail(failure, self.clock.now() + record.lifecycle.deletion_seconds)
        return {"protectedQuery": _describe(record)}


def _describe(record: Record) -> dict[str, Any]:
    describe = record.describe()
    failure = record.lifecycle.failure if describe["status"] == "CREATE_FAILED" else None
    error = {"code": failure.status_code, "message": failure.message} if failure else None
    return {**describe, "id": record.id, "status": _STATUS[describe["status"]], "error": error}
