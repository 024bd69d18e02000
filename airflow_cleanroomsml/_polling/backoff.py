"""How fast calls follow each other, and how throttling slows them down."""

from __future__ import annotations

import random

#: Seconds between two calls: the service takes 50 a second of each Get and List (user guide, Quotas).
POLL_INTERVAL = 1 / 50
#: Seconds between two calls after the first throttling.
_FIRST_PAUSE = 1.0
#: The longest pause between two calls, in seconds, before jitter.
LONGEST_PAUSE = 60.0
#: Factor on the pause after each call that was not throttled: the longest pause is back to normal after some ten minutes.
_RECOVERY = 0.9


class Pace:
    """
    The pause between two calls: throttling doubles it, and each call that is not throttled takes back a tenth.

    ``pause`` is in seconds, ``ready_at`` is when the next call may be made, in seconds since 1970.

    :param shortest: The pause without throttling, in seconds.
    """

    def __init__(self, shortest: float = POLL_INTERVAL) -> None:
        self._shortest = self.pause = shortest
        self.ready_at = 0.0
        self._slowed_until = 0.0

    @property
    def is_slowed(self) -> bool:
        """Whether throttling still has an effect."""
        return self.pause > self._shortest

    def record_success(self, now: float) -> None:
        """Note that a call was made at a time and was not throttled."""
        self.pause = max(self._shortest, self.pause * _RECOVERY)
        self._schedule(now)

    def record_throttling(self, now: float) -> None:
        """Note that a call was throttled; what was sent before the last throttling took effect does not count again."""
        if now < self._slowed_until:
            return
        self.pause = min(LONGEST_PAUSE, max(_FIRST_PAUSE, self.pause * 2))
        self._schedule(now)
        self._slowed_until = self.ready_at

    def _schedule(self, now: float) -> None:
        # Jitter keeps clients that were throttled together from coming back together.
        self.ready_at = now + self.pause * (random.uniform(0.5, 1.5) if self.is_slowed else 1.0)
