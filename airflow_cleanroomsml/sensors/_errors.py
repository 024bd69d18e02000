"""How a sensor ends that has not seen what it waits for: deferred as in the worker, whatever the Airflow."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_cleanroomsml import _clock, exceptions
from airflow_cleanroomsml._compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    TaskDeferralError,
    TaskDeferralTimeout,
)
from airflow_cleanroomsml.exceptions import CleanRoomsMLError, WaitTimeoutError, lines

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context

#: Seconds that Airflow's own limit on a deferral comes after ours: the trigger ends by itself, and says what it saw last.
GRACE = 60
_LONGER = "To wait longer, set timeout, in seconds; poke_interval is the longest pause between two looks, in seconds."


class SensorTimeoutError(WaitTimeoutError, AirflowSensorTimeout):
    """What a sensor waited for had not come in time."""


class FailingSensor(BaseSensorOperator):
    """
    A sensor whose ``soft_fail``, ``silent_fail`` and ``never_fail`` mean deferred what they mean in the worker.

    There Airflow's loop decides about them at each look (``BaseSensorOperator.execute``). After a deferral it decides in another way,
    and in 2.11 in another than in 3.3: with ``soft_fail`` it would skip what is retried in the worker.
    """

    @abstractmethod
    def _missed(self) -> tuple[str, ...]:
        """What the error of a time-out says: what was waited for, how it was last seen."""

    def _late(self) -> SensorTimeoutError:
        return SensorTimeoutError(lines(*self._missed(), _LONGER))

    @abstractmethod
    def _look(self, context: Context, deadline: float) -> Any:
        """Look once, and leave the rest to the triggerer."""

    def _taken(self, step: Callable[[], Any], deadline: float) -> Any:
        """The result of a step, its errors taken as Airflow's own loop takes them."""
        try:
            return step()
        except AirflowSkipException:
            raise
        except SensorTimeoutError as error:
            self._end(error, skips=self.soft_fail)
        except (AirflowFailException, AirflowTaskTimeout) as error:
            self._end(error, skips=self.soft_fail or self.never_fail)
        except Exception as error:
            if not self.silent_fail:
                self._end(error, skips=self.never_fail)
            self.log.exception("Looking failed.")
        return self._pause(deadline)

    def _end(self, error: BaseException, *, skips: bool) -> NoReturn:
        if skips:
            raise AirflowSkipException(str(error)) from error
        raise error

    def _pause(self, deadline: float) -> Any:
        """Look again after ``poke_interval``, in the worker: there ``silent_fail`` may ask for the next pause."""
        from airflow_cleanroomsml.pause import CleanRoomsMLPauseTrigger

        now = _clock.now()
        if now >= deadline:
            self._end(self._late(), skips=self.soft_fail)
        until = min(now + self.poke_interval, deadline)
        self.defer(
            trigger=CleanRoomsMLPauseTrigger(until=until, deadline=deadline),
            method_name="look_again",
            timeout=timedelta(seconds=until - now + GRACE),
        )

    def look_again(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on after a pause."""
        return self._look(context, event["deadline"])

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, one that Airflow itself ended included: a trigger that could not be loaded or was never heard of."""
        try:
            return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralError, TaskDeferralTimeout) as error:
            # "Trigger timeout"; in Airflow 2.11 "Trigger/execution timeout".
            if "timeout" in str(error):
                self._end(self._late(), skips=self.soft_fail)
            self._end(error, skips=self.soft_fail or self.never_fail)


def broken_off(error: str) -> CleanRoomsMLError:
    """
    Why a trigger could not look, as the error that it was.

    :param error: What the event says: the error's kind and text.
    """
    kind = getattr(exceptions, error.partition(":")[0], None)
    if not (isinstance(kind, type) and issubclass(kind, CleanRoomsMLError)):
        kind = CleanRoomsMLError
    return kind(f"The wait was interrupted: {error}")
