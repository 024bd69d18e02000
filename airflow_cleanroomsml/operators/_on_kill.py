"""What a task does about the job that it started when the task is killed or times out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import (
    IS_AIRFLOW_2,
    AirflowTaskTerminated,
    get_current_context,
    is_execution_timeout,
)
from airflow_cleanroomsml._xcom import delete_note, keep_note, read_note
from airflow_cleanroomsml.operators._base import require_flags

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._requests.redaction import Redact
    from airflow_cleanroomsml._resources.handle import Handle
    from airflow_cleanroomsml._waiting.wait import PollResult, Wait
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook
    from airflow_cleanroomsml.operators._job import CleanRoomsMLJobOperator

#: Key of the wait in the note that a deferred task keeps.
_WAIT = "wait"
#: Seconds within which the supervisor of Airflow 3 ends the process of a task that was killed. It takes 5 s (``escalation_delay`` of
#: ``supervisor.kill``, 3.3.2); the margin is for a slow machine, on which the task would report a failure.
_KILL_DELAY = 60.0


class KillRequested(BaseException):
    """The worker's process has to stop while it waits. Not an ``Exception``, so that no code in between catches it."""


class Canceller:
    """
    Cancels or deletes the job of one task if the task is killed.

    Airflow's signal handler calls ``on_kill`` in the main thread, at any point of its execution. So ``on_kill`` only sets a flag, and the
    polling loop calls Airflow and AWS once it notices. The channel to the supervisor has a lock that is not re-entrant, and the interrupted
    code may hold it.

    :param operator: The task.
    :param find_started: Builds the wait for a job that was started but that no wait exists for yet.
    """

    def __init__(self, operator: CleanRoomsMLJobOperator, find_started: Callable[[Context], Wait | None]) -> None:
        self._operator = operator
        self._find_started = find_started
        #: The wait for the job, once there is one.
        self.wait: Wait | None = None
        #: Whether a kill may interrupt this thread now.
        self._is_interruptible = False
        self._is_killed = False

    def check_arguments(self) -> None:
        """
        Refuse arguments that are not valid.

        :raises InvalidRequestError: One is not valid.
        """
        require_flags(self._operator, "cancel_on_kill", "delete_on_kill")

    def prepare(self, wait: Wait, handle: Handle) -> Wait:
        """Remember the wait, and decide what a kill does to its resource; only this run's own job is cancelled."""
        resource = self._operator.resource
        # A resource that if_exists="reuse" found may be in use by the run or person who created it.
        if handle.is_ours and self._operator.cancel_on_kill and resource.cancel:
            action = "cancel"
        elif handle.is_ours and self._operator.delete_on_kill and resource.delete:
            action = "delete"
        else:
            # Not empty, so that a kill logs that the job keeps running and incurring charges.
            action = "leave"
        self.wait = wait._replace(on_kill=action)
        return self.wait

    def poll_until_done(
        self,
        context: Context,
        hook: CleanRoomsMLHook,
        wait: Wait,
        poll_result: PollResult,
        redact: Redact,
        report: Callable[[PollResult], None],
    ) -> PollResult:
        """Poll in the worker, and react to a kill; arguments as for :func:`~airflow_cleanroomsml._waiting.loop.poll_until_done`."""
        from airflow_cleanroomsml._waiting import loop

        def report_uninterrupted(update: PollResult) -> None:
            # A report goes to the supervisor, and a kill must not interrupt it halfway.
            self._is_interruptible = False
            report(update)
            self._allow_interruption()

        while True:
            # Suppressed here so that a later error does not get this one as its context.
            with suppress(KillRequested):
                try:
                    # Also raises for a kill that came while interruptions were off.
                    self._allow_interruption()
                    return loop.poll_until_done(hook, wait, poll_result, redact, report_uninterrupted)
                finally:
                    self._is_interruptible = False
            self._handle_kill(context, wait)

    def begin_deferral(self, context: Context, wait: Wait) -> None:
        """Keep a note of the wait: when Airflow itself ends a deferral, the task resumes with an error and nothing else."""
        # A kill outside of a poll has only set the flag, and would be lost: the deferral ends this process. Twice, because keeping the note
        # is a request to Airflow, which takes a while, and may be refused once the task instance has ended.
        self._handle_kill(context, wait)
        keep_note(context["ti"], {_WAIT: wait.to_json()})
        self._handle_kill(context, wait)

    def end_deferral(self, context: Context, wait: Wait | None) -> Wait | None:
        """
        Delete the note.

        :param wait: The wait of the trigger's event; None if there is no event.
        :return: The wait, from the note if there is no event; None if there is no note either.
        """
        ti = context.get("ti")
        if wait is None:
            return self._take_noted_wait(ti)
        self.wait = wait
        delete_note(ti)
        return wait

    def on_kill(self) -> None:
        """Remember that the task was killed, or cancel the job because ``execution_timeout`` is over."""
        # At a time-out Airflow calls this outside of a signal handler, so Airflow and AWS can be called at once.
        if is_execution_timeout():
            self._handle_timeout(get_current_context())
            return
        self._is_killed = True
        # Only polls and pauses may be broken off: the outcome of a create would be unknown, and the channel to the supervisor has a lock
        # that is not re-entrant (docs/design/cancellation.md).
        if self._is_interruptible:
            # A second signal must not interrupt the handling of the first.
            self._is_interruptible = False
            raise KillRequested

    def cancel(self, wait: Wait) -> str:
        """Cancel or delete the job; return what became of it, a sentence."""
        from airflow_cleanroomsml._waiting.cancellation import cancel

        return cancel(lambda: self._operator.hook, wait)

    def handle_termination(self, context: Context) -> None:
        """
        Cancel what was started if Airflow 2 ends the task before the service has responded.

        Airflow 3 does not interrupt the request. The task then waits for the job, and the wait reacts to the kill.
        """
        from airflow_cleanroomsml._waiting.cancellation import cancel_if_started, is_killed

        title = f"the {self._operator.resource.noun} of this task, if one was started"
        if self._is_killed and is_killed(context["ti"], title):
            self._is_killed = False
            cancel_if_started(lambda: self._operator.hook, lambda: self.wait or self._find_started(context))
            self._drop_note(context["ti"])

    def _allow_interruption(self) -> None:
        self._is_interruptible = True
        if self._is_killed:
            raise KillRequested

    def _handle_kill(self, context: Context, wait: Wait) -> None:
        """
        React to a kill, if there was one.

        :raises AirflowTaskTerminated: The process has to end.
        """
        if not self._is_killed:
            return
        from airflow_cleanroomsml._waiting.cancellation import cancel_if_killed

        self._is_killed = False
        is_final = cancel_if_killed(context["ti"], lambda: self._operator.hook, wait)
        if is_final:
            self._drop_note(context["ti"])
        if is_final and not IS_AIRFLOW_2:
            # Airflow 3 is about to end this process. An exception before that would count as a failure and run on_failure_callback.
            _clock.sleep(_KILL_DELAY)
        if is_final or IS_AIRFLOW_2:
            raise AirflowTaskTerminated("Task received SIGTERM signal")
        # In Airflow 3, SIGTERM does not end a task whose instance is still running: it continues until its worker is killed.

    def _handle_timeout(self, context: Context) -> None:
        """Cancel the job once ``execution_timeout`` is over, unless a retry continues the wait."""
        from airflow_cleanroomsml._waiting.cancellation import cancel_if_started

        operator, ti = self._operator, context["ti"]
        # In Airflow 2.11 a task that resumes too late executes nothing, so only the note says which job it has started.
        wait = self.wait or self._take_noted_wait(ti)
        operator.restore_connection(wait.connection if wait else None)
        # Airflow retries while try_number <= max_tries (docs/design/idempotency.md).
        if operator.retries and ti.try_number <= ti.max_tries and not operator.creates_another_on_retry:
            if wait:
                operator.log.warning("execution_timeout has passed; a retry continues the wait: %s", wait.title)
        else:
            cancel_if_started(lambda: operator.hook, lambda: wait or self._find_started(context))
        self._drop_note(ti)

    def _drop_note(self, ti: Any) -> None:
        """Delete the note of a deferral that was broken off after it was kept and before the task was deferred."""
        if self._operator.deferrable:
            delete_note(ti)

    def _take_noted_wait(self, ti: Any) -> Wait | None:
        """Read the wait of the note, and delete the note."""
        if note := read_note(ti):
            from airflow_cleanroomsml._waiting.wait import Wait

            self.wait = Wait.from_json(note[_WAIT]) if _WAIT in note else None
            delete_note(ti)
        return self.wait
