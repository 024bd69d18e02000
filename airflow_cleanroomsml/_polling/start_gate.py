"""Who may start next, where starts a second and jobs under way are limited."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

#: Seconds between two starts: 1 a second, in bursts of 3 to 5, is published for most starts of jobs (user guide, Quotas).
PACE = 1.0
#: The longest that throttling makes of it.
SLOWEST = 60.0
#: What a start that was not throttled leaves of it.
_RECOVERY = 0.9
#: Seconds after which whoever was let through and has not been heard of is thought to have started something that nobody waits for here.
ABSENCE = 300.0
#: Seconds between two probes, while they succeed and at most.
PROBE = (60.0, 300.0)
_GROWTH = 1.5


@dataclass(eq=False)
class Ticket:
    """
    A place in the queue.

    :param abandoned: Whether nobody will ask for it, or leave it, any more.
    """

    abandoned: bool = False


class Gate:
    """
    The queue before one kind of start.

    How much there is room for is not known until somebody is refused: then it is as much as is under way here, for what others have under
    way is not known either. From then on the end of one lets the next one through. Where none ends, because the quota is full of jobs
    that nobody waits for here, one is let through as a probe, again and again; each that succeeds shows that there is more room.

    It makes no call, has no clock, and never waits: it is asked. What is under way is told by whoever asks.
    """

    def __init__(self) -> None:
        self._queue: deque[Ticket] = deque()
        self._absent: deque[float] = deque()
        self._capacity: int | None = None
        self._pause = PACE
        self._slowed = self._last = self._changed = float("-inf")
        self._probe = PROBE[0]
        self._probing = False

    def enter(self, now: float, under_way: int, refused: dict[str, Any] | None = None) -> Ticket:
        """
        Take the last place.

        :param now: The time, in seconds.
        :param under_way: Jobs of the kind that are waited for.
        :param refused: Why the start was refused, of one who comes back: ``why`` is ``throttled`` or ``quota``.
        """
        if refused:
            self._heard(now)
            (self._throttled if refused.get("why") == "throttled" else self._full)(now, under_way)
        ticket = Ticket()
        self._queue.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the place up."""
        if ticket in self._queue:
            self._queue.remove(ticket)

    def ask(self, ticket: Ticket, now: float, under_way: int) -> float:
        """
        Ask whether it is one's turn, which takes the ticket.

        :return: Seconds after which to ask again; 0 where it is.
        """
        self._forget(now)
        self._drop()
        place = self._queue.index(ticket)
        if place:
            return place * PACE
        rest = self._last + self._pause - now
        if rest > 0:
            return rest
        in_use = under_way + len(self._absent)
        if self._capacity is None or in_use < self._capacity:
            self._let_through(now)
            return 0.0
        until_probe = self._changed + self._probe - now
        if until_probe > 0:
            return min(PACE, until_probe)
        self._probing = True
        self._let_through(now)
        return 0.0

    def arrived(self, now: float, under_way: int) -> None:
        """
        Somebody has started one, and waits for it.

        :param under_way: Jobs of the kind that are waited for, this one included.
        """
        self._heard(now)
        if self._capacity is not None:
            self._capacity = max(self._capacity, under_way)
        if self._probing:
            self._probing, self._probe = False, PROBE[0]

    def is_idle(self, now: float) -> bool:
        """Whether nothing is lost if it is forgotten: nobody waits, and nobody is on the way."""
        self._forget(now)
        self._drop()
        return not self._queue and not self._absent

    def _let_through(self, now: float) -> None:
        self._queue.popleft()
        self._absent.append(now)
        self._last = self._changed = now
        self._pause = max(PACE, self._pause * _RECOVERY)

    def _heard(self, now: float) -> None:
        self._forget(now)
        if self._absent:
            self._absent.popleft()

    def _drop(self) -> None:
        if any(ticket.abandoned for ticket in self._queue):
            self._queue = deque(ticket for ticket in self._queue if not ticket.abandoned)

    def _forget(self, now: float) -> None:
        while self._absent and self._absent[0] + ABSENCE <= now:
            self._absent.popleft()

    def _throttled(self, now: float, _: int) -> None:
        # All who were refused at one moment are one throttling.
        if now >= self._slowed + self._pause:
            self._pause = min(SLOWEST, self._pause * 2)
            self._slowed = now
        self._last = max(self._last, now)

    def _full(self, now: float, under_way: int) -> None:
        self._capacity = under_way + len(self._absent)
        self._changed = now
        if self._probing:
            self._probing = False
            self._probe = min(PROBE[1], self._probe * _GROWTH * random.uniform(0.9, 1.1))
