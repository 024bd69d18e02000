"""The triggers; :mod:`airflow_cleanroomsml._polling` polls for all of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_cleanroomsml import _clock, _compat
from airflow_cleanroomsml._connection.aws_connection import AwsConnection
from airflow_cleanroomsml._polling import join_start_queue, run_with_client, subscribe
from airflow_cleanroomsml._waiting.bookmark_store import BookmarkStore
from airflow_cleanroomsml._waiting.cancellation import cancel_from_trigger
from airflow_cleanroomsml._waiting.history import StatusHistory
from airflow_cleanroomsml._waiting.job_bookmark import JobBookmark
from airflow_cleanroomsml._waiting.job_search import JobFilter, JobSearch, JobWatch, parse_time
from airflow_cleanroomsml._waiting.loop import REPORT_INTERVAL
from airflow_cleanroomsml._waiting.outcome import summarize
from airflow_cleanroomsml._waiting.wait import PollResult, Statuses, Wait, format_statuses
from airflow_cleanroomsml.exceptions import InvalidRequestError, join_lines

if TYPE_CHECKING:
    from airflow.triggers.base import BaseEventTrigger
    from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer
else:
    BaseEventTrigger = _compat.find_class("airflow.triggers.base", "BaseEventTrigger", BaseTrigger)
    SharedStreamProducer = _compat.find_class("airflow.triggers.shared_stream", "SharedStreamProducer", object)

#: Longest pause, in seconds, of a watcher whose listing cannot be read.
_LONGEST_PAUSE = 600.0
#: Pause between two polls of a watcher, in seconds, that is too long: a week.
_LONGEST_DELAY = 604_800
#: What the filters of a watcher have to be: patterns of the service model, which a Dag file does not load, and in words.
_FILTERS = {
    "configured_audience_model_arn": (
        r"arn:aws[-a-z]*:cleanrooms-ml:[-a-z0-9]+:[0-9]{12}:configured-audience-model/[-a-zA-Z0-9_/.]+",
        "the ARN of a configured audience model",
    ),
    "collaboration_id": (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a UUID"),
    "started_by": (r"[0-9]{12}", "an AWS account ID (a string of 12 digits)"),
}
#: Whether Airflow calls ``on_kill`` of triggers (3.3 and later).
_HAS_ON_KILL = hasattr(BaseTrigger, "on_kill")


class _AwsTrigger(AwsConnection, BaseTrigger):
    """
    A trigger that waits for something at AWS.

    There may be thousands, so they share the logger of their class: one for each would take a kilobyte.

    :param aws_conn_id: Airflow connection of type ``aws``.
    :param region_name: AWS region.
    :param verify: Whether or with which certificates to verify TLS.
    :param botocore_config: Arguments of ``botocore.config.Config``.
    """

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config

    @abstractmethod
    def _build_keywords(self) -> dict[str, Any]:
        """Return the keyword arguments of the trigger, without those of the connection."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the keyword arguments; later releases must be able to read both."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {**self._build_keywords(), **self.connection}


class _WaitingTrigger(_AwsTrigger):
    """A trigger that a task waits for; it has one event."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: the result, or an error."""
        try:
            result = await self._wait()
        except asyncio.CancelledError as error:
            await self._handle_cancellation(error.args)
            raise
        except Exception as error:  # only an event reaches the task
            self.log.exception("The trigger failed; passing the error to the task.")
            yield TriggerEvent({**self._build_keywords(), "error": f"{type(error).__name__}: {error}"})
        else:
            yield TriggerEvent({**self._build_keywords(), **result})

    async def _handle_cancellation(self, message: object) -> None:
        """
        Handle a cancellation, which is raised again afterwards.

        :param message: The message of the cancellation, if it has one.
        """

    @abstractmethod
    async def _wait(self) -> dict[str, Any]:
        """Wait, and return what the event has besides the trigger's own keyword arguments."""


