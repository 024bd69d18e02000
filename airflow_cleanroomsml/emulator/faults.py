"""Faults on request, for tests of those who call: each is used up by the next calls of its operation."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from airflow_cleanroomsml.emulator.errors import ApiError, quota
from airflow_cleanroomsml.emulator.lookalike import JobFailure

#: What can go wrong. ``reset`` breaks the connection before the request is carried out, ``lose_response`` after it; ``fail_job`` lets the
#: request be accepted and its job fail.
KINDS = ("reset", "lose_response", "throttle", "server_error", "access_denied", "quota", "no_quota", "fail_job")


@dataclass
class Fault:
    """
    A fault.

    :param operation: API operation, for instance ``CreateAudienceModel``.
    :param kind: One of :data:`KINDS`.
    :param account: Account whose calls it meets; empty for all.
    :param times: How often.
    :param code: For ``fail_job``: ``statusDetails.statusCode``.
    :param message: For ``fail_job``: ``statusDetails.message``; ``{query}`` becomes the SQL of the request.
    """

    operation: str
    kind: str
    account: str = ""
    times: int = 1
    code: str = "FAULT_ON_REQUEST"
    message: str = "The job fails because a test asked for it."

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"fault {self.kind!r} is unknown; allowed: {', '.join(KINDS)}")

    def verdict(self, members: dict[str, Any]) -> JobFailure:
        """How the job of a request ends."""
        return JobFailure(self.code, self.message.replace("{query}", _query(members)))


def _query(value: Any) -> str:
    """The SQL somewhere in a request, or nothing."""
    if not isinstance(value, dict):
        return ""
    return value.get("queryString") or next(filter(None, map(_query, value.values())), "")


class ConnectionDropped(Exception):
    """The connection is closed without an answer."""


class Faults:
    """The faults that are waiting for a call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let it happen at the next call."""
        self._waiting.append(fault)

    def clear(self) -> None:
        """Let none of them happen."""
        with self._lock:
            self._waiting = []

    def take(self, operation: str, account: str) -> Fault | None:
        """The fault that meets this call."""
        with self._lock:
            for fault in self._waiting:
                if fault.operation == operation and fault.account in ("", account) and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None


def before(kind: str, internal_error: str) -> None:
    """
    What happens instead of the operation.

    :param internal_error: The service's error for a failure of its own.
    """
    if kind == "reset":
        raise ConnectionDropped
    if kind == "throttle":
        raise ApiError("ThrottlingException", "Rate exceeded.", status=429)
    if kind == "server_error":
        raise ApiError(internal_error, "The service failed.", status=500)
    if kind == "access_denied":
        raise ApiError("AccessDeniedException", "The caller is not authorized to perform this operation.")
    if kind in ("quota", "no_quota"):
        raise quota("A quota of this service", 0 if kind == "no_quota" else 2)


def after(kind: str) -> None:
    """What happens when the operation is done."""
    if kind == "lose_response":
        raise ConnectionDropped
