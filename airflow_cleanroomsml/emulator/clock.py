"""The emulator's time: everything that it says and does follows this clock, and a test may push it or own it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """
    Time.

    :param start: Seconds since 1970 at which it stands: only :meth:`advance` and :meth:`sleep` move it then; None for the machine's time.
    """

    def __init__(self, start: float | None = None) -> None:
        self._stands = start
        self._ahead = 0.0
        self._own = threading.local()

    def now(self) -> float:
        """Seconds since 1970."""
        own: float | None = getattr(self._own, "time", None)
        stands = self._stands if own is None else own
        return time.time() + self._ahead if stands is None else stands

    @property
    def frozen(self) -> bool:
        """Whether it stands still."""
        return self._stands is not None

    def advance(self, seconds: float) -> None:
        """Push it forward."""
        if self._stands is None:
            self._ahead += seconds
        else:
            self._stands += seconds

    def freeze(self, at: float | None = None) -> None:
        """
        Let it stand.

        :param at: Seconds since 1970; None for where it is.
        """
        self._stands = self.now() if at is None else at

    def run(self) -> None:
        """Let it run on from where it is."""
        self._ahead = self.now() - time.time()
        self._stands = None

    @contextmanager
    def at(self, time: float) -> Iterator[None]:
        """
        Let it show another time to this thread.

        :param time: Seconds since 1970.
        """
        self._own.time = time
        try:
            yield
        finally:
            self._own.time = None

    def sleep(self, seconds: float) -> None:
        """Let time pass: in this thread while it runs, at once while it stands."""
        if self.frozen:
            self.advance(seconds)
        else:
            time.sleep(seconds)
