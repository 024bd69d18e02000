"""One wait of a trigger, used by both the poller's thread and the trigger's event loop."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._resources.lookup import build_listing_arguments
from airflow_cleanroomsml._resources.table import Goal, Outcome
from airflow_cleanroomsml._waiting.job_search import JobSearch, JobWatch
from airflow_cleanroomsml._waiting.loop import REPORT_INTERVAL
from airflow_cleanroomsml._waiting.wait import PollResult, Wait

#: Seconds by which the first poll is delayed, so that waits that begin together share it.
FIRST_DELAY = 0.05
#: Seconds for which a wait that has never been polled may outlast its deadline, or its start if that is later.
_FIRST_POLL_ALLOWANCE = 15.0
#: Fraction of its pause by which a poll may come early to join a list sweep. Pauses have 10 % of jitter either way.
_EARLY = 0.2
#: Most updates that an event loop takes at once. Their callbacks run before it takes more, so the loop is never blocked for long.
_BATCH = 50


class Update(NamedTuple):
    """
    An update for a trigger.

    :param result: The result of a poll, or the error that ends the wait.
    :param is_final: Whether no more updates follow.
    """

    result: PollResult | Exception
    is_final: bool


class Owner(Protocol):
    """The owner of a subscription."""

    def remove(self, subscription: Subscription) -> None:
        """End a subscription."""


class Subscription:
    """
    One wait of a trigger. Leaving its ``with`` block ends it.

    The poller keeps the state of the wait in these attributes; times are in seconds since 1970:

    - ``target_key`` and ``listing_key`` identify what is polled and the listing that shows it;
    - ``job_noun`` is the noun of the job whose end the wait is for, else empty;
    - ``began_at`` is when the wait began in this process;
    - ``due_at`` is when the next poll is due, and ``sweep_from`` when a list sweep may answer it early;
    - ``get_until`` is the time until which it is polled by Get, because its listing does not say enough;
    - ``last_result`` is what the last poll found;
    - ``is_finished`` says that no more updates follow, or that nobody takes them;
    - ``owner`` ends it when the trigger leaves the ``with`` block.

    :param subject: What the trigger waits for.
    :param loop: Event loop of the trigger.
    """

    __slots__ = (
        "_next",
        "_reported_at",
        "_updates",
        "began_at",
        "due_at",
        "get_until",
        "is_finished",
        "job_noun",
        "last_result",
        "listing_key",
        "loop",
        "owner",
        "subject",
        "sweep_from",
        "target_key",
    )

    def __init__(self, subject: Wait | JobSearch | JobWatch, loop: asyncio.AbstractEventLoop) -> None:
        self.subject = subject
        self.loop = loop
        if isinstance(subject, Wait):
            self.target_key = f"{subject.noun} {sorted(subject.identifiers.items())}"
            # Thousands of waits share a listing, and so its key.
            self.listing_key = sys.intern(
                f"{subject.noun} {build_listing_arguments(subject.resource, subject.identifiers)}"
            )
            self.job_noun = subject.noun if subject.goal == Goal.CREATED else ""
        else:
            self.target_key = self.listing_key = f"{subject.search.listing_arguments}"
            self.job_noun = ""
        self.last_result: PollResult | None = None
        self.is_finished = False
        self.get_until = 0.0
        self.began_at = _clock.now()
        self.due_at = self.sweep_from = self.began_at + FIRST_DELAY
        self.owner: Owner | None = None
        self._reported_at = 0.0
        #: Updates that the trigger has not asked for yet.
        self._updates: tuple[Update, ...] = ()
        self._next: asyncio.Future[tuple[PollResult, bool]] | None = None

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is GeneratorExit:
            # The coroutine is being garbage collected after its loop was closed. That can happen in any thread, also in one that holds the
            # lock which the owner would take, so the owner removes it later.
            self.is_finished = True
        elif self.owner:
            self.owner.remove(self)

    def next_update(self) -> asyncio.Future[tuple[PollResult, bool]]:
        """
        Return a future: the last result once it has changed, after ten minutes without a change, or at the end; and whether it is final.

        It raises a ``CleanRoomsMLError`` if the resource cannot be polled. A coroutine would take more memory, and there are thousands.
        """
        future: asyncio.Future[tuple[PollResult, bool]] = self.loop.create_future()
        if self._updates:
            first, *rest = self._updates
            self._updates = tuple(rest)
            _set_update(future, first)
        else:
            self._next = future
        return future

    def deliver(self, update: Update) -> None:
        """Hand an update to the trigger; to be called in its event loop."""
        if self._next is None or self._next.done():
            self._updates = (*self._updates, update)
        else:
            _set_update(self._next, update)

    @property
    def wait(self) -> Wait:
        """
        The wait for a resource.

        :raises TypeError: The subscription is a search for jobs.
        """
        if not isinstance(self.subject, Wait):
            raise TypeError(f"{self.subject} is not a wait for a resource")
        return self.subject

    @property
    def deadline(self) -> float:
        """When the wait ends, in seconds since 1970."""
        return self.subject.deadline

    @property
    def next_event_at(self) -> float:
        """When the poller has to do something for it next, in seconds since 1970."""
        return min(self.due_at, self.deadline, self._reported_at + REPORT_INTERVAL) if self.last_result else self.due_at

    def compute_end(self, *, is_slowed: bool) -> float:
        """
        Return when it ends with the last result, in seconds since 1970.

        :param is_slowed: Whether the service cannot be called now; waiting for the next poll is then pointless.
        """
        return (
            self.deadline
            if is_slowed and self.last_result
            else max(self.deadline, self.began_at) + _FIRST_POLL_ALLOWANCE
        )

    def postpone(self, now: float, jitter: float | None = None) -> None:
        """
        Schedule the next poll.

        :param jitter: Factor on the pause, for waits that are to stay together; None draws one.
        """
        pause = self.subject.pause(now, jitter)
        self.due_at = now + pause
        self.sweep_from = self.due_at - _EARLY * pause

    def record(self, result: PollResult, now: float, jitter: float | None = None) -> Update | None:
        """
        Record the result of a poll and schedule the next one.

        :param jitter: As for :meth:`postpone`.
        :return: The update for the trigger, if there is one.
        """
        last, result = self.last_result, result.after(self.last_result)
        # The trigger keeps the result of its last update, so an equal one would be a second object for each of thousands of waits.
        self.last_result = result = last if last == result else result
        self.postpone(now, jitter)
        is_final = result.outcome != Outcome.PENDING or now >= self.deadline
        is_search = not isinstance(self.subject, Wait)
        if is_final or last is None or (last.status, last.message) != (result.status, result.message):
            return self._update(result, now, is_final=is_final)
        if is_search and last.outputs != result.outputs:
            return self._update(result, now, is_final=is_final)
        return self.repeat_update(now)

    def repeat_update(self, now: float) -> Update | None:
        """Repeat the last result if the trigger has had no update for ten minutes."""
        if self.last_result is None or now < self._reported_at + REPORT_INTERVAL:
            return None
        return self._update(self.last_result, now, is_final=False)

    def give_up(self, now: float, reason: str) -> Update:
        """
        End the wait with the last result.

        :param reason: Why there is none, if there is none.
        """
        result = self.last_result or PollResult("", Outcome.PENDING, message=reason)
        return self._update(result, now, is_final=True)

    def fail(self, error: Exception) -> Update:
        """End the wait with an error."""
        self.is_finished = True
        return Update(error, is_final=True)

    def _update(self, result: PollResult, now: float, *, is_final: bool) -> Update:
        self._reported_at, self.is_finished = now, is_final
        return Update(result, is_final)


def _set_update(future: asyncio.Future[tuple[PollResult, bool]], update: Update) -> None:
    if isinstance(update.result, Exception):
        future.set_exception(update.result)
    else:
        future.set_result((update.result, update.is_final))


class UpdateQueue:
    """
    Carries updates from the poller's thread to an event loop, a batch at a time.

    :param loop: The event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._updates: deque[tuple[Subscription, Update]] = deque()
        self._is_scheduled = False

    def put(self, updates: Iterable[tuple[Subscription, Update]]) -> None:
        """
        Queue updates; may be called from any thread.

        :raises RuntimeError: The loop is closed.
        """
        with self._lock:
            self._updates.extend(updates)
            was_scheduled, self._is_scheduled = self._is_scheduled, True
        if not was_scheduled:
            self._loop.call_soon_threadsafe(self._deliver_batch)

    def _deliver_batch(self) -> None:
        with self._lock:
            batch = [self._updates.popleft() for _ in range(min(_BATCH, len(self._updates)))]
            self._is_scheduled = bool(self._updates)
        for subscription, update in batch:
            subscription.deliver(update)
        if self._is_scheduled:
            self._loop.call_soon(self._deliver_batch)
