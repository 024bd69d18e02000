"""Fault injection: a test chooses which calls fail, and how."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from airflow_cleanroomsml._requests.model import load
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, CLEAN_ROOMS_ML
from airflow_cleanroomsml.emulator.errors import ApiError, access_denied_error, quota_error
from airflow_cleanroomsml.emulator.lookalike import JobFailure
from airflow_cleanroomsml.emulator.settings import is_finite_number

#: How a call ends. At most one of these applies to a call: the one that was added first.
OUTCOME_KINDS = {
    "reset": "the connection is closed, and the request is not carried out",
    "lose_response": "the request is carried out, but its response is lost",
    "late_commit": "the response is lost at once, and the request is carried out SECONDS later",
    "garbled": "200 with BODY, as if from a proxy, and the request is not carried out",
    "throttle": "429 ThrottlingException",
    "server_error": "500, the service's own error",
    "access_denied": "403 AccessDeniedException",
    "expired_credentials": "403 ExpiredTokenException",
    "quota": "402 ServiceQuotaExceededException",
    "no_quota": "402 ServiceQuotaExceededException for a quota of 0",
}
#: Other effects on a call. All that match apply to it, unless its outcome is an error; "slow" delays errors too.
MODIFIERS = {
    "slow": "the response comes SECONDS later",
    "fail_job": "the request is accepted, and its job fails with CODE and MESSAGE",
    "stale_listing": "a List… operation does not see what was created in the last SECONDS",
    "stale_read": "a Get… operation does not see what was created in the last SECONDS",
}
KINDS = {**OUTCOME_KINDS, **MODIFIERS}
_TIMED = ("late_commit", "slow", "stale_listing", "stale_read")
#: Outcomes after which nothing is executed. Modifiers other than "slow" cannot affect such a call, so it does not use them up.
_ERRORS = tuple(kind for kind in OUTCOME_KINDS if kind not in ("lose_response", "late_commit"))
_VERBS = {"stale_listing": "List", "stale_read": "Get"}
EVERY = "*"
_LOGIN_PAGE = "<html><body>Log in to the network.</body></html>"


@dataclass
class Fault:
    """
    A fault.

    :param operation: API operation, for instance ``CreateAudienceModel``, or ``*`` for all.
    :param kind: One of :data:`KINDS`.
    :param account: Account whose calls it applies to; empty for all.
    :param times: Number of calls it applies to, counting each page of a listing and each retry; 0 or ``forever`` for all calls until it
        is deleted.
    :param lasts: Seconds after which it expires, by the emulator's clock; None for never.
    :param seconds: Delay or staleness in seconds, by the emulator's clock.
    :param code: For ``fail_job``: ``statusDetails.statusCode``.
    :param message: For ``fail_job``: ``statusDetails.message``; ``{query}`` is replaced by the SQL of the request.
    :param body: For ``garbled``: the body of the response.
    """

    operation: str
    kind: str
    account: str = ""
    times: int | str = 1
    lasts: float | None = None
    seconds: float = 0.0
    code: str = "FAULT_ON_REQUEST"
    message: str = "The job failed because a test injected this fault."
    body: str = _LOGIN_PAGE
    added_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        # A list, unlike other values of a wrong type, cannot be looked up.
        if not isinstance(self.kind, str) or self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r} is unknown; allowed: {', '.join(KINDS)}")
        verb = _VERBS.get(self.kind, "")
        if self.operation != EVERY and not _is_operation(self.operation, verb):
            raise ValueError(
                f"operation: {self.operation!r} is not {f'a {verb}' if verb else 'an API'} operation; use {EVERY!r} for all"
            )
        if self.times == "forever":
            self.times = 0
        if not isinstance(self.times, int) or isinstance(self.times, bool) or self.times < 0:
            raise ValueError(f"times is {self.times!r}; must be a number of calls, or 0 or 'forever'")
        self._check_time("lasts", self.lasts)
        self._check_time("seconds", self.seconds)
        if self.kind in _TIMED and not self.seconds:
            raise ValueError(f"seconds is {self.seconds!r}; a fault of kind {self.kind!r} requires a number above 0")
        if not all(isinstance(text, str) for text in (self.account, self.code, self.message, self.body)):
            raise ValueError("account, code, message and body must be strings")
        # use() counts times down to 0, which would otherwise mean forever.
        self._forever = self.times == 0

    def _check_time(self, name: str, value: Any) -> None:
        if value is None and name == "lasts":
            return
        if not is_finite_number(value) or value < 0:
            raise ValueError(f"{name} is {value!r}; must be a number of seconds, 0 or more")

    def is_expired(self, now: float) -> bool:
        """Return whether it applies to no further call."""
        used_up = self.times == 0 and not self._forever
        return used_up or (self.lasts is not None and now >= self.added_at + self.lasts)

    def applies_to(self, operation: str, account: str) -> bool:
        """Return whether it applies to a call."""
        matches = self.operation in (EVERY, operation) and operation.startswith(_VERBS.get(self.kind, ""))
        return matches and self.account in ("", account)

    def use(self) -> None:
        """Count a call that it applied to."""
        if isinstance(self.times, int) and not self._forever:
            self.times -= 1

    def build_job_failure(self, members: dict[str, Any]) -> JobFailure:
        """
        Build the failure of the job that a request starts.

        :param members: Members of the request.
        """
        return JobFailure(self.code, self.message.replace("{query}", _find_query(members)))


@cache
def _list_operations() -> frozenset[str]:
    return frozenset(name for service in (CLEAN_ROOMS_ML, CLEAN_ROOMS) for name in load(service).operation_names)


def _is_operation(name: Any, verb: str) -> bool:
    return isinstance(name, str) and name.startswith(verb) and name in _list_operations()


def _find_query(value: Any) -> str:
    """Return the SQL of a request, at any depth; empty if there is none."""
    if not isinstance(value, dict):
        return ""
    return value.get("queryString") or next(filter(None, map(_find_query, value.values())), "")


class ConnectionDropped(Exception):
    """The connection is closed without a response."""


class Garbled(Exception):
    """
    The response is not the service's, although its status is 200.

    :param body: Body of the response.
    """

    def __init__(self, body: str) -> None:
        super().__init__(body)
        self.body = body


@dataclass
class CallFaults:
    """
    The faults that apply to one call.

    :param outcome: How the call ends, one of :data:`OUTCOME_KINDS`; None for the usual way.
    :param modifiers: The other faults, by kind.
    """

    outcome: Fault | None = None
    modifiers: dict[str, Fault] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Kind of the outcome; empty for the usual one."""
        return self.outcome.kind if self.outcome else ""

    @property
    def staleness(self) -> float | None:
        """Seconds by which a read is stale; None for a consistent one."""
        seconds = [fault.seconds for kind, fault in self.modifiers.items() if kind in _VERBS]
        return max(seconds, default=None)

    @property
    def delay(self) -> float:
        """Seconds by which the response is delayed."""
        return self.modifiers["slow"].seconds if "slow" in self.modifiers else 0.0


