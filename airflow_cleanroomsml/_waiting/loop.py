"""Poll in this thread: once, or until the wait is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._resources.lookup import read
from airflow_cleanroomsml._resources.table import Outcome
from airflow_cleanroomsml._waiting.outcome import judged
from airflow_cleanroomsml._waiting.wait import Observation, Wait
from airflow_cleanroomsml.exceptions import CleanRoomsMLError

if TYPE_CHECKING:
    from airflow_cleanroomsml._requests.redaction import Redact
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

#: Seconds after which one hears again of what has not changed.
TELL_AGAIN = 600.0
#: Pauses before each new attempt where a fault may pass, in seconds: a worker that is told to end has five in all (Airflow 3).
PAUSES = (0.5, 1.0)


def observe(hook: CleanRoomsMLHook, wait: Wait, redact: Redact | None = None) -> Observation:
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
    return judged(wait, found, redact)


def observe_patiently(hook: CleanRoomsMLHook, wait: Wait, redact: Redact | None = None) -> Observation:
    """The same, where there is no next look: a fault that passes is given a moment to."""
    observation = observe(hook, wait, redact)
    for pause in PAUSES:
        if observation.status or observation.outcome != Outcome.AGAIN.value:
            break
        _clock.sleep(pause)
        observation = observe(hook, wait, redact)
    return observation


def watch(
    hook: CleanRoomsMLHook,
    wait: Wait,
    observation: Observation,
    redact: Redact | None = None,
    tell: Callable[[Observation], None] = lambda _: None,
) -> Observation:
    """
    Look again and again, in this thread, until the outcome is known or the deadline is over.

    :param observation: The look before.
    :param redact: As for :func:`observe`.
    :param tell: Hears of what has changed, and every ten minutes of what has not.
    """
    told = _clock.now()
    while observation.outcome == Outcome.AGAIN.value and _clock.now() < wait.deadline:
        _clock.sleep(wait.pause(_clock.now()))
        seen, observation = observation, observe(hook, wait, redact).after(observation)
        changed = (seen.status, seen.message) != (observation.status, observation.message)
        if changed or _clock.now() - told >= TELL_AGAIN:
            told = _clock.now()
            tell(observation)
    return observation
