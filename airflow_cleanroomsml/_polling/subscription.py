"""One wait of a trigger, seen from both sides: the poller's thread and the trigger's event loop."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._resources.lookup import listing_arguments
from airflow_cleanroomsml._resources.table import Goal, Outcome
from airflow_cleanroomsml._waiting.job_search import JobSearch
from airflow_cleanroomsml._waiting.loop import REPORT_INTERVAL
from airflow_cleanroomsml._waiting.wait import PollResult, Wait

#: Seconds that a first look waits for others that begin at the same time.
GATHERING = 0.05
#: Seconds after its deadline, or its beginning, in which a wait still gets a look.
_LATE = 15.0
#: Part of its pause by which a look may come early, to share a sweep: pauses are jittered by 10 % either way.
EARLY = 0.2
#: Pieces of news that a loop gets at a time: what they set off runs before the next ones come.
_AT_A_TIME = 50


class Update(NamedTuple):
    """
    What a trigger is told.

    :param found: What was seen, or why nothing can be.
    :param final: Whether this is the last.
    """

    found: PollResult | Exception
    final: bool


class Subscription:
    """
    One wait of a trigger.

    As a context manager it lasts as long as the block.

    ``key`` names what is read, ``listing`` the listing that has it, ``job`` the noun of what is being made, if anything is, ``begun`` the
    second since 1970.

    :param subject: What is waited for.
    :param loop: Event loop of the trigger.
    """

    __slots__ = (
        "_ear",
        "_news",
        "_told",
        "apart_until",
        "begun",
        "due",
        "early",
        "job",
        "key",
        "leave",
        "listing",
        "loop",
        "over",
        "seen",
        "subject",
    )

    def __init__(self, subject: Wait | JobSearch, loop: asyncio.AbstractEventLoop) -> None:
        self.subject = subject
        self.loop = loop
        if isinstance(subject, Wait):
            self.key = f"{subject.noun} {sorted(subject.identifiers.items())}"
            self.listing = sys.intern(f"{subject.noun} {listing_arguments(subject.resource, subject.identifiers)}")
            self.job = subject.noun if subject.goal == Goal.CREATED else ""
        else:
            self.key = self.listing = f"{subject.search.listing_arguments}"
            self.job = ""
        self.seen: PollResult | None = None
        self.over = False
        self.apart_until = 0.0
        self.begun = _clock.now()
        self.due = self.early = self.begun + GATHERING
        self._told = 0.0
        self._news: list[Update] = []
        self.leave: Callable[[Subscription], None] | None = None
        self._ear: asyncio.Future[None] | None = None

    def __enter__(self) -> Subscription:
        """Begin the block for which it lasts."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End it, whatever is known."""
        if kind is GeneratorExit:
            # Its loop is gone, and this may be a search for garbage in any thread, one that holds the poller's lock included.
            self.over = True
        elif self.leave:
            self.leave(self)

    async def news(self) -> tuple[PollResult, bool]:
        """
        What was seen, once it has changed, after ten minutes if it has not, and at the end; and whether this is the end.

        :raises CleanRoomsMLError: It cannot be looked at.
        """
        if not self._news:
            self._ear = self.loop.create_future()
            await self._ear
        found, final = self._news.pop(0)
        if isinstance(found, Exception):
            raise found
        return found, final

    def hear(self, news: Update) -> None:
        """Take news, in the loop."""
        self._news.append(news)
        if self._ear is not None and not self._ear.done():
            self._ear.set_result(None)

    @property
    def deadline(self) -> float:
        """When the wait ends, in seconds since 1970."""
        return self.subject.deadline

    @property
    def next(self) -> float:
        """When there is something to do for it, in seconds since 1970."""
        return min(self.due, self.deadline, self._told + REPORT_INTERVAL) if self.seen else self.due

    def patience(self, *, slowed: bool) -> float:
        """
        When it ends with what was seen last, in seconds since 1970.

        :param slowed: Whether no look is to be had now, so that nothing is gained by waiting for the one that is due.
        """
        return self.deadline if slowed and self.seen else max(self.deadline, self.begun) + _LATE

    def postpone(self, now: float, jitter: float | None = None) -> None:
        """
        Plan the next look.

        :param jitter: Factor on the pause, for waits that are to stay together; None draws one.
        """
        pause = self.subject.pause(now, jitter)
        self.due = now + pause
        self.early = self.due - EARLY * pause

    def see(self, found: PollResult, now: float, jitter: float | None = None) -> Update | None:
        """Take what a look has shown; what the trigger is to be told of it, if anything. The jitter is that of :meth:`postpone`."""
        found = found.after(self.seen)
        changed = self.seen is None or (self.seen.status, self.seen.message) != (found.status, found.message)
        self.seen = found
        self.postpone(now, jitter)
        final = found.outcome != Outcome.PENDING or now >= self.deadline
        return self._tell(found, now, final=final) if final or changed else self.heartbeat(now)

    def heartbeat(self, now: float) -> Update | None:
        """What was seen last, where the trigger was told long ago."""
        if self.seen is None or now < self._told + REPORT_INTERVAL:
            return None
        return self._tell(self.seen, now, final=False)

    def give_up(self, now: float, why: str) -> Update:
        """
        End with what was seen last.

        :param why: Why nothing was seen, where that is so.
        """
        return self._tell(self.seen or PollResult("", Outcome.PENDING, message=why), now, final=True)

    def fail(self, error: Exception) -> Update:
        """End with an error."""
        self.over = True
        return Update(error, final=True)

    def _tell(self, found: PollResult, now: float, *, final: bool) -> Update:
        self._told, self.over = now, final
        return Update(found, final)


class Mail:
    """
    The way of news from the poller's thread into a loop: a few at a time, so that the loop is never held for long.

    :param loop: The loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Subscription, Update]] = deque()
        self._under_way = False

    def post(self, news: Iterable[tuple[Subscription, Update]]) -> None:
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
