"""
When the next job may be started, where the number of starts a second and the number of jobs in progress are limited.

A :class:`StartQueue` makes no calls and has no clock of its own: its callers pass the time, refusals, and the ends of jobs.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._polling.backoff import Pace

#: Seconds between two starts: 1 a second, in bursts of 3 to 5, is published for most jobs (user guide, Quotas).
START_INTERVAL = 1.0
#: Seconds after a start that was refused because the quota is full until another is tried, if no job ends here before.
REFUSAL_INTERVAL = 300.0
#: Seconds until the next one is tried if that was not refused.
PROBE_INTERVAL = 60.0
#: Longest pause before a task asks again whether it is first, in seconds: those before it may have left the queue.
_LONGEST_PAUSE = 60.0


@dataclass(eq=False)
class Place:
    """
    A place in a queue. Leaving its ``with`` block gives it up.

    :param queue: The queue.
    :param is_abandoned: Whether the task that had it is gone.
    """

    queue: StartQueue
    is_abandoned: bool = False

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        # No lock: the coroutine may be garbage collected in any thread, also in one that holds the lock of the queue.
        self.is_abandoned = True

    def pause(self) -> float:
        """Return the seconds after which to ask again; 0 if the task may start its job now, which gives up the place."""
        return self.queue.pause(self, _clock.now())


class StartQueue:
    """
    The tasks that wait to start jobs of one kind over one connection, in the order of their arrival.

    They start at the published rate, and slower after throttling. The quota of jobs in progress is shared with others and not known here.
    So once a start was refused because the quota is full, each job that ends here lets the next task start. Now and then another task
    tries: a job may have ended elsewhere.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: list[Place] = []
        self._pace = Pace(START_INTERVAL)
        #: Jobs that the quota has room for, as far as is known; None if no start was refused.
        self._room: int | None = None
        self._probe_at = 0.0

    def join(self, now: float, refusal: Mapping[str, Any] | None = None) -> Place:
        """
        Take the last place.

        :param refusal: Why the service refused the start, if it did: ``why`` is ``throttled`` or ``quota``.
        """
        with self._lock:
            self._drop_abandoned()
            if not self._places:
                # What was learned of the quota may be outdated by the time that tasks queue again.
                self._room = None
            if refusal and refusal.get("why") == "throttled":
                self._pace.record_throttling(now)
            elif refusal:
                self._room, self._probe_at = 0, now + REFUSAL_INTERVAL
            self._places.append(Place(self))
            return self._places[-1]

    def pause(self, place: Place, now: float) -> float:
        """Return the seconds after which a task is to ask again; 0 if it may start its job now, which gives up its place."""
        with self._lock:
            self._drop_abandoned()
            position = self._places.index(place)
            if position:
                return min(position * START_INTERVAL, _LONGEST_PAUSE)
            if now < self._pace.ready_at:
                return self._pace.ready_at - now
            if self._room == 0 and now < self._probe_at:
                return min(START_INTERVAL, self._probe_at - now)
            if self._room:
                self._room -= 1
            else:
                self._probe_at = now + PROBE_INTERVAL
            self._pace.record_success(now)
            self._places.remove(place)
            return 0.0

    def record_end(self) -> None:
        """Note that a job has ended, or that no task waits for it here any longer."""
        with self._lock:
            if self._room is not None:
                self._room += 1

    def _drop_abandoned(self) -> None:
        self._places = [place for place in self._places if not place.is_abandoned]
