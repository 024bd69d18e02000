"""How fast the calls of a poller follow each other."""

from __future__ import annotations

import random

#: Seconds between two calls: 50 a second are published for each Get and List (user guide, Quotas).
SHORTEST = 1 / 50
#: Seconds after the first throttling.
_SLOWED = 1.0
#: Seconds between two calls at most, before jitter.
LONGEST = 60.0
#: What a call that was not throttled leaves of the pause: from the longest, some ten minutes until all is as before.
_RECOVERY = 0.9


class Pace:
    """
    Throttling slows all calls of a poller together: the pause doubles, and shrinks slowly while calls go well.

    ``ready`` is when the next call may be made, in seconds since 1970.
    """

    def __init__(self) -> None:
        self.pause = SHORTEST
        self.ready = 0.0

    @property
    def is_slowed(self) -> bool:
        """Whether there was throttling lately."""
        return self.pause > SHORTEST

    def went(self, now: float) -> None:
        """A call was taken."""
        self.pause = max(SHORTEST, self.pause * _RECOVERY)
        self._rest(now)

    def throttled(self, now: float) -> None:
        """A call was refused: there were too many."""
        self.pause = min(LONGEST, max(_SLOWED, self.pause * 2))
        self._rest(now)

    def _rest(self, now: float) -> None:
        # Others that were throttled at the same moment do not come back at the same moment.
        self.ready = now + self.pause * (random.uniform(0.5, 1.5) if self.is_slowed else 1.0)
