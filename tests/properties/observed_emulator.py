"""
An emulator in this process that records which request created each resource.

So the invariants do not depend on the tags that the package writes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import botocore.endpoint
import pytest
import structlog
from airflow.sdk.bases.operator import ExecutorSafeguard

from airflow_cleanroomsml import _clock as package_clock
from airflow_cleanroomsml.emulator.application import build_application
from airflow_cleanroomsml.emulator.faults import Fault
from airflow_cleanroomsml.emulator.settings import Settings
from airflow_cleanroomsml.emulator.store import Record
from airflow_cleanroomsml.exceptions import AlreadyExistsError, QuotaExceededError, ValidationError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from tests.helpers.custom_models import Studio
from tests.helpers.in_process import URL, InProcess, in_process
from tests.properties.kill_points import Kill
from tests.support import World

#: An account that no other test uses, because all emulators of a process share what moto stores.
ACCOUNT = "135797531357"
#: Statuses of a resource that is in progress or usable.
LIVE = ("CREATE_PENDING", "CREATE_IN_PROGRESS", "ACTIVE")
#: Age in seconds of the resources that exist before an example.
_AGE = 3600.0


class _Result(str):
    """The result of a job that computed nothing: a location with metrics."""

    __slots__ = ()
    metrics: ClassVar[dict[str, Any]] = {"relevanceMetrics": [], "recallMetric": 0.5}


class Idle(Executor):
    """Computes nothing, so that only the clock decides when a job ends."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(_Result("s3://bucket/output"))
        return done


@dataclass(frozen=True)
class Creator:
    """
    The sender of the request that created a resource.

    :param key: The task in its run; empty for another owner.
    :param variant: Number of the variant of arguments that the try had.
    :param sequence: Number of the first try and its retries, from 0. It does not count in comparisons: the same task with the same
        variant is the same creator in every sequence.
    """

    key: str
    variant: int
    sequence: int = field(default=0, compare=False)


