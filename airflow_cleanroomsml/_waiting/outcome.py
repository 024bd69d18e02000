"""What a poll means: the wait goes on, has succeeded, or has failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._resources.table import OUTCOMES, Goal, Outcome, Resource
from airflow_cleanroomsml._waiting.wait import PollResult, Wait
from airflow_cleanroomsml.exceptions import (
    JobFailedError,
    ResourceNotFoundError,
    ThrottledError,
    UnavailableError,
    UnreachableError,
    WaitTimeoutError,
    lines,
    without_request_id,
)

if TYPE_CHECKING:
    from airflow_cleanroomsml._requests.redaction import Redact

log = logging.getLogger(__name__)

#: What becomes of what nobody ends.
STILL_RUNNING = "It is still running and still incurring charges."
#: What may be over when one looks again.
TRANSIENT_ERRORS = (ThrottledError, UnavailableError, UnreachableError)


def evaluate(wait: Wait, found: Mapping[str, Any] | Exception | None, redact: Redact | None = None) -> PollResult:
    """
    What a read means to a wait.

    :param found: The resource as it is described; why it could not be read; None where a listing does not show it.
    :param redact: As for :func:`poll_once`.
    :raises CleanRoomsMLError: Why it could not be read, unless that passes or means that it is gone.
    """
    if isinstance(found, ResourceNotFoundError):
        return _gone(wait, str(found))
    if isinstance(found, TRANSIENT_ERRORS):
        return PollResult("", Outcome.PENDING, message=without_request_id(found))
    if isinstance(found, Exception):
        raise found
    if found is None:
        return _gone(wait, f"{wait.resource.list} does not show it")
    return _evaluate_status(wait, found, redact)


def _gone(wait: Wait, message: str) -> PollResult:
    if wait.goal == Goal.DELETED:
        return PollResult("", Outcome.SUCCESS)
    lags = _clock.now() - wait.started < wait.lag
    return PollResult("", Outcome.PENDING if lags else Outcome.FAILURE, message=message)


def _evaluate_status(wait: Wait, found: Mapping[str, Any], redact: Redact | None) -> PollResult:
    status = str(found.get("status", ""))
    outcome = OUTCOMES[Goal(wait.goal)].get(status)
    if outcome is None:
        log.warning("%s has the status %s, which this release does not know; still waiting.", wait.title, status)
    details = found.get("statusDetails") or {}

    def shown(text: str) -> str:
        return _shown(wait.resource, found, text, redact) if text else ""

    return PollResult(
        status,
        outcome or Outcome.PENDING,
        details.get("statusCode") or "",
        shown(details.get("message") or ""),
        {
            name: shown(found[name]) if name.endswith("StatusDetails") else found[name]
            for name in wait.resource.outputs
            if found.get(name) is not None
        },
    )


def _shown(resource: Resource, found: Mapping[str, Any], text: str, redact: Redact | None) -> str:
    """A text about a resource as it may be shown; of another member's resource too little is described."""
    from airflow_cleanroomsml._requests.redaction import UNKNOWN, by_description
    from airflow_cleanroomsml._requests.request import description

    return UNKNOWN if resource.partners else (redact or by_description)(description(resource), found, text)


def summarize(wait: Wait, poll_result: PollResult, now: float | None = None) -> str:
    """
    One line for the log; what changes comes first, for viewers cut long lines off.

    :param now: The time, in seconds since 1970; None where it is not known when the wait began.
    """
    what = poll_result.status or ("Gone" if poll_result.outcome == Outcome.SUCCESS else "Not readable")
    reason = f" ({poll_result.reason})" if poll_result.reason else ""
    after = f" after {now - wait.started:.0f} s" if now is not None else ""
    return f"{what}{after}{reason}: {wait.title}"


def raise_for_outcome(wait: Wait, poll_result: PollResult, end: Callable[[], str] = lambda: STILL_RUNNING) -> None:
    """
    Raise for whatever is not success.

    :param end: Does what is to be done when the deadline is over, and says what has become of it.
    :raises JobFailedError: It failed.
    :raises WaitTimeoutError: It has not ended, and the deadline is over.
    """
    if poll_result.outcome == Outcome.SUCCESS:
        return
    status = poll_result.status
    if poll_result.outcome == Outcome.FAILURE:
        is_so, reason = (
            f"is {status}" if status else "was not found",
            poll_result.reason or "The service gives no reason.",
        )
        raise JobFailedError(
            lines(f"The {wait.noun} {is_so}.", reason, wait.title),
            status=status or "not found",
            code=poll_result.status_code,
            reason=poll_result.message,
        )
    waited, was_so = f"{wait.deadline - wait.started:.0f} s", f"was still {status}" if status else "could not be read"
    raise WaitTimeoutError(
        lines(
            f"The {wait.noun} {was_so} after {waited}, when the wait timed out. {end()}",
            poll_result.reason,
            wait.title,
            "To wait longer, set waiter_delay and waiter_max_attempts (their product is the time-out in seconds), and",
            "execution_timeout if there is one. A cleared task reuses it if it is still running, and creates another one if not.",
        )
    )
