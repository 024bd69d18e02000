"""The training window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Window:
    """
    The training window.

    :param start: Its begin, included; None for the first interaction. A time without a zone is UTC.
    :param end: Its end, excluded; None for after the last.
    """

    start: datetime | None
    end: datetime | None

    @property
    def empty(self) -> bool:
        """Whether no time can lie within."""
        return self.start is not None and self.end is not None and _epoch(self.start) >= _epoch(self.end)

    def contains(self, seconds: pa.ChunkedArray) -> pa.ChunkedArray | None:
        """Return which of the times are within; None where the window has no bounds."""
        inside = None
        if self.start is not None:
            inside = pc.greater_equal(seconds, _epoch(self.start))
        if self.end is not None:
            before = pc.less(seconds, _epoch(self.end))
            inside = before if inside is None else pc.and_(inside, before)
        return inside

    def __str__(self) -> str:
        """Return the window in ISO 8601, half open."""
        start, end = ("…" if time is None else time.isoformat() for time in (self.start, self.end))
        return f"[{start}, {end})"


def _epoch(time: datetime) -> int:
    # ceiling: an interaction is at a whole second, and the first at or after a fraction is the next
    aware = time if time.tzinfo else time.replace(tzinfo=timezone.utc)
    return math.ceil(aware.timestamp())
