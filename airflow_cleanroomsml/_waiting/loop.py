"""Poll in this thread: once, or until the wait is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._resources.lookup import read
from airflow_cleanroomsml._resources.table import Outcome
from airflow_cleanroomsml._waiting.outcome import evaluate
from airflow_cleanroomsml._waiting.wait import PollResult, Wait
from airflow_cleanroomsml.exceptions import CleanRoomsMLError

if TYPE_CHECKING:
    from airflow_cleanroomsml._requests.redaction import Redact
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

#: Seconds after which an unchanged status is reported again.
REPORT_INTERVAL = 600.0
#: Pauses before each new attempt after a transient error, in seconds: a killed worker has five in all (Airflow 3).
RETRY_PAUSES = (0.5, 1.0)


def poll_once(hook: CleanRoomsMLHook, wait: Wait, redact: Redact | None = None) -> PollResult:
    """
    Poll once.

    Throttling, a failing service and a lost connection are transient: the wait is pending.

    :param redact: Redacts the service's texts; without it, whatever the resource's own description shows is taken out of them.
    :raises CleanRoomsMLError: Any other error of the service, such as missing permissions.
    """
    description: Mapping[str, Any] | Exception | None
    try:
        description = read(hook, wait.resource, wait.identifiers, created_after=wait.created_after)
    # evaluate() decides which errors end the wait; the poller, which gets its answers elsewhere, decides by the same function.
    except CleanRoomsMLError as error:
        description = error
    return evaluate(wait, description, redact)


def poll_with_retries(hook: CleanRoomsMLHook, wait: Wait, redact: Redact | None = None) -> PollResult:
    """Poll once; poll again after a transient error, as no later poll makes up for it."""
    poll_result = poll_once(hook, wait, redact)
    for pause in RETRY_PAUSES:
        if poll_result.status or poll_result.outcome is not Outcome.PENDING:
            break
        _clock.sleep(pause)
        poll_result = poll_once(hook, wait, redact)
    return poll_result


def poll_until_done(
    hook: CleanRoomsMLHook,
    wait: Wait,
    poll_result: PollResult,
    redact: Redact | None = None,
    report: Callable[[PollResult], None] = lambda _: None,
) -> PollResult:
    """
    Poll until the outcome is known or the deadline is over.

    :param poll_result: The poll before.
    :param redact: As for :func:`poll_once`.
    :param report: Called when the status changes, and every ten minutes while it does not.
    """
    reported = _clock.now()
    while poll_result.outcome is Outcome.PENDING and _clock.now() < wait.deadline:
        _clock.sleep(wait.pause(_clock.now()))
        # A failed poll keeps the last known status, so that a lost connection is not reported as a change of status.
        previous, poll_result = poll_result, poll_once(hook, wait, redact).after(poll_result)
        is_changed = (previous.status, previous.message) != (poll_result.status, poll_result.message)
        if is_changed or _clock.now() - reported >= REPORT_INTERVAL:
            reported = _clock.now()
            report(poll_result)
    return poll_result
