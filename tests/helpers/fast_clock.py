"""A clock for tests that wait for real things, such as the emulator: the package's time passes faster than the machine's."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from airflow_cleanroomsml import _clock

#: Seconds of the package's time in a second of the machine's.
SPEED = 10.0


def speed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Make the package's pauses and time-outs ten times shorter until the end of the test.

    The clock starts at the machine's time, so a test that takes ten seconds ends a minute and a half ahead of the
    emulator; the package allows for five minutes between the clocks.
    """
    start, sleep, sleep_async, wait_async = time.time(), time.sleep, asyncio.sleep, _clock.wait_async

    def wait(event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds / SPEED)

    monkeypatch.setattr(_clock, "now", lambda: start + (time.time() - start) * SPEED)
    monkeypatch.setattr(_clock, "sleep", lambda seconds: sleep(seconds / SPEED))
    monkeypatch.setattr(_clock, "sleep_async", lambda seconds: sleep_async(seconds / SPEED))
    monkeypatch.setattr(_clock, "wait_async", lambda future, seconds: wait_async(future, seconds / SPEED))
    monkeypatch.setattr(_clock, "wait", wait)