class CleanRoomsMLWaitTrigger(_WaitingTrigger):
    """
    Wait until a resource is created, deleted or cancelled, or the deadline is over.

    Its event has the ``wait``, with the statuses seen, and the last ``poll_result``, or the ``error`` that ended the wait.

    :param wait: A :class:`~airflow_cleanroomsml._waiting.wait.Wait` as plain values.
    """

    def __init__(self, *, wait: dict[str, Any], **connection: Any) -> None:
        super().__init__(**connection)
        # As text, because the garbage collector visits each dictionary with a dictionary in it, and there are thousands of triggers.
        self._wait_text = json.dumps(wait)
        self._killed = False

    @property
    def wait(self) -> dict[str, Any]:
        """The wait as plain values."""
        values: dict[str, Any] = json.loads(self._wait_text)
        return values

    def _build_keywords(self) -> dict[str, Any]:
        return {"wait": self.wait}

    async def _handle_cancellation(self, message: object) -> None:
        """
        Call ``on_kill`` if this may be a kill.

        Before Airflow 3.3 a kill only cancels the trigger, as a triggerer that stops does. Since then the cancellation of a kill has a
        message, and if the event loop is blocked, another cancellation comes before ``on_kill`` is called.
        """
        if message or not _HAS_ON_KILL:
            await self.on_kill()

    async def on_kill(self) -> None:
        """Cancel or delete the resource if the task instance has ended for good: Airflow 3.3 also calls this for a clear."""
        # Both run() and Airflow may call this for one kill.
        if not self._killed:
            self._killed = True
            await cancel_from_trigger(self.task_instance, partial(run_with_client, self), Wait.from_json(self.wait))

    async def _wait(self) -> dict[str, Any]:
        wait = Wait.from_json(self.wait)
        statuses = wait.history
        # The text keeps what only the task needs, so thousands of waits need not hold it twice.
        wait = wait._replace(connection=None, sources=None, history=())
        is_final = False
        with subscribe(self, wait) as subscription:
            while not is_final:
                poll_result, is_final = await subscription.next_update()
                statuses = self._report(wait, statuses, poll_result)
        return {"wait": {**self.wait, "history": format_statuses(statuses)}, "poll_result": poll_result.to_json()}

    def _report(self, wait: Wait, statuses: Statuses, poll_result: PollResult) -> Statuses:
        """Log an update; return the statuses seen so far."""
        now, history = _clock.now(), StatusHistory(statuses)
        is_new = history.record(poll_result, now)
        # The first line may repeat what the worker has logged: it shows that the triggerer polls.
        self.logger().info("%s", summarize(wait, poll_result, now, is_repeated=not is_new))
        return history.statuses


class CleanRoomsMLNewJobsTrigger(_WaitingTrigger):
    """
    Wait until there are new audience generation jobs, or the deadline is over.

    Its event has the ``search`` and the ``jobs``, none if the deadline is over, with the ``message`` of the last poll if it failed, or the
    ``error`` that ended the wait.

    :param search: A :class:`~airflow_cleanroomsml._waiting.job_search.JobFilter` as plain values.
    :param deadline: When it ends, in seconds since 1970.
    :param delay: Pause between two polls, in seconds.
    """

    def __init__(self, *, search: dict[str, Any], deadline: float, delay: float, **connection: Any) -> None:
        super().__init__(**connection)
        self.search = search
        self.deadline = deadline
        self.delay = delay

    def _build_keywords(self) -> dict[str, Any]:
        return {"search": self.search, "deadline": self.deadline, "delay": self.delay}

    async def _wait(self) -> dict[str, Any]:
        is_final = False
        with subscribe(self, JobSearch(JobFilter(**self.search), self.deadline, self.delay)) as subscription:
            while not is_final:
                poll_result, is_final = await subscription.next_update()
                if poll_result.message:
                    self.logger().info(
                        "Could not list the audience generation jobs; polling again: %s", poll_result.message
                    )
        outputs = poll_result.outputs
        failure = {"message": poll_result.message, "advice": poll_result.advice}
        more = {"bookmark": outputs["bookmark"]} if "bookmark" in outputs else failure
        return {"jobs": outputs.get("jobs", []), **more}


