"""Protected queries: made by ML input channels and by seeds of SQL; nothing runs them here."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.emulator.backend.access import Access
from airflow_cleanroomsml.emulator.errors import conflict, not_found
from airflow_cleanroomsml.emulator.lifecycle import Life
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.lookalike import JobFailure, StatusCode
from airflow_cleanroomsml.emulator.store import Caller, Record

KIND, NOUN = "protected-query", "Protected query"
_STATUS = {
    "CREATE_PENDING": "SUBMITTED",
    "CREATE_IN_PROGRESS": "STARTED",
    "CREATE_FAILED": "FAILED",
    "ACTIVE": "SUCCESS",
    "CANCEL_PENDING": "CANCELLING",
    "CANCEL_IN_PROGRESS": "CANCELLING",
    "INACTIVE": "CANCELLED",
}


class Queries(Access):
    """How other nouns make queries."""

    def query(self, membership: Record, parameters: dict[str, Any], compute: dict[str, Any] | None, job: Life) -> str:
        """
        Record a query.

        :param parameters: ``sqlParameters``.
        :param compute: ``computeConfiguration``.
        :param job: Life of what asks it: both fail together.
        :return: Its identifier.
        """
        life = self.following(None)
        if job.verdict is not None:
            life.fail(job.verdict)
        fields = {
            "membershipId": membership.id,
            "membershipArn": membership.arn,
            "membershipIdentifier": membership.id,
            "sqlParameters": parameters,
            "computeConfiguration": compute,
            "job": job,
        }
        arn = membership.caller.arn(f"membership/{membership.id}/protectedquery", "cleanrooms")
        return self.store.add(Record(KIND, fields, membership.caller, life, "arn", {}, arn)).id


class ProtectedQueries(Access):
    """Reading and cancelling them."""

    def _own_query(self, caller: Caller, membership_identifier: str, identifier: str) -> Record:
        for record in self.of_membership(KIND, self.membership(caller, membership_identifier), id=identifier):
            return record
        raise not_found(NOUN, identifier)

    def get_protected_query(
        self, caller: Caller, *, membership_identifier: str, protected_query_identifier: str
    ) -> dict[str, Any]:
        """GetProtectedQuery."""
        return {"protectedQuery": _view(self._own_query(caller, membership_identifier, protected_query_identifier))}

    def list_protected_queries(
        self, caller: Caller, *, membership_identifier: str, status: str | None = None
    ) -> Listing:
        """ListProtectedQueries, "sorted by the most recent query" (API reference)."""
        return self.membership_listing(
            KIND,
            caller,
            membership_identifier,
            entry=lambda record: {**_view(record), "receiverConfigurations": []},
            where=lambda record: status in (None, _STATUS[record.status]),
            newest_first=True,
        )

    def update_protected_query(
        self, caller: Caller, *, membership_identifier: str, protected_query_identifier: str, target_status: str
    ) -> dict[str, Any]:
        """UpdateProtectedQuery: cancel it while it runs; what asks it fails when it is cancelled."""
        record = self._own_query(caller, membership_identifier, protected_query_identifier)
        status = _view(record)["status"]
        if status not in ("SUBMITTED", "STARTED"):
            raise conflict(f"Protected query {record.id} is {status}.", resourceId=record.id)
        record.life.cancel()
        failure = JobFailure(StatusCode.QUERY_CANCELLED, f"The protected query {record.id} was cancelled.")
        record.fields["job"].fail(failure, self.clock.now() + record.life.deleting)
        return {"protectedQuery": _view(record)}


def _view(record: Record) -> dict[str, Any]:
    view = record.view()
    failure = record.life.failure if view["status"] == "CREATE_FAILED" else None
    error = {"code": failure.status_code, "message": failure.message} if failure else None
    return {**view, "id": record.id, "status": _STATUS[view["status"]], "error": error}
