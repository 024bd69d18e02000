"""Time, in one place: tests that run on a clock of their own replace these functions."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any


def now() -> float:
    """Return the seconds since 1970."""
    return time.time()


def sleep(seconds: float) -> None:
    """Block this thread."""
    time.sleep(seconds)


async def sleep_async(seconds: float) -> None:
    """Suspend this coroutine."""
    await asyncio.sleep(seconds)


async def wait_async(future: asyncio.Future[Any], seconds: float) -> bool:
    """
    Suspend this coroutine until a future is done, and return whether it was within this many seconds.

    This is a time-out for something that takes real time, such as a login, not a pause.
    """
    # Not asyncio.wait_for(), which would cancel the future: a thread that runs cannot be cancelled.
    done, _ = await asyncio.wait((future,), timeout=seconds)
    return bool(done)


def wait(event: threading.Event, seconds: float) -> bool:
    """Block this thread until an event is set, and return whether it was within this many seconds."""
    return event.wait(seconds)
