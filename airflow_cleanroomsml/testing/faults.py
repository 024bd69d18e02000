"""Faults that a test injects."""

from __future__ import annotations

from typing import Any

from airflow_cleanroomsml.testing.admin_api import AdminApi


class Faults:
    """
    Faults of the calls of one account.

    Each applies to the next calls of an operation, for instance ``CreateAudienceModel``, or ``*`` for any, and is then used up. The README
    lists all kinds.

    :param admin_api: Admin API of the emulator.
    :param account: Account whose calls fail.
    """

    def __init__(self, admin_api: AdminApi, account: str) -> None:
        self._admin_api = admin_api
        self._account = account

    def inject(self, operation: str, kind: str, *, times: int = 1, **options: Any) -> None:
        """
        Inject a fault.

        :param operation: Operation of Clean Rooms ML or Clean Rooms, or ``*``.
        :param kind: For instance ``throttle``, ``lose_response`` or ``fail_job``.
        :param times: Number of calls, counting retries; 0 for all calls of the test.
        :param options: ``lasts``, ``seconds``, ``code``, ``message`` or ``body``.
        :raises EmulatorError: There is no such operation, kind or option.
        """
        fault = {"operation": operation, "kind": kind, "account": self._account, "times": times, **options}
        self._admin_api.call("POST", "/_emulator/faults", fault)

    def throttle(self, operation: str, *, times: int = 1) -> None:
        """Reject calls with ThrottlingException."""
        self.inject(operation, "throttle", times=times)

    def lose_response(self, operation: str, *, times: int = 1) -> None:
        """Execute calls, and close their connections without a response."""
        self.inject(operation, "lose_response", times=times)

    def fail_job(
        self, operation: str, message: str = "The job failed.", *, code: str = "FAULT_ON_REQUEST", times: int = 1
    ) -> None:
        """
        Accept calls, and make the jobs that they start fail.

        :param message: ``statusDetails.message`` of the job.
        :param code: ``statusDetails.statusCode`` of the job.
        """
        self.inject(operation, "fail_job", message=message, code=code, times=times)

    def list_active(self) -> list[dict[str, Any]]:
        """Return the faults that are not used up; a test can check that none are left."""
        faults = self._admin_api.call("GET", "/_emulator/faults")["faults"]
        return [fault for fault in faults if fault["account"] == self._account]

    def clear(self) -> None:
        """Remove all faults of the account."""
        self._admin_api.call("DELETE", f"/_emulator/faults?account={self._account}")
