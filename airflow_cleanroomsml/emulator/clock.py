"""The emulator's clock, which tests can freeze and advance."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """
    The time that all statuses and timestamps follow.

    :param start: Seconds since 1970 at which it is frozen, so that only :meth:`advance` and :meth:`sleep` move it; None for the
        system's time.
    """

    def __init__(self, start: float | None = None) -> None:
        self._start = self._frozen_at = start
        self._offset = 0.0
        # Per thread, because a late commit is executed at its own time while other threads see the present one.
        self._thread = threading.local()

    def now(self) -> float:
        """Return the time in seconds since 1970."""
        override: float | None = getattr(self._thread, "time", None)
        frozen_at = self._frozen_at if override is None else override
        return time.time() + self._offset if frozen_at is None else frozen_at

    @property
    def frozen(self) -> bool:
        """Whether the clock is frozen."""
        return self._frozen_at is not None

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        if self._frozen_at is None:
            self._offset += seconds
        else:
            self._frozen_at += seconds

    def freeze(self, at: float | None = None) -> None:
        """
        Freeze the clock.

        :param at: Seconds since 1970; None for the present time.
        """
        self._frozen_at = self.now() if at is None else at

    def run(self) -> None:
        """Let a frozen clock run again from the time it shows."""
        self._offset = self.now() - time.time()
        self._frozen_at = None

    def reset(self) -> None:
        """Return to the beginning: to the system's time, or frozen at the start."""
        self._frozen_at, self._offset = self._start, 0.0

    @contextmanager
    def override(self, time: float) -> Iterator[None]:
        """
        Show another time to this thread.

        :param time: Seconds since 1970.
        """
        self._thread.time = time
        try:
            yield
        finally:
            self._thread.time = None

    def sleep(self, seconds: float) -> None:
        """Wait; a frozen clock is advanced at once instead."""
        if self.frozen:
            self.advance(seconds)
        else:
            time.sleep(seconds)
