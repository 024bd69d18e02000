"""What a plan is made of: calls, and the waits that their answers go to."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._polling.entries import named_by, naming
from airflow_cleanroomsml._polling.subscription import Subscription, Update
from airflow_cleanroomsml._resources.table import Outcome, Resource
from airflow_cleanroomsml._waiting.job_search import JobSearch, select_jobs
from airflow_cleanroomsml._waiting.outcome import TRANSIENT_ERRORS, evaluate
from airflow_cleanroomsml._waiting.wait import PollResult, Wait
from airflow_cleanroomsml.exceptions import strip_request_id

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

#: Seconds for which a thing is read by Get because its listing does not say what is asked.
APART = 600.0
#: Entries on a page at most (service model, MaxResults).
_PAGE = 100


class Call(NamedTuple):
    """
    One call. The poller makes it and sends back the answer, or the error.

    :param operation: boto3's method name.
    :param make: Makes it.
    """

    operation: str
    make: Callable[[CleanRoomsMLHook], Any]


Plan = Generator[Call, Any, None]


def pages(service: str, operation: str, arguments: Mapping[str, Any]) -> Iterator[Call]:
    """The calls for the pages of a listing; whoever asks for one more knows that there is one."""
    opened: list[Iterator[dict[str, Any]]] = []

    def turn(hook: CleanRoomsMLHook) -> dict[str, Any]:
        if not opened:
            opened.append(hook.of(service).pages(operation, {**arguments, "max_results": _PAGE}))
        return next(opened[0])

    while True:
        yield Call(operation, turn)


def entries(page: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of a page."""
    return [entry for value in page.values() if isinstance(value, list) for entry in value]


def wait_of(watch: Subscription) -> Wait:
    """What is waited for, where it is one resource."""
    if not isinstance(watch.subject, Wait):
        raise TypeError(f"{watch.subject} is no resource")
    return watch.subject


@dataclass(slots=True)
class PollTarget:
    """A resource, which is read once for all who wait for it."""

    watches: list[Subscription] = field(default_factory=list)

    @property
    def wait(self) -> Wait:
        """One of the waits; the identifiers of all are the same."""
        return wait_of(self.watches[0])

    @property
    def resource(self) -> Resource:
        """Its row."""
        return self.wait.resource

    @property
    def name(self) -> Any:
        """What its listing names it by."""
        return self.wait.identifiers[naming(self.resource)]

    def is_due(self, now: float) -> bool:
        """Whether somebody asks for a look now."""
        return any(watch.due <= now and not watch.over for watch in self.watches)

    def is_listed(self, now: float) -> bool:
        """Whether its entry in a listing would serve, now or soon."""
        return any(watch.early <= now for watch in self.watches) and all(w.apart_until <= now for w in self.watches)

    def set_apart(self, now: float) -> None:
        """Read it by Get for a while."""
        for watch in self.watches:
            watch.apart_until = now + APART

    def postpone(self, now: float) -> None:
        """Leave this look out."""
        for watch in self.watches:
            watch.postpone(now)


def group_by_target(watches: Iterable[Subscription]) -> list[PollTarget]:
    """The resources that are waited for."""
    found: dict[str, PollTarget] = {}
    for watch in watches:
        found.setdefault(watch.key, PollTarget()).watches.append(watch)
    return list(found.values())


class Outbox:
    """What the waits are to be told."""

    def __init__(self) -> None:
        self.news: list[tuple[Subscription, Update]] = []

    def tell(self, watches: Iterable[Subscription], found: Any) -> None:
        """
        Tell what was read: each wait takes it in its own way, and an error of one is none of another.

        :param found: A resource, the entries of a listing, None where there is none, or an error.
        """
        for watch in watches:
            if watch.over:
                continue
            try:
                self.note(watch, _meaning(watch.subject, found))
            except Exception as error:  # of this wait alone
                self.news.append((watch, watch.fail(error)))

    def note(self, watch: Subscription, poll_result: PollResult, jitter: float | None = None) -> None:
        """Tell what was seen, if it is news; the jitter is that of the next look."""
        news = watch.see(poll_result, _clock.now(), jitter)
        if news is not None:
            self.news.append((watch, news))


def _meaning(subject: Wait | JobSearch, found: Any) -> PollResult:
    if isinstance(subject, Wait):
        return evaluate(subject, found)
    if isinstance(found, TRANSIENT_ERRORS):
        return PollResult("", Outcome.PENDING, message=strip_request_id(found))
    if isinstance(found, Exception):
        raise found
    jobs = select_jobs(subject.search, found)
    return PollResult("", Outcome.SUCCESS if jobs else Outcome.PENDING, outputs={"jobs": jobs})


def by_name(things: Iterable[PollTarget]) -> dict[Any, list[PollTarget]]:
    """The resources by what their listing names them by; several versions have one ARN."""
    found: dict[Any, list[PollTarget]] = {}
    for thing in things:
        found.setdefault(thing.name, []).append(thing)
    return found


def taken(
    unseen: dict[Any, list[PollTarget]], page: Mapping[str, Any], resource: Resource
) -> list[tuple[PollTarget, Any]]:
    """Those of the resources that a page shows, each with its entry; they are unseen no more."""
    return [(thing, entry) for entry in entries(page) for thing in unseen.pop(named_by(resource, entry), ())]
