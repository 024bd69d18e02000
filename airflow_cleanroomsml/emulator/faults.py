"""Faults on request, for tests of those who call."""

from __future__ import annotations

import math
import threading
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from airflow_cleanroomsml._requests.model import load
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, CLEAN_ROOMS_ML
from airflow_cleanroomsml.emulator.errors import ApiError, quota
from airflow_cleanroomsml.emulator.lookalike import JobFailure

#: How a call ends. One of these meets a call, the first that was ordered.
ENDS = {
    "reset": "the connection breaks, and nothing is carried out",
    "lose_response": "the request is carried out, and its answer lost",
    "late_commit": "the answer is lost at once, and the request carried out SECONDS later",
    "garbled": "200 with BODY, as from a proxy, and nothing is carried out",
    "throttle": "429 ThrottlingException",
    "server_error": "500, the service's own error",
    "access_denied": "403 AccessDeniedException",
    "expired_credentials": "403 ExpiredTokenException",
    "quota": "402 ServiceQuotaExceededException",
    "no_quota": "402 ServiceQuotaExceededException of a quota that is 0",
}
#: What else is wrong with it. Each of these meets a call besides, unless it is refused; the slow ones are also refused slowly.
BESIDES = {
    "slow": "the answer comes SECONDS later",
    "fail_job": "the request is accepted, and its job fails with CODE and MESSAGE",
    "stale_listing": "a List… operation does not know what was created in the last SECONDS",
    "stale_read": "a Get… operation does not know what was created in the last SECONDS",
}
KINDS = {**ENDS, **BESIDES}
_TIMED = ("late_commit", "slow", "stale_listing", "stale_read")
_REFUSED = tuple(kind for kind in ENDS if kind not in ("lose_response", "late_commit"))
_VERBS = {"stale_listing": "List", "stale_read": "Get"}
EVERY = "*"
_LOGIN_PAGE = "<html><body>Log in to the network.</body></html>"


@dataclass
class Fault:
    """
    A fault.

    :param operation: API operation, for instance ``CreateAudienceModel``, or ``*`` for all.
    :param kind: One of :data:`KINDS`.
    :param account: Account whose calls it meets; empty for all.
    :param times: How many calls it meets, each page of a listing and each new try counted; 0 or ``forever`` for all until it is cleared.
    :param lasts: Seconds after which it is over, by the emulator's clock; None for no such end.
    :param seconds: How late or how stale, by the emulator's clock.
    :param code: For ``fail_job``: ``statusDetails.statusCode``.
    :param message: For ``fail_job``: ``statusDetails.message``; ``{query}`` becomes the SQL of the request.
    :param body: For ``garbled``: what comes in place of the service's answer.
    """

    operation: str
    kind: str
    account: str = ""
    times: int | str = 1
    lasts: float | None = None
    seconds: float = 0.0
    code: str = "FAULT_ON_REQUEST"
    message: str = "The job fails because a test asked for it."
    body: str = _LOGIN_PAGE
    ordered: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"fault {self.kind!r} is unknown; allowed: {', '.join(KINDS)}")
        verb = _VERBS.get(self.kind, "")
        if self.operation != EVERY and not (self.operation in _operations() and self.operation.startswith(verb)):
            raise ValueError(f"{self.operation!r} is no {verb or 'API'} operation, nor {EVERY!r} for all")
        if self.times == "forever":
            self.times = 0
        if not isinstance(self.times, int) or isinstance(self.times, bool) or self.times < 0:
            raise ValueError(f"times is {self.times!r}; it is a number of calls, or 0 or 'forever'")
        self._check_time("lasts", self.lasts)
        self._check_time("seconds", self.seconds)
        if self.kind in _TIMED and not self.seconds:
            raise ValueError(f"{self.kind}: give the seconds")
        if not all(isinstance(text, str) for text in (self.account, self.code, self.message, self.body)):
            raise ValueError("account, code, message and body are texts")
        self._forever = self.times == 0

    def _check_time(self, name: str, value: Any) -> None:
        if value is None and name == "lasts":
            return
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise ValueError(f"{name} is {value!r}; it is a number of seconds")

    def is_over(self, now: float) -> bool:
        """Whether it meets nothing any more."""
        used = self.times == 0 and not self._forever
        return used or (self.lasts is not None and now >= self.ordered + self.lasts)

    def meets(self, operation: str, account: str) -> bool:
        """Whether it is for this call."""
        named = self.operation in (EVERY, operation) and operation.startswith(_VERBS.get(self.kind, ""))
        return named and self.account in ("", account)

    def use(self) -> None:
        """Count a call that it met."""
        if isinstance(self.times, int) and not self._forever:
            self.times -= 1

    def verdict(self, members: dict[str, Any]) -> JobFailure:
        """How the job of a request ends."""
        return JobFailure(self.code, self.message.replace("{query}", _query(members)))


