"""The training window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone


@dataclass(frozen=True)
class Window:
    """
    The training window.

    :param start: Start, inclusive; None for no limit. A time without an offset is UTC.
    :param end: End, exclusive; None for no limit.
    """

    start: datetime | None
    end: datetime | None

    @property
    def is_empty(self) -> bool:
        """Whether no time is in the window."""
        first, after_last = self.bounds
        return first is not None and after_last is not None and first >= after_last

    @property
    def bounds(self) -> tuple[int | None, int | None]:
        """Start and end in Unix epoch seconds; None for no limit."""
        return _to_epoch_seconds(self.start), _to_epoch_seconds(self.end)

    def __str__(self) -> str:
        """Return the window as a half-open interval."""
        start, end = ("…" if time is None else time.isoformat() for time in (self.start, self.end))
        return f"[{start}, {end})"


def _to_epoch_seconds(time: datetime | None) -> int | None:
    if time is None:
        return None
    # Rounded up: interactions have whole seconds, so the first one at or after a fraction is at the next second.
    aware = time if time.tzinfo else time.replace(tzinfo=timezone.utc)
    return math.ceil(aware.timestamp())
