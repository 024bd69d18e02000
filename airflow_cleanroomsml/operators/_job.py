"""What operators of jobs share: of what is made, takes time, and may find no room."""

from __future__ import annotations

import random
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import AirflowTaskTerminated
from airflow_cleanroomsml._waiting.cancellation import end_found, is_over
from airflow_cleanroomsml._xcom import delete_note, keep_note, read_note
from airflow_cleanroomsml.exceptions import (
    CleanRoomsMLError,
    InvalidRequestError,
    NoQuotaError,
    QuotaExceededError,
    ServiceError,
    ThrottledError,
    lines,
)
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator, is_first
from airflow_cleanroomsml.operators._on_kill import OTHERS, CleanRoomsMLEndingOperator
from airflow_cleanroomsml.operators._wait import GRACE

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._idempotency.create_once import CreateOnce
    from airflow_cleanroomsml._waiting.wait import Wait

WEEK = 604_800.0
#: The first and the longest pause before a start that found no room is tried again in the worker, in seconds.
_PAUSES = (30.0, 300.0)
#: The key in a note that says that a turn is waited for.
_TURN = "turn"


class CleanRoomsMLJobOperator(CleanRoomsMLCreateOperator, CleanRoomsMLEndingOperator):
    """
    An operation that starts a job.

    :param quota_timeout: Seconds for which a start waits for room where a quota of what is under way is full, a week by default; 0 fails
        at once. ``execution_timeout`` ends it, too. With ``deferrable`` it waits in the triggerer, and tasks that are mapped take turns
        from the beginning.
    """

    def __init__(self, *, quota_timeout: float = WEEK, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.quota_timeout = quota_timeout
        self._ti: Any = None
        self._made_by: CreateOnce | None = None
        self._room_until: float | None = None
        self._in_turn = False

    def _prepare(self) -> None:
        super()._prepare()
        value = self.quota_timeout
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 10 * 365 * 86_400:
            raise InvalidRequestError(
                f"quota_timeout: {value!r} is not valid; must be a number of seconds from 0 to ten years, not a template"
            )

    def execute(self, context: Context) -> Any:
        """Start it, and end it if Airflow 2 ends the task before the service has answered."""
        try:
            return super().execute(context)
        except AirflowTaskTerminated:
            # Airflow 3 interrupts nothing: what was started is waited for, and the wait heeds the kill.
            if self._killed and is_over(context["ti"], f"what was started, if anything was ({self.resource.noun})"):
                self._killed = False
                end_found(lambda: self.hook, lambda: self._waits_for or self._started(context))
            raise

    def _started(self, context: Context) -> Wait | None:
        found = self._made_by.after_all() if self._made_by else None
        if not found:
            return None
        self._push_identity(context, found)
        return self._wait(context, found)

    def _created(self, context: Context) -> dict[str, Any]:
        self._ti = context.get("ti")
        if self._room_until is None:
            self._room_until = self._ends_by(context, _clock.now() + self.quota_timeout)
            mapped = getattr(context.get("ti"), "map_index", -1) >= 0
            if mapped and self.deferrable and is_first(context) and self.quota_timeout:
                self._take_turn(self._room_until, None)
        known = super()._created(context)
        self._knows_request = self._made_by is not None and self._made_by.sent == known
        return known

    def _making(self, context: Context) -> CreateOnce:
        making = super()._making(context)
        # A week has many turns: whatever a commit may lag, it was looked for often enough before the first.
        making.looked = self._in_turn
        self._made_by = making
        return making

    def _others(self, making: CreateOnce) -> dict[str, Any] | None:
        found = super()._others(making)
        return {**found, OTHERS: True} if found else None

    def _sent(self, making: CreateOnce) -> dict[str, Any]:
        # Whoever can be deferred need not hold a worker's slot for a pause.
        send = partial(self._send, throttled_retries=0) if self.deferrable and self.quota_timeout else self._send
        pause, until = _PAUSES[0], self._room_until or 0.0
        while True:
            try:
                return making.send(send)
            except (QuotaExceededError, ThrottledError) as error:
                self._require_hope(error, until)
                if self.deferrable:
                    self._take_turn(until, error)
                _clock.sleep(min(pause * random.uniform(0.7, 1.0), max(0.0, until - _clock.now())))
                pause = min(pause * 1.5, _PAUSES[1])

    def _require_hope(self, error: ServiceError, until: float) -> None:
        """
        Say that it waits, where waiting may help.

        :raises ServiceError: It does not, or has not helped in time.
        """
        if isinstance(error, NoQuotaError) or not self.quota_timeout:
            raise error
        left = until - _clock.now()
        if left <= 0:
            waited = f"No quota became available within quota_timeout={self.quota_timeout:.0f} s, or execution_timeout."
            raise type(error)(
                lines(str(error), waited), operation=error.operation, code=error.code, details=error.details
            )
        self.log.warning("No quota available, nothing was started; waiting for up to %.0f s more. %s", left, error)

    def _take_turn(self, until: float, error: ServiceError | None) -> None:
        from airflow_cleanroomsml.triggers import CleanRoomsMLTurnTrigger

        if self._ti is not None:
            keep_note(self._ti, {_TURN: self.resource.noun})
        self.defer(
            trigger=CleanRoomsMLTurnTrigger(
                noun=self.resource.noun, deadline=until, refused=_refused(error), **self.connection
            ),
            method_name="execute_in_turn",
            timeout=timedelta(seconds=max(0.0, until - _clock.now()) + GRACE),
        )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral; one for a turn that Airflow itself ended has started nothing."""
        ti = context.get("ti")
        if next_method == "__fail__" and _TURN in read_note(ti):
            delete_note(ti)
            why = str((next_kwargs or {}).get("error", ""))
            raise CleanRoomsMLError(
                lines(
                    "Nothing was started: the start queue did not reach this task.",
                    why,
                    "A retry joins the queue again.",
                )
            )
        return super().resume_execution(next_method, next_kwargs, context)

    def execute_in_turn(self, context: Context, event: dict[str, Any]) -> Any:
        """Start it now that it is this task's turn; nothing was started before."""
        if not event.get("turn"):
            raise CleanRoomsMLError(
                lines(
                    "Nothing was started: the start queue did not reach this task.",
                    event.get("error") or "No quota became available before the time-out.",
                )
            )
        self._room_until, self._in_turn = event["deadline"], True
        return self.execute(context)


def _refused(error: ServiceError | None) -> dict[str, Any] | None:
    """Why a start was refused, as the trigger takes it."""
    if error is None:
        return None
    return {
        "why": "throttled" if isinstance(error, ThrottledError) else "quota",
        "quota_name": error.details.get("quotaName", ""),
        "quota_value": error.details.get("quotaValue"),
    }
