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

    :param start: Start, inclusive; None for no limit. A time without an offset is UTC.
    :param end: End, exclusive; None for no limit.
    """

    start: datetime | None
    end: datetime | None

    @property
    def is_empty(self) -> bool:
        """Whether no time is in the window."""
        return (
            self.start is not None
            and self.end is not None
            and _to_epoch_seconds(self.start) >= _to_epoch_seconds(self.end)
        )

    def contains(self, seconds: pa.ChunkedArray) -> pa.ChunkedArray | None:
        """Return whether each of the times is in the window; None for a window without limits."""
        inside = None
        if self.start is not None:
            inside = pc.greater_equal(seconds, _to_epoch_seconds(self.start))
        if self.end is not None:
            before = pc.less(seconds, _to_epoch_seconds(self.end))
            inside = before if inside is None else pc.and_(inside, before)
        return inside

    def __str__(self) -> str:
        """Return the window as a half-open interval."""
        start, end = ("…" if time is None else time.isoformat() for time in (self.start, self.end))
        return f"[{start}, {end})"


def _to_epoch_seconds(time: datetime) -> int:
    # Rounded up: interactions have whole seconds, so the first one at or after a fraction is at the next second.
    aware = time if time.tzinfo else time.replace(tzinfo=timezone.utc)
    return math.ceil(aware.timestamp())
