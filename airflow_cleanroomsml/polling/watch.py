"""One wait of a trigger, seen from both sides: the poller's thread and the trigger's event loop."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

from airflow_cleanroomsml import clock
from airflow_cleanroomsml.new_jobs import Hunt
from airflow_cleanroomsml.resources import Goal, Outcome
from airflow_cleanroomsml.waiting import TELL_AGAIN, Observation, Wait, narrowed

#: Seconds that a first look waits for others that begin at the same time.
GATHERING = 0.05
#: Seconds after its deadline, or its beginning, in which a wait still gets a look.
_LATE = 15.0
#: Part of its pause by which a look may come early, to share a sweep: pauses are jittered by 10 % either way.
EARLY = 0.2
#: Pieces of news that a loop gets at a time: what they set off runs before the next ones come.
_AT_A_TIME = 50


def _keys(subject: Wait | Hunt) -> tuple[str, str]:
    if isinstance(subject, Hunt):
        listing = json.dumps(subject.search.narrowed, sort_keys=True)
        return listing, listing
    listing = json.dumps([subject.noun, narrowed(subject.resource, subject.identifiers)], sort_keys=True)
    return json.dumps([subject.noun, subject.identifiers], sort_keys=True), listing


class News(NamedTuple):
    """
    What a trigger is told.

    :param found: What was seen, or why nothing can be.
    :param final: Whether this is the last.
    """

    found: Observation | Exception
    final: bool


class Watch:
    """
    One wait of a trigger.

    :param subject: What is waited for.
    :param loop: Event loop of the trigger.
    """

    def __init__(self, subject: Wait | Hunt, loop: asyncio.AbstractEventLoop) -> None:
        self.subject = subject
        self.loop = loop
        #: Waits with the same key read the same thing, those with the same listing are entries of the same listing.
        self.key, self.listing = _keys(subject)
        self.seen: Observation | None = None
        self.over = False
        self.apart_until = 0.0
        self.due = clock.now() + GATHERING
        self.early = self.due
        self._told = 0.0
        self._begun = clock.now()
        self._news: asyncio.Queue[News] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[Observation]:
        """
        What was seen, whenever it has changed, at least every ten minutes, and at the end.

        :raises CleanRoomsMLError: It cannot be looked at.
        """
        final = False
        while not final:
            found, final = await self._news.get()
            if isinstance(found, Exception):
                raise found
            yield found

    def hear(self, news: News) -> None:
        """Take news, in the loop."""
        self._news.put_nowait(news)

    @property
    def job(self) -> str:
        """The noun of what is being made; empty for other waits."""
        subject = self.subject
        return subject.noun if isinstance(subject, Wait) and subject.goal == Goal.CREATED.value else ""

    @property
    def deadline(self) -> float:
        """When the wait ends, in seconds since 1970."""
        return self.subject.deadline

    @property
    def next(self) -> float:
        """When there is something to do for it, in seconds since 1970."""
        return min(self.due, self.deadline, self._told + TELL_AGAIN if self.seen else self.due)

    def patience(self, *, slowed: bool) -> float:
        """
        When it ends with what was seen last, in seconds since 1970.

        :param slowed: Whether no look is to be had now, so that nothing is gained by waiting for the one that is due.
        """
        return self.deadline if slowed and self.seen else max(self.deadline, self._begun) + _LATE

    def postpone(self, now: float) -> None:
        """Plan the next look."""
        pause = self.subject.pause(now)
        self.due = now + pause
        self.early = self.due - EARLY * pause

    def see(self, found: Observation, now: float) -> News | None:
        """Take what a look has shown; what the trigger is to be told of it, if anything."""
        changed = self.seen is None or (self.seen.status, self.seen.message) != (found.status, found.message)
        self.seen = found
        self.postpone(now)
        final = found.outcome != Outcome.AGAIN.value or now >= self.deadline
        return self._tell(found, now, final=final) if final or changed else self.heartbeat(now)

    def heartbeat(self, now: float) -> News | None:
        """What was seen last, where the trigger was told long ago."""
        if self.seen is None or now < self._told + TELL_AGAIN:
            return None
        return self._tell(self.seen, now, final=False)

    def give_up(self, now: float, why: str) -> News:
        """
        End with what was seen last.

        :param why: Why nothing was seen, where that is so.
        """
        return self._tell(self.seen or Observation("", Outcome.AGAIN.value, message=why), now, final=True)

    def fail(self, error: Exception) -> News:
        """End with an error."""
        self.over = True
        return News(error, final=True)

    def _tell(self, found: Observation, now: float, *, final: bool) -> News:
        self._told, self.over = now, final
        return News(found, final)


class Mail:
    """
    The way of news from the poller's thread into a loop: a few at a time, so that the loop is never held for long.

    :param loop: The loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Watch, News]] = deque()
        self._under_way = False

    def post(self, news: Iterable[tuple[Watch, News]]) -> None:
        """
        Hand over, from any thread.

        :raises RuntimeError: The loop is closed.
        """
        with self._lock:
            self._waiting.extend(news)
            begun, self._under_way = self._under_way, True
        if not begun:
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            now = [self._waiting.popleft() for _ in range(min(_AT_A_TIME, len(self._waiting)))]
            self._under_way = bool(self._waiting)
        for watch, news in now:
            watch.hear(news)
        if self._under_way:
            self._loop.call_soon(self._deliver)
