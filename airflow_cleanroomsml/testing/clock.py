"""The time of a test: the emulator's, and that of the pauses of this package's tasks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml.testing.admin_api import AdminApi

#: Real seconds for which a thread waits for an event before it skips the rest of the time; others may be about to set it.
_YIELD = 0.002


class EmulatorClock:
    """
    The emulator's clock, which all statuses and timestamps follow.

    It runs with the machine's clock until a test freezes it. Pauses of this package's tasks and triggers advance it instead of taking
    time, so a job of an hour ends at once, in the worker or deferred, and waits time out as they would in Airflow. Airflow's own pauses,
    for instance between two tries, take real time.
    """

    def __init__(self, admin_api: AdminApi) -> None:
        self._admin_api = admin_api
        self._lock = threading.Lock()
        self._offset = 0.0
        self._frozen_at: float | None = None

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return datetime.fromtimestamp(self._read(), timezone.utc)

    def advance(self, time: float | timedelta) -> None:
        """
        Move the clock forward.

        :param time: Seconds, or a timedelta; 0 or more.
        :raises EmulatorError: It is less than 0.
        """
        self._set(advance=time.total_seconds() if isinstance(time, timedelta) else time)

    def freeze(self) -> None:
        """Stop the clock, so that only :meth:`advance` and pauses move it."""
        self._set(freeze=True)

    def run(self) -> None:
        """Let a frozen clock run again, from the time it shows."""
        self._set(freeze=False)

    def read_from_emulator(self) -> None:
        """Take over the emulator's time, for instance after a reset."""
        with self._lock:
            self._take(self._admin_api.call("GET", "/_emulator/clock"))

    @contextmanager
    def skip_pauses(self) -> Iterator[None]:
        """Let this package's pauses, in this process, advance the clock instead of taking time."""
        # Other modules call these as attributes of ``_clock``, so that replacing them here reaches all callers. ``wait_async`` stays: it
        # limits a login, which takes real time whatever the emulator's clock shows.
        replacements = {
            "now": self._read,
            "sleep": self._skip,
            "sleep_async": self._skip_async,
            "wait": self._skip_unless_set,
        }
        originals = {name: getattr(_clock, name) for name in replacements}
        try:
            for name, function in replacements.items():
                setattr(_clock, name, function)
            yield
        finally:
            for name, function in originals.items():
                setattr(_clock, name, function)

    def _set(self, **change: Any) -> None:
        with self._lock:
            self._take(self._admin_api.call("POST", "/_emulator/clock", change))

    def _take(self, answer: dict[str, Any]) -> None:
        now = float(answer["now"])
        self._frozen_at, self._offset = (now if answer["frozen"] else None), now - time.time()

    def _read(self) -> float:
        # Read once, because another thread may let the clock run between test and use.
        frozen_at = self._frozen_at
        return time.time() + self._offset if frozen_at is None else frozen_at

    def _skip(self, seconds: float) -> None:
        self._set(advance=max(0.0, seconds))

    async def _skip_async(self, seconds: float) -> None:
        self._skip(seconds)

    def _skip_unless_set(self, event: threading.Event, seconds: float) -> bool:
        if not event.wait(min(seconds, _YIELD)):
            self._skip(seconds)
        return event.is_set()
