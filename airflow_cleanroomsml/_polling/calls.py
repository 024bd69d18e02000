"""What a plan consists of: calls, the resources that they read, and the updates that follow from the answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._polling.entries import find_name, find_naming_argument
from airflow_cleanroomsml._polling.subscription import Subscription, Update
from airflow_cleanroomsml._resources.table import Outcome, Resource
from airflow_cleanroomsml._waiting.job_search import JobSearch, JobWatch, search_entries, select_jobs
from airflow_cleanroomsml._waiting.outcome import TRANSIENT_ERRORS, evaluate
from airflow_cleanroomsml._waiting.wait import PollResult, Wait

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

#: Seconds for which a resource is polled by Get after its listing turned out to be of no use for it.
GET_PERIOD = 600.0
#: Most entries that a page of a listing can have (service model, MaxResults).
_PAGE_SIZE = 100


class Call(NamedTuple):
    """
    One call to the service. The poller makes it and sends the answer, or the error, back into the plan.

    :param operation: boto3's method name.
    :param make: Makes the call.
    """

    operation: str
    make: Callable[[CleanRoomsMLHook], Any]


Plan = Generator[Call, Any, None]


def plan_pages(service: str, operation: str, arguments: Mapping[str, Any]) -> Iterator[Call]:
    """Yield a call for each page of a listing, without end: the caller stops when a page has no ``nextToken``."""
    # Filled by the first call, because only a call has the hook.
    pages: list[Iterator[dict[str, Any]]] = []

    def read_page(hook: CleanRoomsMLHook) -> dict[str, Any]:
        if not pages:
            pages.append(hook.of(service).pages(operation, {**arguments, "max_results": _PAGE_SIZE}))
        return next(pages[0])

    while True:
        yield Call(operation, read_page)


def list_entries(page: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the entries of a page."""
    return [entry for value in page.values() if isinstance(value, list) for entry in value]


class PollTarget(list[Subscription]):
    """A resource that one read answers for all its subscriptions. A list, because a plan has thousands of targets."""

    __slots__ = ()

    @property
    def key(self) -> str:
        """What identifies the resource among all others."""
        return self[0].target_key

    @property
    def wait(self) -> Wait:
        """One of the waits; all have the same identifiers."""
        return self[0].wait

    @property
    def resource(self) -> Resource:
        """Row of the resource table."""
        return self.wait.resource

    @property
    def name(self) -> Any:
        """What identifies the resource in its listing."""
        return self.wait.identifiers[find_naming_argument(self.resource)]

    @property
    def open_subscriptions(self) -> list[Subscription]:
        """The subscriptions that still wait."""
        return [subscription for subscription in self if not subscription.is_finished]

    def is_due(self, now: float) -> bool:
        """Whether a poll is due."""
        return any(subscription.due_at <= now for subscription in self.open_subscriptions)

    def is_sweepable(self, now: float) -> bool:
        """Whether a list sweep may poll it."""
        return any(each.sweep_from <= now for each in self) and all(each.get_until <= now for each in self)

    def poll_by_get(self, now: float) -> None:
        """Exclude it from list sweeps for a while."""
        for subscription in self:
            subscription.get_until = now + GET_PERIOD

    def postpone(self, now: float) -> None:
        """Skip the poll that is due."""
        for subscription in self:
            subscription.postpone(now)


def group_by_target(subscriptions: Iterable[Subscription]) -> list[PollTarget]:
    """Group subscriptions by the resource that they are for."""
    targets: dict[str, PollTarget] = {}
    for subscription in subscriptions:
        targets.setdefault(subscription.target_key, PollTarget()).append(subscription)
    return list(targets.values())


def group_by_name(targets: Iterable[PollTarget]) -> dict[Any, list[PollTarget]]:
    """Group targets by what identifies them in their listing; the versions of a trained model share an ARN."""
    groups: dict[Any, list[PollTarget]] = {}
    for target in targets:
        groups.setdefault(target.name, []).append(target)
    return groups


def pop_listed(
    groups: dict[Any, list[PollTarget]], page: Mapping[str, Any], resource: Resource
) -> list[tuple[PollTarget, Mapping[str, Any]]]:
    """Remove the targets that a page shows from their groups, and return each with its entry."""
    return [(target, entry) for entry in list_entries(page) for target in groups.pop(find_name(resource, entry), ())]


class Outbox:
    """Collects updates until the poller sends them."""

    def __init__(self) -> None:
        self._updates: list[tuple[Subscription, Update]] = []

    def take_all(self) -> list[tuple[Subscription, Update]]:
        """Return the updates, and forget them."""
        updates, self._updates = self._updates, []
        return updates

    def put(self, subscription: Subscription, update: Update | None) -> None:
        """Add an update, if there is one."""
        if update is not None:
            self._updates.append((subscription, update))

    def record_answer(self, subscriptions: Iterable[Subscription], answer: Any) -> None:
        """
        Evaluate an answer for each subscription by itself: an error that ends one wait does not end the others.

        :param answer: A resource, the entries of a listing, None if the listing does not show the resource, or an error.
        """
        for subscription in subscriptions:
            if subscription.is_finished:
                continue
            try:
                self.record_result(subscription, _evaluate(subscription.subject, answer))
            except Exception as error:  # it ends this wait alone
                self.put(subscription, subscription.fail(error))

    def record_result(self, subscription: Subscription, result: PollResult, jitter: float | None = None) -> None:
        """Record the result of a poll; the jitter is that of :meth:`Subscription.postpone`."""
        self.put(subscription, subscription.record(result, _clock.now(), jitter))


def _evaluate(subject: Wait | JobSearch | JobWatch, answer: Any) -> PollResult:
    if isinstance(subject, Wait):
        return evaluate(subject, answer)
    if isinstance(answer, TRANSIENT_ERRORS):
        return PollResult.from_error(answer)
    if isinstance(answer, Exception):
        raise answer
    if isinstance(subject, JobWatch):
        return PollResult("", Outcome.PENDING, outputs={"jobs": select_jobs(subject.search, answer)})
    found = search_entries(subject.search, answer)
    return PollResult("", Outcome.SUCCESS if found["jobs"] else Outcome.PENDING, outputs=found)
