"""What a poll means: the wait goes on, has succeeded, or has failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._resources.table import OUTCOMES, Goal, Outcome, Resource
from airflow_cleanroomsml._waiting.wait import Observation, Wait
from airflow_cleanroomsml.exceptions import (
    JobFailedError,
    ResourceNotFoundError,
    ThrottledError,
    UnavailableError,
    UnreachableError,
    WaitTimeoutError,
    lines,
    strip_request_id,
)

if TYPE_CHECKING:
    from airflow_cleanroomsml._requests.redaction import Redact

log = logging.getLogger(__name__)

#: What becomes of what nobody ends.
GOES_ON = "It is still running and still incurring charges."
#: What may be over when one looks again.
PASSING = (ThrottledError, UnavailableError, UnreachableError)


def judged(wait: Wait, found: Mapping[str, Any] | Exception | None, redact: Redact | None = None) -> Observation:
    """
    What a read means to a wait.

    :param found: The resource as it is described; why it could not be read; None where a listing does not show it.
    :param redact: As for :func:`observe`.
    :raises CleanRoomsMLError: Why it could not be read, unless that passes or means that it is gone.
    """
    if isinstance(found, ResourceNotFoundError):
        return _gone(wait, str(found))
    if isinstance(found, PASSING):
        return Observation("", Outcome.AGAIN.value, message=strip_request_id(found))
    if isinstance(found, Exception):
        raise found
    if found is None:
        return _gone(wait, f"{wait.resource.list} does not show it")
    return _judged(wait, found, redact)


def _gone(wait: Wait, message: str) -> Observation:
    if wait.goal == Goal.DELETED.value:
        return Observation("", Outcome.SUCCESS.value)
    lags = _clock.now() - wait.started < wait.lag
    return Observation("", (Outcome.AGAIN if lags else Outcome.FAILURE).value, message=message)


def _judged(wait: Wait, found: Mapping[str, Any], redact: Redact | None) -> Observation:
    status = str(found.get("status", ""))
    outcome = OUTCOMES[Goal(wait.goal)].get(status)
    if outcome is None:
        log.warning("%s has the status %s, which this release does not know; still waiting.", wait.title, status)
    details = found.get("statusDetails") or {}

    def shown(text: str) -> str:
        return _shown(wait.resource, found, text, redact) if text else ""

    return Observation(
        status,
        (outcome or Outcome.AGAIN).value,
        details.get("statusCode") or "",
        shown(details.get("message") or ""),
        {
            name: shown(found[name]) if name.endswith("StatusDetails") else found[name]
            for name in wait.resource.reports
            if found.get(name) is not None
        },
    )


def _shown(resource: Resource, found: Mapping[str, Any], text: str, redact: Redact | None) -> str:
    """A text about a resource as it may be shown; of another member's resource too little is described."""
    from airflow_cleanroomsml._requests.redaction import UNKNOWN, redact_by_description
    from airflow_cleanroomsml._requests.request import description_shape

    return UNKNOWN if resource.partners else (redact or redact_by_description)(description_shape(resource), found, text)


def described(wait: Wait, observation: Observation, now: float | None = None) -> str:
    """
    One line for the log; what changes comes first, for viewers cut long lines off.

    :param now: The time, in seconds since 1970; None where it is not known when the wait began.
    """
    what = observation.status or ("Gone" if observation.outcome == Outcome.SUCCESS.value else "Not readable")
    reason = f" ({observation.reason})" if observation.reason else ""
    after = f" after {now - wait.started:.0f} s" if now is not None else ""
    return f"{what}{after}{reason}: {wait.title}"


def raise_unless_done(wait: Wait, observation: Observation, end: Callable[[], str] = lambda: GOES_ON) -> None:
    """
    Raise for whatever is not success.

    :param end: Does what is to be done when the deadline is over, and says what has become of it.
    :raises JobFailedError: It failed.
    :raises WaitTimeoutError: It has not ended, and the deadline is over.
    """
    if observation.outcome == Outcome.SUCCESS.value:
        return
    status = observation.status
    if observation.outcome == Outcome.FAILURE.value:
        is_so, reason = (
            f"is {status}" if status else "was not found",
            observation.reason or "The service gives no reason.",
        )
        raise JobFailedError(
            lines(f"The {wait.noun} {is_so}.", reason, wait.title),
            status=status or "not found",
            code=observation.status_code,
            reason=observation.message,
        )
    waited, was_so = f"{wait.deadline - wait.started:.0f} s", f"was still {status}" if status else "could not be read"
    raise WaitTimeoutError(
        lines(
            f"The {wait.noun} {was_so} after {waited}, when the wait timed out. {end()}",
            observation.reason,
            wait.title,
            "To wait longer, set waiter_delay and waiter_max_attempts (their product is the time-out in seconds), and",
            "execution_timeout if there is one. A cleared task reuses it if it is still running, and creates another one if not.",
        )
    )
