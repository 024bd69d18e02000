"""A clock for tests that wait for real things, such as the emulator: the package's time passes faster than the machine's."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from airflow_cleanroomsml import _clock

#: Seconds of the package's time in a second of the machine's.
SPEED = 10.0
#: Seconds of the machine's time that a task sleeps at most; then its clock leaps to the end of the pause.
LONGEST_SLEEP = 0.2


class FastClock:
    """The package's time: ten times as fast as the machine's, plus the pauses that were skipped."""

    def __init__(self) -> None:
        self._start, self._ahead, self._lock = time.time(), 0.0, threading.Lock()
        self._sleep = time.sleep

    def _read_scaled_time(self) -> float:
        return self._start + (time.time() - self._start) * SPEED

    def now(self) -> float:
        """Seconds since 1970."""
        return self._read_scaled_time() + self._ahead

    def sleep(self, seconds: float) -> None:
        """Sleep for at most a tenth of the time. Sleeps of several threads overlap, as in reality."""
        end = self.now() + seconds
        self._sleep(min(seconds / SPEED, LONGEST_SLEEP))
        with self._lock:
            self._ahead = max(self._ahead, end - self._read_scaled_time())


def speed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Make the package's pauses and time-outs at least ten times shorter until the end of the test.

    The clock starts at the machine's time, so a test that takes ten seconds ends a minute and a half ahead of the
    emulator; the package allows for five minutes between the clocks.
    """
    clock, sleep_async, wait_async = FastClock(), asyncio.sleep, _clock.wait_async

    def wait(event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds / SPEED)

    monkeypatch.setattr(_clock, "now", clock.now)
    monkeypatch.setattr(_clock, "sleep", clock.sleep)
    monkeypatch.setattr(_clock, "sleep_async", lambda seconds: sleep_async(seconds / SPEED))
    monkeypatch.setattr(_clock, "wait_async", lambda future, seconds: wait_async(future, seconds / SPEED))
    monkeypatch.setattr(_clock, "wait", wait)
