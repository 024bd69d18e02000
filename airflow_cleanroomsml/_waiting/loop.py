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

#: Seconds after which one hears again of what has not changed.
REPORT_INTERVAL = 600.0
#: Pauses before each new attempt where a fault may pass, in seconds: a worker that is told to end has five in all (Airflow 3).
PAUSES = (0.5, 1.0)


def poll_once(hook: CleanRoomsMLHook, wait: Wait, redact: Redact | None = None) -> PollResult:
    """
    Look once.

    Throttling, a failing service and a lost connection are passing: "again".

    :param redact: How the service's texts are shown; without it what the resource's own description holds is taken out of them.
    :raises CleanRoomsMLError: Whatever else the service says, such as missing permissions.
    """
    found: Mapping[str, Any] | Exception | None
    try:
        found = read(hook, wait.resource, wait.identifiers, made_after=wait.made_after)
    except CleanRoomsMLError as error:
        found = error
    return evaluate(wait, found, redact)


def poll_with_retries(hook: CleanRoomsMLHook, wait: Wait, redact: Redact | None = None) -> PollResult:
    """The same, where there is no next look: a fault that passes is given a moment to."""
    poll_result = poll_once(hook, wait, redact)
    for pause in PAUSES:
        if poll_result.status or poll_result.outcome != Outcome.PENDING:
            break
        _clock.sleep(pause)
        poll_result = poll_once(hook, wait, redact)
    return poll_result


def poll_until_done(
    hook: CleanRoomsMLHook,
    wait: Wait,
    poll_result: PollResult,
    redact: Redact | None = None,
    tell: Callable[[PollResult], None] = lambda _: None,
) -> PollResult:
    """
    Look again and again, in this thread, until the outcome is known or the deadline is over.

    :param poll_result: The look before.
    :param redact: As for :func:`poll_once`.
    :param tell: Hears of what has changed, and every ten minutes of what has not.
    """
    told = _clock.now()
    while poll_result.outcome == Outcome.PENDING and _clock.now() < wait.deadline:
        _clock.sleep(wait.pause(_clock.now()))
        seen, poll_result = poll_result, poll_once(hook, wait, redact).after(poll_result)
        changed = (seen.status, seen.message) != (poll_result.status, poll_result.message)
        if changed or _clock.now() - told >= REPORT_INTERVAL:
            told = _clock.now()
            tell(poll_result)
    return poll_result
