"""Sweeps: many waits for resources of one kind, answered from their listing where that takes fewer calls than a Get each."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._polling.calls import (
    GET_PERIOD,
    Outbox,
    Plan,
    PollTarget,
    group_by_name,
    plan_pages,
    pop_listed,
)
from airflow_cleanroomsml._polling.entries import is_version
from airflow_cleanroomsml._polling.subscription import Subscription
from airflow_cleanroomsml._resources.lookup import build_listing_arguments
from airflow_cleanroomsml._resources.table import Outcome
from airflow_cleanroomsml._waiting.outcome import TRANSIENT_ERRORS, evaluate
from airflow_cleanroomsml._waiting.wait import JITTER, PollResult


@dataclass
class SweepBudget:
    """
    How many pages of a listing sweeps may read, judging by what earlier ones found.

    A listing holds all history, filters by no status and has no documented order (API reference).

    :param pages: Pages that had to be read to find the targets, as far as is known.
    :param is_proven: Whether that many pages were enough the last time.
    :param credit: Polls that the listing answered, less the calls that this took. No poll may cost more than one call on average: a sweep
        that found nothing, and a Get after a sweep, are paid from the credit, or else polls are skipped.
    :param barred_until: When a listing that the service refused may be tried again, in seconds since 1970.
    """

    pages: int = 1
    is_proven: bool = False
    credit: int = 0
    barred_until: float = 0.0

    def compute_page_limit(self, targets: int, now: float) -> int:
        """Return how many pages a sweep for that many targets may read; 0 if a Get each is cheaper."""
        if now < self.barred_until or self.pages >= targets:
            return 0
        # Until a sweep has found something, half as many pages as targets bound the cost of one that finds nothing.
        return targets - 1 if self.is_proven else targets // 2

    def record_sweep(self, pages: int, useful_pages: int, found: int) -> None:
        """
        Learn from a sweep.

        :param pages: Pages that were read.
        :param useful_pages: Pages up to the last one that showed a target.
        :param found: Targets that they showed.
        """
        self.is_proven = found > 0
        # A sweep that found nothing is repeated only for more than twice as many targets.
        self.pages = useful_pages if found else 2 * pages + 1
        self.credit += found - pages

    def pay_for_call(self) -> bool:
        """Take a call from the credit, if there is any."""
        if self.credit <= 0:
            return False
        self.credit -= 1
        return True


class Sweep:
    """
    One pass through a listing.

    ``incomplete`` has the targets whose entry does not say enough: they have ended, or the entry shows another version of them.

    :param budget: How much of the listing may be read.
    :param page_limit: How many pages to read at most.
    :param targets: The resources to look for.
    :param outbox: Takes the updates.
    """

    def __init__(self, budget: SweepBudget, page_limit: int, targets: Iterable[PollTarget], outbox: Outbox) -> None:
        self.incomplete: list[PollTarget] = []
        self._budget = budget
        self._page_limit = page_limit
        self._outbox = outbox
        self._missing = group_by_name(targets)
        self._wanted = len(self._missing)
        self._pages = self._useful_pages = 0
        self._ends: dict[str, list[tuple[Subscription, PollResult]]] = {}
        self._shared_results: dict[tuple[Any, ...], PollResult] = {}
        # All get the same jitter: waits that were polled together stay together.
        self._jitter = random.uniform(*JITTER)

    def calls(self) -> Plan:
        """Read pages for as long as that may find something."""
        first = next(iter(self._missing.values()))[0]
        resource, arguments = first.resource, build_listing_arguments(first.resource, first.wait.identifiers)
        error: Exception | None = None
        for call in plan_pages(resource.service, resource.list, arguments):
            page = yield call
            self._pages += 1
            if isinstance(page, Exception):
                error = page
                break
            listed = pop_listed(self._missing, page, resource)
            if listed:
                self._useful_pages = self._pages
            self.incomplete += [target for target, entry in listed if not self._record_entry(target, entry)]
            if self._is_done or not page.get("nextToken"):
                break
        self._budget.record_sweep(self._pages, self._useful_pages, self._wanted - len(self._missing))
        self._release_missing(error)

    def report_end(self, target: PollTarget) -> None:
        """Report the end of an incomplete target by its entry alone; the task reads the rest."""
        for subscription, result in self._ends.pop(target.key, ()):
            self._outbox.record_result(subscription, result)

    @property
    def _is_done(self) -> bool:
        """Whether nothing is missing, or so many pages in a row showed nothing that Gets for the rest are cheaper."""
        useless_pages = self._pages - self._useful_pages
        gets = len(self._missing) if self._useful_pages else self._page_limit
        return not self._missing or self._pages >= self._page_limit or useless_pages >= gets

    def _record_entry(self, target: PollTarget, entry: Mapping[str, Any]) -> bool:
        """
        Record what an entry says of a target.

        :return: Whether it says enough: the resource has not ended.
        """
        if "status" not in entry or not is_version(target.wait, entry):
            target.poll_by_get(_clock.now())
            return False
        results = [(each, self._evaluate(each, entry)) for each in target.open_subscriptions]
        if any(result.is_partial for _, result in results):
            self._ends[target.key] = results
            return False
        for each, result in results:
            last = each.last_result
            # A Get may have said more about the same status.
            same = last if last and last.status == result.status else result
            self._outbox.record_result(each, same, self._jitter)
        return True

    def _evaluate(self, subscription: Subscription, entry: Mapping[str, Any]) -> PollResult:
        result = evaluate(subscription.wait, entry)
        # An entry has neither message nor outputs, so an end is read by Get: a task must get the same result on every path.
        if result.outcome != Outcome.PENDING:
            result = result._replace(is_partial=True)
        if result.reason or result.outputs:
            return result
        # Thousands of waits keep the same result.
        return self._shared_results.setdefault((result.status, result.outcome, result.is_partial), result)

    def _release_missing(self, error: Exception | None) -> None:
        """Leave what was not found to Gets; a transient error is an answer to the polls that were due."""
        now = _clock.now()
        missing = [target for group in self._missing.values() for target in group]
        if isinstance(error, TRANSIENT_ERRORS):
            for target in missing:
                self._outbox.record_answer([each for each in target if each.due_at <= now], error)
        elif error is not None:
            # Missing permission to list does not end a wait: Get may be allowed.
            self._budget.barred_until = now + GET_PERIOD
        elif self._useful_pages:
            for target in missing:
                target.poll_by_get(now)