@cache
def _operations() -> frozenset[str]:
    return frozenset(name for service in (CLEAN_ROOMS_ML, CLEAN_ROOMS) for name in load(service).operation_names)


def _query(value: Any) -> str:
    """The SQL somewhere in a request, or nothing."""
    if not isinstance(value, dict):
        return ""
    return value.get("queryString") or next(filter(None, map(_query, value.values())), "")


class ConnectionDropped(Exception):
    """The connection is closed without an answer."""


class Garbled(Exception):
    """
    Something else than the service answers, with status 200.

    :param body: What it answers.
    """

    def __init__(self, body: str) -> None:
        super().__init__(body)
        self.body = body


@dataclass
class Met:
    """
    The faults of one call.

    :param end: How it ends, one of :data:`ENDS`; None for as usual.
    :param besides: The others, by their kinds.
    """

    end: Fault | None = None
    besides: dict[str, Fault] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The kind of its end; empty for the usual one."""
        return self.end.kind if self.end else ""

    @property
    def stale(self) -> float | None:
        """Seconds by which what it reads is behind."""
        found = [fault.seconds for kind, fault in self.besides.items() if kind in _VERBS]
        return max(found, default=None)

    @property
    def slow(self) -> float:
        """Seconds by which its answer is late."""
        return self.besides["slow"].seconds if "slow" in self.besides else 0.0


class Faults:
    """The faults that are waiting for calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, fault: Fault, now: float) -> None:
        """Let it meet the next calls."""
        fault.ordered = now
        with self._lock:
            self._waiting.append(fault)

    def clear(self, account: str | None = None) -> None:
        """Let none of them meet anything; with an account, none of those that are for it alone."""
        with self._lock:
            self._waiting = [fault for fault in self._waiting if account not in (None, fault.account)]

    def left(self, now: float) -> list[dict[str, Any]]:
        """Those that are not used up."""
        with self._lock:
            return [asdict(fault) for fault in self._waiting if not fault.is_over(now)]

    def take(self, operation: str, account: str, now: float) -> Met:
        """What meets this call; it is used for it."""
        with self._lock:
            self._waiting = [fault for fault in self._waiting if not fault.is_over(now)]
            met = _met([fault for fault in self._waiting if fault.meets(operation, account)])
            for fault in (met.end, *met.besides.values()):
                if fault is not None:
                    fault.use()
        return met


def _met(faults: list[Fault]) -> Met:
    met = Met(next((fault for fault in faults if fault.kind in ENDS), None))
    for fault in faults:
        if fault.kind in BESIDES and (fault.kind == "slow" or met.kind not in _REFUSED):
            met.besides.setdefault(fault.kind, fault)
    return met


def before(end: Fault | None, internal_error: str) -> None:
    """
    What happens instead of the operation.

    :param end: How the call ends, as :class:`Met` has it.
    :param internal_error: The service's error for a failure of its own.
    """
    if end is None:
        return
    kind = end.kind
    if kind == "reset":
        raise ConnectionDropped
    if kind == "garbled":
        raise Garbled(end.body)
    if kind == "throttle":
        raise throttled()
    if kind == "server_error":
        raise ApiError(internal_error, "The service failed.", status=500)
    if kind == "access_denied":
        raise ApiError("AccessDeniedException", "The caller is not authorized to perform this operation.")
    if kind == "expired_credentials":
        text = "The security token included in the request is expired"
        raise ApiError("ExpiredTokenException", text, status=403)
    if kind in ("quota", "no_quota"):
        raise quota("A quota of this service", 0 if kind == "no_quota" else 2)


def after(kind: str) -> None:
    """What happens when the operation is done."""
    if kind == "lose_response":
        raise ConnectionDropped


def throttled() -> ApiError:
    """Too many requests."""
    return ApiError("ThrottlingException", "Rate exceeded", status=429)