class Faults:
    """The active faults."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[Fault] = []

    def add(self, fault: Fault, now: float) -> None:
        """Apply a fault to the next calls."""
        fault.added_at = now
        with self._lock:
            self._active.append(fault)

    def clear(self, account: str | None = None) -> None:
        """
        Delete faults.

        :param account: Only delete the faults of this account; None for all faults.
        """
        with self._lock:
            self._active = [fault for fault in self._active if account not in (None, fault.account)]

    def list_active(self, now: float) -> list[dict[str, Any]]:
        """Return the faults that have not expired."""
        with self._lock:
            return [asdict(fault) for fault in self._active if not fault.is_expired(now)]

    def take(self, operation: str, account: str, now: float) -> CallFaults:
        """Return the faults that apply to a call, and count the call for each of them."""
        # Selected and counted in one step, so that of two simultaneous calls only one gets a fault with ``times=1``.
        with self._lock:
            self._active = [fault for fault in self._active if not fault.is_expired(now)]
            selected = _select_faults([fault for fault in self._active if fault.applies_to(operation, account)])
            for fault in (selected.outcome, *selected.modifiers.values()):
                if fault is not None:
                    fault.use()
        return selected


def _select_faults(faults: list[Fault]) -> CallFaults:
    selected = CallFaults(next((fault for fault in faults if fault.kind in OUTCOME_KINDS), None))
    for fault in faults:
        if fault.kind in MODIFIERS and (fault.kind == "slow" or selected.kind not in _ERRORS):
            selected.modifiers.setdefault(fault.kind, fault)
    return selected


def raise_before_commit(fault: Fault | None, internal_error: str) -> None:
    """
    Raise the error of a call that is not carried out.

    :param fault: The outcome of the call.
    :param internal_error: Name of the service's internal error.
    """
    if fault is None:
        return
    kind = fault.kind
    if kind == "reset":
        raise ConnectionDropped
    if kind == "garbled":
        raise Garbled(fault.body)
    if kind == "throttle":
        raise throttling_error()
    if kind == "server_error":
        raise ApiError(internal_error, "The service failed.", status=500)
    if kind == "access_denied":
        raise access_denied_error("The caller is not authorized to perform this operation.")
    if kind == "expired_credentials":
        text = "The security token included in the request is expired"
        raise ApiError("ExpiredTokenException", text, status=403)
    if kind in ("quota", "no_quota"):
        raise quota_error("Quota of an injected fault", 0 if kind == "no_quota" else 2)


def raise_after_commit(kind: str) -> None:
    """
    Raise the error of a call that has been carried out.

    :param kind: Kind of the outcome.
    """
    if kind == "lose_response":
        raise ConnectionDropped


def throttling_error() -> ApiError:
    """Build the error for too many requests."""
    return ApiError("ThrottlingException", "Rate exceeded", status=429)
