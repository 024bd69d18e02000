"""
What becomes of what runs when its task is ended.

It is ended, too, where somebody has ended the task instance: marked it failed or successful, deleted its run, or let it time out. A task
that is cleared, retried, or whose worker or triggerer goes down is none of these: the next try goes on with what runs. Airflow tells the
ones from the others nowhere, so the state of the task instance is looked up; where it cannot be, nothing is ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import NO_TASK_INSTANCE, read_task_state
from airflow_cleanroomsml._resources.table import IN_PROGRESS, Outcome
from airflow_cleanroomsml._waiting import loop
from airflow_cleanroomsml._waiting.loop import PAUSES
from airflow_cleanroomsml._waiting.outcome import STILL_RUNNING, TRANSIENT_ERRORS
from airflow_cleanroomsml._waiting.wait import Wait
from airflow_cleanroomsml._xcom import delete_note
from airflow_cleanroomsml.exceptions import ConflictError

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

log = logging.getLogger(__name__)

#: States in which no try will come that could go on with what runs.
OVER = frozenset(("failed", "success", "skipped", "removed", NO_TASK_INSTANCE))
_DONE = {"cancel": "cancelled", "delete": "deleted"}
#: Seconds that a trigger has for it; Airflow gives it 30.
_PATIENCE = 25


class KillRequested(BaseException):
    """The worker's process was told to end while it waited; not an ``Exception``, for nothing below is to catch it."""


def end(hook: Callable[[], CleanRoomsMLHook], wait: Wait) -> str:
    """
    End what a wait is for, as its ``on_kill`` says; whatever goes wrong is told, in the log and by what is returned.

    :param hook: Makes the hook.
    :return: What has become of it, a sentence.
    """
    resource = wait.resource
    operation = {"cancel": resource.cancel, "delete": resource.delete}.get(wait.on_kill)
    if operation is None:
        told = STILL_RUNNING if resource.cancel else f"{STILL_RUNNING} The service cannot cancel it."
        log.warning("%s: %s.", told.removesuffix("."), wait.title)
        return told
    try:
        told = _ended(hook(), operation, wait)
    except Exception as error:
        told = f"{STILL_RUNNING} Could not {wait.on_kill} it: {error}."
    log.warning("%s: %s.", told.removesuffix("."), wait.title)
    return told


def end_found(hook: Callable[[], CleanRoomsMLHook], find: Callable[[], Wait | None]) -> None:
    """
    The same for what has to be found first; nothing where there is nothing.

    :param hook: As for :func:`end`.
    :param find: Finds the wait.
    """
    try:
        wait = find()
    except Exception as error:
        log.warning("Could not check whether a job was started; any such job keeps running: %s", error)
        return
    if wait:
        end(hook, wait)


def _ended(hook: CleanRoomsMLHook, operation: str, wait: Wait) -> str:
    seen = loop.poll_with_retries(hook, wait)
    if not seen.status and (seen.outcome == Outcome.FAILURE or wait.on_kill == "delete"):
        # Nothing is deleted that may be done; and who looks in another account finds nothing.
        why = seen.reason or "The service gives no reason."
        return f"It may still be running and incurring charges: its status could not be read, so it was not {_DONE[wait.on_kill]}. {why}"
    if seen.outcome != Outcome.PENDING:
        return f"It had ended already, {seen.status or 'gone'}."
    try:
        _call(hook, operation, wait)
    except ConflictError:
        seen = loop.poll_with_retries(hook, wait)
        # Only cancelling a job or deleting its data makes it INACTIVE, so a request whose response was lost took effect.
        if seen.status in (*IN_PROGRESS[wait.on_kill], "INACTIVE"):
            return f"It was {_DONE[wait.on_kill]}, and is {seen.status}."
        if seen.outcome != Outcome.PENDING:
            return f"It has ended, {seen.status or 'gone'}, before it could be {_DONE[wait.on_kill]}."
        raise
    return f"It was {_DONE[wait.on_kill]}."


def _call(hook: CleanRoomsMLHook, operation: str, wait: Wait) -> None:
    for pause in (*PAUSES, None):
        try:
            hook.call(operation, wait.identifiers)
        except TRANSIENT_ERRORS:
            if pause is None:
                raise
            _clock.sleep(pause)
        else:
            return


def end_if_over(ti: Any, hook: Callable[[], CleanRoomsMLHook], wait: Wait) -> bool:
    """
    End what a wait is for, if its task instance is over.

    :param ti: As for :func:`~airflow_cleanroomsml._compat.read_task_state`.
    :param hook: As for :func:`end`.
    :return: Whether it is over.
    """
    over = is_over(ti, wait.title)
    if over:
        end(hook, wait)
    return over


def is_over(ti: Any, title: str) -> bool:
    """
    Whether no other try will go on with what a task instance has started; not, where that cannot be known.

    :param ti: As for :func:`~airflow_cleanroomsml._compat.read_task_state`.
    :param title: What it has started, for the log.
    """
    try:
        state = read_task_state(ti)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        log.warning("Left running: the state of the task instance is unknown (%s): %s.", why, title)
        return False
    if state not in OVER:
        log.info("Left running: the task instance is %s and was not ended: %s.", state or "cleared", title)
        return False
    log.info("The task instance is %s.", state)
    return True


def _end_deferred(ti: Any, wait: Wait, hook: Callable[[], CleanRoomsMLHook]) -> None:
    """The same for a deferred task, which leaves a note in XCom that nobody else deletes where it is over."""
    if end_if_over(ti, hook, wait):
        delete_note(ti)


async def end_from_trigger(
    ti: Any, run: Callable[[Callable[[Callable[[], CleanRoomsMLHook]], None]], Awaitable[None]], wait: Wait
) -> None:
    """
    The same from the event loop of a triggerer, within the time that Airflow gives a trigger.

    The triggerers of Airflow 2.11 and 3.3 cancel a trigger anew every second until it is gone; that does not disturb this. Where many are
    killed at once some have to queue for a thread; their turn comes, even if the trigger is gone by then.

    :param ti: The trigger's task instance; None where there is none.
    :param run: Runs a function in a thread, and gives it what makes the hook.
    """
    if not wait.on_kill or ti is None:
        return
    ending = asyncio.ensure_future(asyncio.wait_for(asyncio.shield(run(partial(_end_deferred, ti, wait))), _PATIENCE))
    while not ending.done():
        with suppress(asyncio.CancelledError, asyncio.TimeoutError):
            await asyncio.shield(ending)
    if ending.cancelled() or ending.exception():
        log.warning("No answer within %d s; it may still be running: %s.", _PATIENCE, wait.title)