class CleanRoomsMLTurnTrigger(_WaitingTrigger):
    """
    Wait in the start queue until a task may start its job: one a second, and no more than the quota has room for.

    Its event has ``turn``: False if the deadline was over first. It makes no calls.

    :param noun: What the task starts, a key of :data:`~airflow_cleanroomsml._resources.table.RESOURCES`.
    :param deadline: When the wait ends, in seconds since 1970.
    :param refused: Why the service refused the start, if the task has tried: ``why`` is ``quota`` or ``throttled``, with ``quota_name``
        and ``quota_value``.
    """

    def __init__(self, *, noun: str, deadline: float, refused: dict[str, Any] | None = None, **connection: Any) -> None:
        super().__init__(**connection)
        self.noun = noun
        self.deadline = deadline
        self.refused = refused

    def _build_keywords(self) -> dict[str, Any]:
        return {"noun": self.noun, "deadline": self.deadline, "refused": self.refused}

    async def _wait(self) -> dict[str, Any]:
        reported_at = 0.0
        with join_start_queue(self, self.noun, self.refused) as place:
            while pause := place.pause():
                now = _clock.now()
                if now >= self.deadline:
                    return {"turn": False}
                if now >= reported_at + REPORT_INTERVAL:
                    reported_at = now
                    self.logger().info(
                        "Waiting to start the %s, as the service limits starts per second and jobs in progress. Nothing was started yet.",
                        self.noun,
                    )
                await _clock.sleep_async(min(pause, self.deadline - now))
        return {"turn": True}


class _JobListing:
    """
    The jobs that a listing shows, on their way to the watchers.

    ``commits`` are called once Airflow has stored the events that the watchers have sent because of it.

    :param jobs: As :func:`~airflow_cleanroomsml._waiting.job_search.select_jobs` returns them.
    """

    def __init__(self, jobs: list[dict[str, Any]]) -> None:
        self.jobs = jobs
        self.commits: list[Callable[[], Awaitable[None]]] = []

    async def commit(self) -> None:
        for each in self.commits:
            await each()


class _JobStream(SharedStreamProducer):
    """Reads a listing once for all its watchers in a triggerer. Needs Airflow 3.3, which reports when their events are stored."""

    def __init__(self, trigger: CleanRoomsMLAudienceGenerationJobFinishedTrigger) -> None:
        self._trigger = trigger

    async def open_stream(self) -> AsyncIterator[tuple[_JobListing, _JobListing]]:
        async for listing in self._trigger.read_listings():
            yield listing, listing

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        for item in batch:
            # A watcher whose event was not stored restarts at its earlier bookmark; the others commit theirs with the next listing.
            if item.outcome.is_clean:
                await item.broker_payload.commit()


