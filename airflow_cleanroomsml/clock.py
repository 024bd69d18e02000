"""Time, in one place: a test that owns the clock replaces these two."""

from __future__ import annotations

import time


def now() -> float:
    """Seconds since 1970."""
    return time.time()


def sleep(seconds: float) -> None:
    """Wait in this thread."""
    time.sleep(seconds)
