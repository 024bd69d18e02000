"""Which calls answer the waits that are due."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._polling.calls import Call, Outbox, Plan, PollTarget, entries, group_by_target, pages, wait_of
from airflow_cleanroomsml._polling.entries import is_meant, named_by, naming
from airflow_cleanroomsml._polling.list_sweep import Listing, Sweep
from airflow_cleanroomsml._polling.subscription import Subscription
from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.lookup import listing_arguments, read
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS_ML, Resource
from airflow_cleanroomsml._waiting import job_search
from airflow_cleanroomsml._waiting.job_search import JobSearch
from airflow_cleanroomsml.exceptions import UnreachableError


class Planner:
    """
    What a poller reads next.

    :param outbox: What the waits are told.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._listings: dict[str, Listing] = {}
        self._lost: dict[str, Exception] = {}

    def plan(self, watches: Iterable[Subscription]) -> Plan:
        """The calls for all that is due, what is due longest first."""
        self._lost.clear()
        kinds: dict[str, list[Subscription]] = {}
        for watch in watches:
            kinds.setdefault(watch.listing, []).append(watch)
        self._listings = {key: self._listings.get(key) or Listing() for key in kinds}
        now = _clock.now()
        for key, kind in sorted(kinds.items(), key=lambda item: min(watch.due for watch in item[1])):
            if any(watch.due <= now for watch in kind):
                yield from self._kind(self._listings[key], kind)

    def _kind(self, listing: Listing, watches: list[Subscription]) -> Plan:
        subject = watches[0].subject
        if isinstance(subject, JobSearch):
            yield from self._searches(subject, watches)
        elif subject.resource.get is None:
            yield from self._listed(subject.resource, watches)
        else:
            yield from self._things(listing, group_by_target(watches))

    def _things(self, listing: Listing, things: list[PollTarget]) -> Plan:
        now = _clock.now()
        listed = [thing for thing in things if thing.is_listed(now)]
        limit = listing.limit(len(listed), now) if any(thing.is_due(now) for thing in listed) else 0
        if limit:
            yield from self._swept(listing, Sweep(listing, limit, listed, self._outbox))
        now = _clock.now()
        for thing in things:
            if thing.is_due(now) and listing.credit < 0:
                listing.credit += 1
                thing.postpone(now)
            elif thing.is_due(now):
                yield from self._get(thing)

    def _swept(self, listing: Listing, sweep: Sweep) -> Plan:
        yield from sweep.calls()
        for thing in sweep.ended:
            if listing.pay():
                yield from self._get(thing)
            else:
                thing.set_apart(_clock.now())
                thing.postpone(_clock.now())

    def _get(self, thing: PollTarget) -> Plan:
        wait, get = thing.wait, thing.resource.get or ""
        found = self._lost.get(get)
        if found is None:
            found = yield Call(get, lambda hook: read(hook, wait.resource, wait.identifiers))
        if isinstance(found, UnreachableError):
            # What hangs, hangs once: the next look is soon enough for all others.
            self._lost[get] = found
        self._outbox.tell(thing.watches, found)

    def _listed(self, resource: Resource, watches: list[Subscription]) -> Plan:
        """What has no Get: one way through the listing for all."""
        due = [watch for watch in watches if watch.due <= _clock.now()]
        missing = {_name(watch) for watch in due}
        found: dict[Any, list[Mapping[str, Any]]] = {}
        complete = False
        for call in pages(resource.service, resource.list, listing_arguments(resource, wait_of(due[0]).identifiers)):
            page = yield call
            if isinstance(page, Exception):
                self._outbox.tell(due, page)
                return
            for entry in entries(page):
                found.setdefault(named_by(resource, entry), []).append(entry)
            complete = not page.get("nextToken")
            # What has a name alone may have a newer namesake on the last page.
            if complete or (naming(resource) != "name" and missing <= found.keys()):
                break
        for watch in watches:
            newest = _newest(watch, found.get(_name(watch), ()))
            if complete or newest is not None:
                self._outbox.tell([watch], newest)

    def _searches(self, hunt: JobSearch, watches: list[Subscription]) -> Plan:
        found: list[Mapping[str, Any]] = []
        for call in pages(CLEAN_ROOMS_ML, job_search.LISTING, hunt.search.listing_arguments):
            page = yield call
            if isinstance(page, Exception):
                self._outbox.tell(watches, page)
                return
            found += entries(page)
            if not page.get("nextToken"):
                break
        self._outbox.tell(watches, found)


def _name(watch: Subscription) -> Any:
    wait = wait_of(watch)
    return wait.identifiers[naming(wait.resource)]


def _newest(watch: Subscription, namesakes: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    wait = wait_of(watch)
    return lookup.find_newest(dict(entry) for entry in namesakes if is_meant(wait, entry))
