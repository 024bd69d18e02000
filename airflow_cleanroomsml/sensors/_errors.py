"""How a deferred sensor handles errors and time-outs: as it does in the worker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_cleanroomsml import _clock, exceptions
from airflow_cleanroomsml._compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralError,
    TaskDeferralTimeout,
    is_deferral_timeout,
)
from airflow_cleanroomsml.exceptions import CleanRoomsMLError, WaitTimeoutError, join_lines

if TYPE_CHECKING:
    from airflow_cleanroomsml.sensors._base import CleanRoomsMLBaseSensor

#: Seconds by which Airflow's own limit on a deferral exceeds ours, so that the trigger ends by itself and returns its last result.
SENSOR_DEFERRAL_MARGIN = 60
_NO_TRIGGERER = "No triggerer was running at the time-out. Check that one is running now."
_ADVICE = "To wait longer, increase timeout (in seconds); poke_interval is the longest pause between two polls."


# Both: users catch the errors of this package, and Airflow and its callbacks know a time-out of a sensor by its own class.
class SensorTimeoutError(WaitTimeoutError, AirflowSensorTimeout):
    """A sensor timed out."""


class ErrorHandler:
    """
    Gives ``soft_fail``, ``silent_fail`` and ``never_fail`` of a deferred sensor the meaning that they have in the worker.

    In the worker, Airflow's loop applies them at each poke (``BaseSensorOperator.execute``). After a deferral it applies them differently,
    and in 2.11 differently from 3.3: with ``soft_fail`` it would skip a task that the worker would retry.

    :param sensor: The task.
    """

    def __init__(self, sensor: CleanRoomsMLBaseSensor) -> None:
        self._sensor = sensor

    def run(self, step: Callable[[], Any], deadline: float) -> Any:
        """
        Run a step of the sensor; return its result.

        :param deadline: When the sensor times out, in seconds since 1970.
        :raises TaskDeferred: It polls again after a pause.
        """
        sensor = self._sensor
        try:
            return step()
        # A skip is a result, not an error, although its class is one: never_fail and silent_fail must not see it.
        except AirflowSkipException:
            raise
        except SensorTimeoutError as error:
            _raise_or_skip(error, skip=sensor.soft_fail)
        # The same cases in the same order as in BaseSensorOperator.execute of 2.11 and 3.3 (docs/design/polling.md).
        except (AirflowFailException, AirflowTaskTimeout) as error:
            _raise_or_skip(error, skip=sensor.soft_fail or sensor.never_fail)
        except Exception as error:
            if not sensor.silent_fail:
                _raise_or_skip(error, skip=sensor.never_fail)
            sensor.log.exception("Polling failed; the sensor polls again, because silent_fail is set.")
        return self._pause(deadline)

    def resume(self, resume: Callable[[], Any]) -> Any:
        """Resume the sensor after a deferral, even if Airflow ended it because the trigger could not be loaded or sent no event."""
        sensor = self._sensor
        try:
            return resume()
        except (TaskDeferralError, TaskDeferralTimeout) as error:
            # The trigger ends before this limit, so no triggerer was running: for the user that is a time-out of the sensor.
            if is_deferral_timeout(error):
                _raise_or_skip(self.build_timeout(_NO_TRIGGERER), skip=sensor.soft_fail)
            _raise_or_skip(error, skip=sensor.soft_fail or sensor.never_fail)

    def build_timeout(self, reason: str = "") -> SensorTimeoutError:
        """
        Build the error for a sensor that timed out.

        :param reason: Why it was not polled, if it was not.
        """
        return SensorTimeoutError(join_lines(*self._sensor.describe_timeout(), reason, _ADVICE))

    def _pause(self, deadline: float) -> Any:
        """Poll again after ``poke_interval``, in the worker: there ``silent_fail`` may ask for the next pause."""
        from airflow_cleanroomsml.pause import CleanRoomsMLPauseTrigger

        # In the worker Airflow's loop looks at the clock after each poke; a sensor that keeps failing would have no end otherwise.
        sensor, now = self._sensor, _clock.now()
        if now >= deadline:
            _raise_or_skip(self.build_timeout(), skip=sensor.soft_fail)
        until = min(now + sensor.poke_interval, deadline)
        sensor.defer(
            trigger=CleanRoomsMLPauseTrigger(until=until, deadline=deadline),
            method_name="look_again",
            timeout=timedelta(seconds=until - now + SENSOR_DEFERRAL_MARGIN),
        )


def _raise_or_skip(error: BaseException, *, skip: bool) -> NoReturn:
    if skip:
        raise AirflowSkipException(str(error)) from error
    raise error


def build_interruption(reason: str, title: str = "") -> CleanRoomsMLError:
    """
    Build the error for a trigger that could not poll, of the same class as the error that it met.

    :param reason: Kind and text of the error, from the trigger's event.
    :param title: What the sensor waited for.
    """
    # Of the same class, so that soft_fail, never_fail and retries treat it as they would in the worker. An event holds text only.
    kind = getattr(exceptions, reason.partition(":")[0], None)
    if not (isinstance(kind, type) and issubclass(kind, CleanRoomsMLError)):
        kind = CleanRoomsMLError
    is_final = issubclass(kind, AirflowFailException)
    advice = "Once the cause is corrected, clear the task." if is_final else "A retry continues the wait."
    return kind(join_lines("The wait was interrupted.", title, reason, advice))