class Laboratory:
    """
    The emulator, its clock, and the resources that exist before each example.

    :param emulator: An emulator in this process, whose clock does not run by itself.
    """

    def __init__(self, emulator: InProcess) -> None:
        self.emulator, self.clock = emulator, emulator.clock
        self.kill: Kill | None = None
        self.creator: Creator | None = None
        self.creators: dict[int, Creator] = {}
        self.calls: list[str] = []
        #: When the Dag runs of the example started.
        self.started_at = self.clock.now()
        emulator._application = build_application(emulator.shared, lambda: URL, Idle())
        self._settings = Settings(pending_seconds=0, progress_seconds=0)
        emulator.shared.settings = self._settings
        # The bucket has the same name in every laboratory of the process, because what moto stores outlives a laboratory.
        self.world = World(emulator, ACCOUNT, ACCOUNT)
        self.hook = CleanRoomsMLHook("aws_default")
        self.studio = Studio(self.world)
        self._create_prerequisites()
        self._prerequisites = emulator.shared.store.records
        self._observe_events()

    def _create_prerequisites(self) -> None:
        world = self.world
        self.dataset, self.model, self.configured = (
            world.create_dataset(),
            world.train_model(),
            world.create_configured_model(),
        )
        self.seed = {"dataSource": {"s3Uri": f"s3://{world.bucket}/seed"}, "roleArn": world.role}
        response = world.ml.start_audience_generation_job(
            name="generated", configuredAudienceModelArn=self.configured, seedAudience=self.seed
        )
        self.generated = str(response["audienceGenerationJobArn"])
        _ = self.studio.model

    def _observe_events(self) -> None:
        """Replace the functions that call, pause and store, so that kills happen there and creators are recorded."""
        store, delayed_commits, send, sleep = (
            self.emulator.shared.store,
            self.emulator.shared.delayed_commits,
            self.emulator.send,
            self.clock.sleep,
        )
        add_record, add_delayed = store.add, delayed_commits.add

        def send_observed(session: Any, request: Any) -> Any:
            self.visit("before a call")
            self.calls.append(request.url)
            response = send(session, request)
            self.visit("after a call")
            return response

        def sleep_observed(seconds: float) -> None:
            self.visit("in a pause")
            sleep(seconds)

        def add_observed(record: Record) -> Record:
            add_record(record)
            if self.creator:
                self.creators[record.sequence] = self.creator
            return record

        def delay_observed(due: float, commit: Callable[[], Any]) -> None:
            creator = self.creator
            add_delayed(due, lambda: self._run_as(creator, commit))

        for place, name, replacement in (
            (self.emulator, "send", send_observed),
            (store, "add", add_observed),
            (delayed_commits, "add", delay_observed),
            (package_clock, "sleep", sleep_observed),
            (vars(botocore.endpoint)["time"], "sleep", sleep_observed),
        ):
            setattr(place, name, replacement)

    def _run_as(self, creator: Creator | None, act: Callable[[], Any]) -> Any:
        previous, self.creator = self.creator, creator
        try:
            return act()
        finally:
            self.creator = previous

    def visit(self, point: str) -> None:
        """Register that the worker has reached a point at which it may be killed."""
        if self.kill is not None:
            self.kill.visit(point)

    def begin(self, **settings: Any) -> None:
        """Start a new example, with these settings of the emulator."""
        self.emulator.clear()
        self.clock.advance(_AGE)
        self.emulator.shared.settings = replace(self._settings, **settings)
        self.emulator.shared.store.restore(map(_copy, self._prerequisites))
        self.kill, self.creator = None, None
        self.creators, self.calls = {}, []
        self.started_at = self.clock.now()

    def set_faults(self, *faults: Fault) -> None:
        """Replace the active faults of the emulator by these."""
        self.emulator.shared.faults.clear()
        for fault in faults:
            self.emulator.shared.faults.add(fault, self.clock.now())

    def create(self, creator: Creator, kind: str, operation: str, arguments: dict[str, Any]) -> list[Record]:
        """
        Create a resource by a call, if the service accepts it; return the new resources of its kind.

        :param creator: Who sends the request.
        :param kind: The emulator's name for the kind of resource.
        :param operation: boto3's method name.
        """
        before = set(self.creators)
        with suppress(AlreadyExistsError, QuotaExceededError, ValidationError):
            self._run_as(creator, lambda: self.hook.call(operation, arguments))
        return [record for record in self.list_created(kind) if record.sequence not in before]

    def run_due(self) -> None:
        """Execute the delayed commits that are due."""
        self.emulator.shared.delayed_commits.run_due(self.clock)

    def list_created(self, kind: str) -> list[Record]:
        """The resources of a kind that were created since the example began and still exist."""
        return [record for record in self.emulator.shared.store.find(kind) if record.sequence in self.creators]


def _copy(record: Record) -> Record:
    """Copy a record, so that an example may change it."""
    duplicate = copy(record)
    duplicate.fields, duplicate.tags = dict(record.fields), dict(record.tags)
    duplicate.lifecycle = copy(record.lifecycle)
    return duplicate


@contextmanager
def laboratory() -> Iterator[Laboratory]:
    """A laboratory that boto3 and the ``aws_default`` connection use."""
    with in_process() as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", emulator.url)
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_ACCESS_KEY_ID", ACCOUNT)
        patch.setattr(ExecutorSafeguard, "test_mode", True)
        with _disable_logging():
            yield Laboratory(emulator)


@contextmanager
def _disable_logging() -> Iterator[None]:
    """Log nothing: nobody reads the log of thousands of tries."""

    def drop(*_: Any) -> Any:
        raise structlog.DropEvent

    processors, disabled = structlog.get_config()["processors"], logging.root.manager.disable
    original = list(processors)
    # In place, because existing loggers keep a reference to the list.
    processors[:] = [drop]
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        processors[:] = original
        logging.disable(disabled)