class CleanRoomsMLAudienceGenerationJobFinishedTrigger(_AwsTrigger, BaseEventTrigger):
    """
    Watch for audience generation jobs that partners have started with your configured audience model: one event for each finished job.

    It is the trigger of an ``AssetWatcher``, so it needs Airflow 3.0. The payload of an event has ``audience_generation_job_arn`` (that in
    your own account), ``name``, ``status`` (``ACTIVE`` or ``CREATE_FAILED``), ``started_by``, ``configured_audience_model_arn``,
    ``collaboration_id`` and ``create_time``.

    From Airflow 3.3 on, each job has one event: which jobs have been reported is kept in the state of the asset, and is written once the
    events are stored. If the triggerer is killed in the second between the two, the event is repeated; none is lost. Before 3.3 Airflow has
    no place for this, so each start of the triggerer is a first start.

    At the first start, jobs that are already finished have no event, unless ``since`` says so.

    :param configured_audience_model_arn: ARN of the configured audience model; None for any.
    :param collaboration_id: Collaboration, a UUID; None for any.
    :param started_by: Account of the partner, 12 digits; None for any account but your own.
    :param since: At the first start, also report finished jobs that were created after this time. Before Airflow 3.3 they are reported at
        each start of the triggerer.
    :param waiter_delay: Pause between two polls, in seconds.
    :raises InvalidRequestError: An argument is not valid, for instance a template: Airflow renders none in a trigger.
    """

    def __init__(
        self,
        *,
        configured_audience_model_arn: str | None = None,
        collaboration_id: str | None = None,
        started_by: str | None = None,
        since: datetime | str | float | None = None,
        waiter_delay: float = 60,
        **connection: Any,
    ) -> None:
        super().__init__(**connection)
        self.configured_audience_model_arn = configured_audience_model_arn
        self.collaboration_id = collaboration_id
        self.started_by = started_by
        self.since = None if since is None else parse_time("since", since)
        self.waiter_delay = waiter_delay
        self._check_arguments()

    def _build_keywords(self) -> dict[str, Any]:
        return {**self._filters, "since": self.since, "waiter_delay": self.waiter_delay}

    def _check_arguments(self) -> None:
        """Refuse arguments that would lead to no events, or to polls without a pause: only the triggerer's log would show it."""
        violations = [
            f"{name}: {value!r} is not valid; must be {form}, not a template"
            for name, value in self._filters.items()
            for pattern, form in [_FILTERS[name]]
            if value is not None and not (isinstance(value, str) and re.fullmatch(pattern, value))
        ]
        delay = self.waiter_delay
        if isinstance(delay, bool) or not isinstance(delay, (int, float)) or not 0 < delay < _LONGEST_DELAY:
            violations.append(
                f"waiter_delay: {delay!r} is not valid; must be a number of seconds above 0 and below {_LONGEST_DELAY:,}, not a template"
            )
        if violations:
            raise InvalidRequestError(
                join_lines("The arguments of the watcher are not valid:", *violations), violations
            )

    @property
    def _filters(self) -> dict[str, Any]:
        names = ("configured_audience_model_arn", "collaboration_id", "started_by")
        return {name: getattr(self, name) for name in names}

    def shared_stream_key(self) -> Hashable | None:
        """Return a key that the watchers of a listing have in common; None before Airflow 3.3, and without an asset."""
        if SharedStreamProducer is object or not _compat.list_asset_stores(self):
            return None
        return type(self).__qualname__, json.dumps(self._filters), self.waiter_delay, self.connection_key

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return the producer, which reads the listing."""
        return _JobStream(cls(**kwargs))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each finished job, where Airflow shares no streams."""
        async for event in self.filter_shared_stream(self._read_and_commit()):
            yield event

    async def _read_and_commit(self) -> AsyncIterator[_JobListing]:
        async for listing in self.read_listings():
            yield listing
            await listing.commit()

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each job in the listings that is finished and has not been reported."""
        store = BookmarkStore(self._store_key, _compat.list_asset_stores(self), self.waiter_delay)
        bookmark = await store.read()
        if bookmark is None and self.since is not None:
            bookmark = JobBookmark(self.since)
        async for listing in shared_stream:
            if bookmark is None:
                _, bookmark = JobBookmark().advance(listing.jobs, finished=True)
            else:
                jobs, bookmark = bookmark.advance(listing.jobs, finished=True)
                for job in jobs:
                    yield TriggerEvent(job)
            if bookmark != store.bookmark:
                listing.commits.append(partial(store.write, bookmark))

    async def read_listings(self) -> AsyncIterator[_JobListing]:
        """Yield the listing whenever it changes, forever: after an error the triggerer would restart the trigger at once."""
        pause = self.waiter_delay
        watch = JobWatch(JobFilter(0.0, **self._filters), self.waiter_delay)
        while True:
            try:
                with subscribe(self, watch) as subscription:
                    while True:
                        result, _ = await subscription.next_update()
                        if "jobs" in result.outputs:
                            pause = self.waiter_delay
                            yield _JobListing(result.outputs["jobs"])
                        elif result.message:
                            self.log.info(
                                "Could not list the audience generation jobs; polling again: %s", result.message
                            )
            except Exception:
                self.log.exception("Could not list the audience generation jobs; trying again in %.0f s.", pause)
            await _clock.sleep_async(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    @property
    def _store_key(self) -> str:
        # Watchers of one asset may follow different listings.
        listing = json.dumps([self._filters, self.aws_conn_id, self.region_name])
        return f"cleanroomsml_jobs_{hashlib.sha256(listing.encode()).hexdigest()[:16]}"


__all__ = [
    "CleanRoomsMLAudienceGenerationJobFinishedTrigger",
    "CleanRoomsMLNewJobsTrigger",
    "CleanRoomsMLTurnTrigger",
    "CleanRoomsMLWaitTrigger",
]
