"""What operators share that end what they started when their task is ended."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import IS_AIRFLOW_2, AirflowTaskTerminated, AirflowTaskTimeout, get_current_context
from airflow_cleanroomsml._resources.table import Outcome
from airflow_cleanroomsml._waiting.cancellation import KillRequested, end, end_found, end_if_over
from airflow_cleanroomsml._waiting.wait import Observation, Wait
from airflow_cleanroomsml._xcom import delete_note, keep_note, read_note
from airflow_cleanroomsml.operators._wait import CleanRoomsMLWaitingOperator

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._requests.redaction import Redact

#: The key of the wait in the note that a deferred task keeps.
_WAIT = "wait"
#: The key by which what others have made is told from what this run has made.
OTHERS = "of_others"
#: Seconds after which the supervisor of a task that was ended has ended its process, which Airflow 3 leaves to it.
_KILLED = 60.0


class CleanRoomsMLEndingOperator(CleanRoomsMLWaitingOperator):
    """
    An operation that starts what takes time and costs.

    :param cancel_on_kill: Cancel it when the task is marked failed or successful, its run is deleted, or it times out: trained models and
        inference jobs, all else cannot be cancelled. A retry, a clear and a restart of Airflow go on with it.
    :param delete_on_kill: Delete instead what cannot be cancelled: audience models, generation jobs, data of input channels; the service
        may refuse it.
    """

    def __init__(self, *, cancel_on_kill: bool = True, delete_on_kill: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cancel_on_kill = cancel_on_kill
        self.delete_on_kill = delete_on_kill
        self._waits_for: Wait | None = None
        self._listens = False
        self._killed = False

    def _prepare(self) -> None:
        super()._prepare()
        self._require_flags("cancel_on_kill", "delete_on_kill")

    def _wait(self, context: Context, answer: Mapping[str, Any]) -> Wait:
        own = not answer.get(OTHERS)
        cancel = own and self.cancel_on_kill and self.resource.cancel
        delete = own and self.delete_on_kill and self.resource.delete
        wait = super()._wait(context, answer)._replace(on_kill="cancel" if cancel else "delete" if delete else "leave")
        self._waits_for = wait
        return wait

    def _defer(self, context: Context, wait: Wait) -> None:
        self._heed(context, wait)
        keep_note(context["ti"], {_WAIT: wait.plain()})
        super()._defer(context, wait)

    def _watch(
        self,
        context: Context,
        wait: Wait,
        observation: Observation,
        redact: Redact,
        tell: Callable[[Observation], None],
    ) -> Observation:
        def undisturbed(news: Observation) -> None:
            # It speaks to the supervisor, whose channel a kill must not find half way through.
            self._listens = False
            tell(news)
            self._listen()

        while True:
            # The next error is not to have this one as its context.
            with suppress(KillRequested):
                try:
                    self._listen()
                    return super()._watch(context, wait, observation, redact, undisturbed)
                finally:
                    self._listens = False
            self._heed(context, wait)

    def _listen(self) -> None:
        self._listens = True
        if self._killed:
            raise KillRequested

    def on_kill(self) -> None:
        """
        Note that the process is to end, or end what runs because of ``execution_timeout``.

        A signal handler of Airflow's calls this in the main thread, wherever that is: whatever needs Airflow or AWS happens later.
        """
        if isinstance(sys.exc_info()[1], AirflowTaskTimeout):
            self._time_out(get_current_context())
            return
        self._killed = True
        if self._listens:
            self._listens = False
            raise KillRequested

    def _heed(self, context: Context, wait: Wait) -> None:
        """
        Do what is to be done about a kill, if there was one.

        :raises AirflowTaskTerminated: The process is to end.
        """
        if not self._killed:
            return
        self._killed = False
        over = end_if_over(context["ti"], lambda: self.hook, wait)
        if over and not IS_AIRFLOW_2:
            # What is said now would be taken for a failure, and call its callbacks: Airflow 3 ends the process by itself.
            _clock.sleep(_KILLED)
        if over or IS_AIRFLOW_2:
            raise AirflowTaskTerminated("Task received SIGTERM signal")
        # A worker of Airflow 3 that is told to end goes on until it is ended.

    def _time_out(self, context: Context) -> None:
        """End what runs when ``execution_timeout`` is over, unless a retry goes on with it."""
        ti = context["ti"]
        wait = self._waits_for or self._take_wait(ti)
        self.restore_connection(wait.connection if wait else None)
        if self.retries and ti.try_number <= ti.max_tries and not self._makes_another:
            if wait:
                self.log.warning("execution_timeout has passed; a retry continues the wait: %s.", wait.title)
        else:
            end_found(lambda: self.hook, lambda: wait or self._started(context))

    def _take_wait(self, ti: Any) -> Wait | None:
        """The wait of a deferral that has ended without an event, from the note, which is deleted."""
        if note := read_note(ti):
            self._waits_for = Wait(**note[_WAIT]) if _WAIT in note else None
            delete_note(ti)
        return self._waits_for

    def _started(self, context: Context) -> Wait | None:
        """The wait for what was started and is not waited for yet."""
        return None

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, one that Airflow itself ended for its time included: nobody had looked, so this looks."""
        self._knows_request = False
        failed, ti = next_method == "__fail__", context.get("ti")
        if failed:
            wait = self._take_wait(ti)
        else:
            wait = self._waits_for = _told(next_kwargs)
            delete_note(ti)
        if wait is None or _clock.now() < wait.deadline:
            return super().resume_execution(next_method, next_kwargs, context)
        self._silence()
        if not failed:
            return super().resume_execution(next_method, next_kwargs, context)
        self.log.warning("No triggerer polled before the time-out.")
        self.restore_connection(wait.connection)
        return self._finish(context, wait, Observation("", Outcome.AGAIN.value))

    def _at_last(self, wait: Wait, observation: Observation) -> Observation:
        if observation.outcome == Outcome.AGAIN.value:
            self._silence()
        return super()._at_last(wait, observation)

    def _end(self, wait: Wait) -> str:
        return end(lambda: self.hook, wait)

    def _silence(self) -> None:
        """Stop the alarm of ``execution_timeout``: the time is over, and an alarm in the middle of an import leaves half a module."""
        if self.execution_timeout:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _told(next_kwargs: Mapping[str, Any] | None) -> Wait | None:
    """The wait of a trigger's event."""
    found = (next_kwargs or {}).get("event", {}).get("wait")
    return Wait(**found) if found else None
