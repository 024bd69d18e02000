"""Many waits of one kind, answered by a listing where that takes fewer calls than a Get each."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._polling.calls import APART, Outbox, Plan, PollTarget, by_name, pages, taken, wait_of
from airflow_cleanroomsml._polling.entries import is_version
from airflow_cleanroomsml._resources.lookup import listing_arguments
from airflow_cleanroomsml._resources.table import Outcome
from airflow_cleanroomsml._waiting.outcome import TRANSIENT_ERRORS, evaluate
from airflow_cleanroomsml._waiting.wait import JITTER, PollResult


@dataclass
class Listing:
    """
    What is remembered of a listing. It holds all history, filters by no status, and has no documented order.

    :param pages: Pages that it takes to find what is waited for, as far as is known.
    :param proven: Whether so many were enough the last time.
    :param credit: Looks that were answered, less the calls that they took. By it a look never costs more than one call: a sweep in vain,
        or a Get after a sweep, is paid from it, or the look waits for its next turn.
    :param barred_until: When it may be tried again, in seconds since 1970.
    """

    pages: int = 1
    proven: bool = False
    credit: int = 0
    barred_until: float = 0.0

    def limit(self, things: int, now: float) -> int:
        """Pages that a sweep for so many things may take; 0 where a Get each is cheaper."""
        if now < self.barred_until or self.pages >= things:
            return 0
        return things - 1 if self.proven else things // 2

    def learn(self, read: int, useful: int, shown: int) -> None:
        """
        Remember a sweep.

        :param read: Pages that were read.
        :param useful: Those up to the last one that showed something.
        :param shown: Things that they showed.
        """
        self.proven = shown > 0
        self.pages = useful if shown else 2 * read + 1
        self.credit += shown - read

    def pay(self) -> bool:
        """Take a call from the credit, if there is one."""
        if self.credit <= 0:
            return False
        self.credit -= 1
        return True


class Sweep:
    """
    One way through a listing.

    ``ended`` are the things of which it does not say enough: they have ended, or the entry shows another version.

    :param listing: What is remembered of it.
    :param limit: Pages that it may take.
    :param things: What is looked for.
    :param outbox: What the waits are told.
    """

    def __init__(self, listing: Listing, limit: int, things: Iterable[PollTarget], outbox: Outbox) -> None:
        self.ended: list[PollTarget] = []
        self._listing = listing
        self._limit = limit
        self._outbox = outbox
        self._seen: dict[str, PollResult] = {}
        self._unseen = by_name(things)
        self._wanted = len(self._unseen)
        self._read = self._useful = 0
        # One for all: who was seen together is due together.
        self._jitter = random.uniform(*JITTER)

    def calls(self) -> Plan:
        """Read no further than there is something to be found."""
        resource, known = self._one.resource, self._one.wait.identifiers
        error: Exception | None = None
        for call in pages(resource.service, resource.list, listing_arguments(resource, known)):
            page = yield call
            self._read += 1
            if isinstance(page, Exception):
                error = page
                break
            shown = taken(self._unseen, page, resource)
            self._useful = self._read if shown else self._useful
            self.ended += [thing for thing, entry in shown if not self._answers(thing, entry)]
            if self._is_enough or not page.get("nextToken"):
                break
        self._listing.learn(self._read, self._useful, self._wanted - len(self._unseen))
        self._leave(error)

    @property
    def _one(self) -> PollTarget:
        return next(iter(self._unseen.values()))[0]

    @property
    def _is_enough(self) -> bool:
        """Nothing is left to find, or as many pages showed nothing as Gets for the rest would take."""
        in_vain = self._read - self._useful
        rest = len(self._unseen) if self._useful else self._limit
        return not self._unseen or self._read >= self._limit or in_vain >= rest

    def _answers(self, thing: PollTarget, entry: Mapping[str, Any]) -> bool:
        """Whether an entry says all that there is to say: the thing is under way."""
        if "status" not in entry or not is_version(thing.wait, entry):
            thing.set_apart(_clock.now())
            return False
        seen = [(watch, evaluate(wait_of(watch), entry)) for watch in thing.watches if not watch.over]
        if any(found.outcome != Outcome.PENDING for _, found in seen):
            return False
        for watch, found in seen:
            # A Get may have said more about the same status.
            known = watch.seen if watch.seen and watch.seen.status == found.status else self._alike(found)
            self._outbox.note(watch, known, self._jitter)
        return True

    def _alike(self, found: PollResult) -> PollResult:
        """The one that thousands share that have seen the same."""
        return found if found.reason or found.outputs else self._seen.setdefault(found.status, found)

    def _leave(self, error: Exception | None) -> None:
        """What was not seen is left to Gets; a fault that passes is told to those who asked."""
        now = _clock.now()
        rest = [thing for things in self._unseen.values() for thing in things]
        if isinstance(error, TRANSIENT_ERRORS):
            for thing in rest:
                self._outbox.tell([watch for watch in thing.watches if watch.due <= now], error)
        elif error is not None:
            self._listing.barred_until = now + APART
        elif self._useful:
            for thing in rest:
                thing.set_apart(now)
