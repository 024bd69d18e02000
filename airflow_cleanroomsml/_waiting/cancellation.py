"""
Cancel a job if its task was killed.

A task is killed if somebody marks it failed or success or deletes its run, or if it times out. If it is cleared or retried, or if its
worker or triggerer goes down, the next try continues the wait, so the job must continue. Airflow does not say which of these happened. The
state of the task instance shows it; if the state cannot be read, nothing is cancelled.
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
from airflow_cleanroomsml._waiting.loop import RETRY_PAUSES
from airflow_cleanroomsml._waiting.outcome import MAY_BE_RUNNING, STILL_RUNNING, TRANSIENT_ERRORS, describe_stop
from airflow_cleanroomsml._waiting.wait import Wait
from airflow_cleanroomsml._xcom import delete_note
from airflow_cleanroomsml.exceptions import ConflictError, join_lines, summarize_error

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

log = logging.getLogger(__name__)

#: States after which no try will continue the wait. Not ``up_for_retry``, ``restarting`` or ``queued``, which precede another try.
FINAL_STATES = frozenset(("failed", "success", "skipped", "removed", NO_TASK_INSTANCE))
_PAST_TENSE = {"cancel": "cancelled", "delete": "deleted"}
#: Seconds within which a trigger cancels its job; Airflow allows a trigger 30 (``triggerer_job_runner``).
_TRIGGER_TIMEOUT = 25


def cancel(make_hook: Callable[[], CleanRoomsMLHook], wait: Wait) -> str:
    """
    Cancel or delete the resource of a wait, as its ``on_kill`` says; log what became of it, or the error.

    :param make_hook: Makes the hook.
    :return: What became of the resource, a sentence or two; of an error, only its summary.
    """
    resource = wait.resource
    operation = {"cancel": resource.cancel, "delete": resource.delete}.get(wait.on_kill)
    if operation is None:
        outcome = f"{STILL_RUNNING} {describe_stop(resource)}"
    else:
        try:
            outcome = _cancel(make_hook(), operation, wait)
        # A cancellation that is refused must not change how the task ends (docs/design/cancellation.md).
        except Exception as error:
            refusal = f"{STILL_RUNNING} Could not {wait.on_kill} it:"
            # The whole error, with its advice and request ID; the outcome becomes part of one line.
            log.warning("The %s %s %s", wait.title, refusal.removeprefix("It "), error)
            # Somebody who corrects the cause can then cancel it with a task of its own.
            advice = f" {describe_stop(resource)}" if resource.cancel else ""
            return f"{refusal} {' '.join(summarize_error(error).split()).rstrip('.')}.{advice}"
    # "It" in the outcome would be the first word of the log line.
    log.warning("The %s %s", wait.title, outcome.removeprefix("It "))
    return outcome


def cancel_if_started(make_hook: Callable[[], CleanRoomsMLHook], find_wait: Callable[[], Wait | None]) -> None:
    """
    Cancel or delete a job that may have been started.

    :param make_hook: Makes the hook.
    :param find_wait: Finds the job; None if there is none.
    """
    try:
        wait = find_wait()
    except Exception as error:
        # The task is ending anyway; another error would hide why.
        log.warning("Could not check whether a job was started; any such job keeps running: %s", error)
        return
    if wait:
        cancel(make_hook, wait)


def cancel_if_killed(ti: Any, make_hook: Callable[[], CleanRoomsMLHook], wait: Wait) -> bool:
    """
    Cancel or delete the resource of a wait if its task was killed; return whether it was.

    :param ti: As for :func:`~airflow_cleanroomsml._compat.read_task_state`.
    :param make_hook: Makes the hook.
    """
    if not is_killed(ti, wait.title):
        return False
    cancel(make_hook, wait)
    return True


def is_killed(ti: Any, title: str) -> bool:
    """
    Whether no other try will continue what a task instance has started; False if that cannot be found out.

    :param ti: As for :func:`~airflow_cleanroomsml._compat.read_task_state`.
    :param title: What it has started, for the log.
    """
    # Logged first: if Airflow's API server does not answer, the process is killed while it waits, and this is all that the log has.
    log.info("The task was told to stop. Asking Airflow whether another try will continue the wait: %s", title)
    try:
        state = read_task_state(ti)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        log.warning(
            "The job keeps running, because the state of the task instance could not be read (%s). If no other try continues the wait, "
            "stop it: %s",
            reason,
            title,
        )
        return False
    if state not in FINAL_STATES:
        log.info(
            "The job keeps running, because the task instance has not ended (its state is %s): %s",
            state or "cleared",
            title,
        )
        return False
    reason = "no longer exists" if state == NO_TASK_INSTANCE else f"has ended (its state is {state})"
    log.info("The task instance %s, so no other try continues the wait: %s", reason, title)
    return True


async def cancel_from_trigger(
    ti: Any, run: Callable[[Callable[[Callable[[], CleanRoomsMLHook]], None]], Awaitable[None]], wait: Wait
) -> None:
    """
    Cancel or delete the resource of a trigger's wait if its task was killed, within the time that Airflow allows a trigger.

    The triggerers of Airflow 2.11 and 3.3 cancel a trigger every second until it is gone, which does not disturb this. If many triggers are
    killed at once, some wait for a thread, and are served even after their trigger is gone.

    :param ti: The trigger's task instance; None if there is none.
    :param run: Runs a function in a thread; the function's argument makes the hook.
    """
    if not wait.on_kill or ti is None:
        return
    cancelling = asyncio.ensure_future(run(partial(_cancel_deferred, ti, wait)))
    limited = asyncio.ensure_future(asyncio.wait_for(asyncio.shield(cancelling), _TRIGGER_TIMEOUT))
    # Shielded twice: a cancellation must reach neither the function in the thread nor the time-out of it.
    while not limited.done():
        # An error of the function, or of the time-out, is logged below.
        with suppress(asyncio.CancelledError, Exception):
            await asyncio.shield(limited)
    error = asyncio.TimeoutError() if limited.cancelled() else limited.exception()
    if error:
        # A time-out of a socket has the same class.
        is_late = not cancelling.done()
        log.warning(
            "The task was killed, but its job could not be stopped (%s). %s %s The job: %s",
            f"no answer within {_TRIGGER_TIMEOUT:g} s" if is_late else f"{type(error).__name__}: {error}",
            MAY_BE_RUNNING,
            describe_stop(wait.resource),
            wait.title,
        )


def _cancel_deferred(ti: Any, wait: Wait, make_hook: Callable[[], CleanRoomsMLHook]) -> None:
    # A task that was killed does not resume, so nobody else deletes the note that it keeps in XCom.
    if cancel_if_killed(ti, make_hook, wait):
        delete_note(ti)


def _cancel(hook: CleanRoomsMLHook, operation: str, wait: Wait) -> str:
    done = _PAST_TENSE[wait.on_kill]
    # Read first: deleting what has ended in the meantime would throw away a result that is paid for.
    poll_result = loop.poll_with_retries(hook, wait)
    if not poll_result.status and (poll_result.outcome is Outcome.FAILURE or wait.on_kill == "delete"):
        # A resource of unknown status is not deleted, as it may be complete; "not found" is also what a hook for another account gets.
        reason = poll_result.reason or "AWS gave no reason."
        if poll_result.advice:
            log.warning("Could not read the status: %s", join_lines(wait.title, reason, poll_result.advice))
        reason = f"{' '.join(reason.split()).rstrip('.')}."
        problem = f"its status could not be read, so it was not {done}. {reason} {describe_stop(wait.resource)}"
        return f"It may still be running and incurring charges: {problem}"
    if poll_result.outcome is not Outcome.PENDING:
        return f"It was already {poll_result.status}." if poll_result.status else "It no longer exists."
    try:
        _call_with_retries(hook, operation, wait)
    except ConflictError:
        poll_result = loop.poll_with_retries(hook, wait)
        # Only cancelling a job or deleting its data makes it INACTIVE, so a request whose response was lost took effect.
        if poll_result.status in (*IN_PROGRESS[wait.on_kill], "INACTIVE"):
            return f"It was {done}, and is {poll_result.status}."
        if poll_result.outcome is not Outcome.PENDING:
            return f"It was {poll_result.status or 'gone'} before it could be {done}."
        raise
    return f"It was {done}."


def _call_with_retries(hook: CleanRoomsMLHook, operation: str, wait: Wait) -> None:
    for pause in (*RETRY_PAUSES, None):
        try:
            hook.call(operation, wait.identifiers)
        # Sending a cancel or delete twice does no harm: the second is a conflict, which the caller looks into.
        except TRANSIENT_ERRORS:
            if pause is None:
                raise
            _clock.sleep(pause)
        else:
            return
