"""Which calls answer the polls that are due."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._polling.calls import (
    Call,
    Outbox,
    Plan,
    PollTarget,
    group_by_target,
    list_entries,
    plan_pages,
)
from airflow_cleanroomsml._polling.entries import find_name, find_naming_argument, is_match
from airflow_cleanroomsml._polling.list_sweep import Sweep, SweepBudget
from airflow_cleanroomsml._polling.subscription import Subscription
from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.lookup import build_listing_arguments, read
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS_ML
from airflow_cleanroomsml._waiting import job_search
from airflow_cleanroomsml._waiting.wait import Wait
from airflow_cleanroomsml.exceptions import UnreachableError

#: Gets that may follow a sweep: at 50 a second, other waits of the connection are held up for half a minute. If more waits end at once, the
#: others get at once what the listing says, and their tasks read the rest.
_GETS_AFTER_SWEEP = 1500


class Planner:
    """
    Decides what a poller reads next.

    :param outbox: Takes the updates.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._budgets: dict[str, SweepBudget] = {}
        self._unreachable: dict[str, UnreachableError] = {}

    def plan(self, subscriptions: Iterable[Subscription]) -> Plan:
        """Yield the calls for all polls that are due, those first that have been due for longest."""
        self._unreachable.clear()
        kinds: dict[str, list[Subscription]] = {}
        for subscription in subscriptions:
            kinds.setdefault(subscription.listing_key, []).append(subscription)
        # Listings that nothing waits for are dropped, or they would accumulate: each generation job has its own listing of exports.
        self._budgets = {key: self._budgets.get(key) or SweepBudget() for key in kinds}
        now = _clock.now()
        for key, kind in sorted(kinds.items(), key=lambda item: min(each.due_at for each in item[1])):
            if any(each.due_at <= now for each in kind):
                yield from self._poll_kind(self._budgets[key], kind)

    def _poll_kind(self, budget: SweepBudget, subscriptions: list[Subscription]) -> Plan:
        subject = subscriptions[0].subject
        if not isinstance(subject, Wait):
            yield from self._search(subject.search, subscriptions)
        elif subject.resource.get is None:
            yield from self._read_listing(subscriptions)
        else:
            yield from self._poll_targets(budget, group_by_target(subscriptions))

    def _poll_targets(self, budget: SweepBudget, targets: list[PollTarget]) -> Plan:
        now = _clock.now()
        sweepable = [target for target in targets if target.is_sweepable(now)]
        page_limit = (
            budget.compute_page_limit(len(sweepable), now) if any(each.is_due(now) for each in sweepable) else 0
        )
        if page_limit:
            yield from self._sweep(budget, Sweep(budget, page_limit, sweepable, self._outbox))
        for target in targets:
            # What has become due since the sweep began is left to the next sweep.
            # Calls of sweeps that found nothing are paid for by polls that are skipped (docs/design/polling.md).
            if target.is_due(now) and budget.credit < 0:
                budget.credit += 1
                target.postpone(_clock.now())
            elif target.is_due(now):
                yield from self._get(target)

    def _sweep(self, budget: SweepBudget, sweep: Sweep) -> Plan:
        yield from sweep.calls()
        for target in sweep.incomplete[_GETS_AFTER_SWEEP:]:
            sweep.report_end(target)
        for target in sweep.incomplete[:_GETS_AFTER_SWEEP]:
            if budget.pay_for_call():
                yield from self._get(target)
            else:
                target.poll_by_get(_clock.now())
                target.postpone(_clock.now())

    def _get(self, target: PollTarget) -> Plan:
        wait, operation = target.wait, target.resource.get or ""
        answer: Any = self._unreachable.get(operation)
        if answer is None:
            answer = yield Call(operation, lambda hook: read(hook, wait.resource, wait.identifiers))
        if isinstance(answer, UnreachableError):
            # One call that hangs holds up all others for 20 s, so the operation is not called again in this plan.
            self._unreachable[operation] = answer
        self._outbox.record_answer(target, answer)

    def _read_listing(self, subscriptions: list[Subscription]) -> Plan:
        """Poll resources that have no Get operation: one pass through their listing answers all."""
        due = [each for each in subscriptions if each.due_at <= _clock.now()]
        resource = due[0].wait.resource
        missing = {_name(each.wait) for each in due}
        entries: dict[Any, list[Mapping[str, Any]]] = {}
        is_complete = False
        for call in plan_pages(
            resource.service, resource.list, build_listing_arguments(resource, due[0].wait.identifiers)
        ):
            page = yield call
            if isinstance(page, Exception):
                self._outbox.record_answer(due, page)
                return
            for entry in list_entries(page):
                entries.setdefault(find_name(resource, entry), []).append(entry)
            is_complete = not page.get("nextToken")
            # A resource that only has a name may have a newer namesake on the last page.
            if is_complete or (find_naming_argument(resource) != "name" and missing <= entries.keys()):
                break
        for each in subscriptions:
            newest = _find_newest(each.wait, entries.get(_name(each.wait), ()))
            if is_complete or newest is not None:
                self._outbox.record_answer([each], newest)

    def _search(self, search: job_search.JobFilter, subscriptions: list[Subscription]) -> Plan:
        entries: list[Mapping[str, Any]] = []
        for call in plan_pages(CLEAN_ROOMS_ML, job_search.LISTING, search.listing_arguments):
            page = yield call
            if isinstance(page, Exception):
                self._outbox.record_answer(subscriptions, page)
                return
            entries += list_entries(page)
            if not page.get("nextToken"):
                break
        self._outbox.record_answer(subscriptions, entries)


def _name(wait: Wait) -> Any:
    return wait.identifiers[find_naming_argument(wait.resource)]


def _find_newest(wait: Wait, namesakes: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return lookup.find_newest(dict(entry) for entry in namesakes if is_match(wait, entry))
