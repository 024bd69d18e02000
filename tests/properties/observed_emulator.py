"""An emulator in this process that knows whose request has made what, whatever the tags say."""

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
from tests.properties.kill_points import Fuse
from tests.support import World

#: No other test uses it: emulators of one process share what moto stores.
ACCOUNT = "135797531357"
#: Statuses of what runs, or may be used.
LIVE = ("CREATE_PENDING", "CREATE_IN_PROGRESS", "ACTIVE")
#: Seconds that what is there before an example is old.
_AGE = 3600.0


class _Result(str):
    """What a job would have computed: a location, and metrics."""

    __slots__ = ()
    metrics: ClassVar[dict[str, Any]] = {"relevanceMetrics": [], "recallMetric": 0.5}


class Idle(Executor):
    """Nothing is computed: jobs are a matter of the clock."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(_Result("s3://bucket/output"))
        return done


@dataclass(frozen=True)
class Maker:
    """
    Whose request has made something.

    :param key: The task, in its run; empty for somebody else.
    :param variant: Which of its arguments it was tried with.
    :param sequence: Which first try and its retries, from 0; what is of another one, asked for in the same way, is of the same maker.
    """

    key: str
    variant: int
    sequence: int = field(default=0, compare=False)


class Laboratory:
    """
    The emulator, its clock, and what is there before each example.

    :param emulator: One in this process, whose clock stands.
    """

    def __init__(self, emulator: InProcess) -> None:
        self.emulator, self.clock = emulator, emulator.clock
        self.fuse: Fuse | None = None
        self.maker: Maker | None = None
        self.makers: dict[int, Maker] = {}
        self.calls: list[str] = []
        #: When the Dag runs of an example have started.
        self.began = self.clock.now()
        emulator._application = build_application(emulator.shared, lambda: URL, Idle())
        self._settings = Settings(pending_seconds=0, progress_seconds=0)
        emulator.shared.settings = self._settings
        # The bucket has the same name in each laboratory of the process: what moto stores outlives them.
        self.world = World(emulator, ACCOUNT, ACCOUNT)
        self.hook = CleanRoomsMLHook("aws_default")
        self.studio = Studio(self.world)
        self._furnish()
        self._furniture = emulator.shared.store.records
        self._listen()

    def _furnish(self) -> None:
        world = self.world
        self.dataset, self.model, self.configured = (
            world.create_dataset(),
            world.train_model(),
            world.create_configured_model(),
        )
        self.seed = {"dataSource": {"s3Uri": f"s3://{world.bucket}/seed"}, "roleArn": world.role}
        started = world.ml.start_audience_generation_job(
            name="generated", configuredAudienceModelArn=self.configured, seedAudience=self.seed
        )
        self.generated = str(started["audienceGenerationJobArn"])
        _ = self.studio.model

    def _listen(self) -> None:
        """Let calls, pauses and new records be noticed."""
        store, late, send, sleep = (
            self.emulator.shared.store,
            self.emulator.shared.delayed_commits,
            self.emulator.send,
            self.clock.sleep,
        )
        add, postpone = store.add, late.add

        def sent(session: Any, request: Any) -> Any:
            self.burn("before a call")
            self.calls.append(request.url)
            answer = send(session, request)
            self.burn("after a call")
            return answer

        def slept(seconds: float) -> None:
            self.burn("in a pause")
            sleep(seconds)

        def added(record: Record) -> Record:
            add(record)
            if self.maker:
                self.makers[record.sequence] = self.maker
            return record

        def postponed(due: float, carry_out: Callable[[], Any]) -> None:
            maker = self.maker
            postpone(due, lambda: self._as(maker, carry_out))

        for place, name, replacement in (
            (self.emulator, "send", sent),
            (store, "add", added),
            (late, "add", postponed),
            (package_clock, "sleep", slept),
            (vars(botocore.endpoint)["time"], "sleep", slept),
        ):
            setattr(place, name, replacement)

    def _as(self, maker: Maker | None, act: Callable[[], Any]) -> Any:
        present, self.maker = self.maker, maker
        try:
            return act()
        finally:
            self.maker = present

    def burn(self, point: str) -> None:
        """Pass a point at which the worker may be killed."""
        if self.fuse is not None:
            self.fuse.burn(point)

    def begin(self, **settings: Any) -> None:
        """Begin anew, with these settings of the emulator."""
        self.emulator.clear()
        self.clock.advance(_AGE)
        self.emulator.shared.settings = replace(self._settings, **settings)
        self.emulator.shared.store.restore(map(_copied, self._furniture))
        self.fuse, self.maker = None, None
        self.makers, self.calls = {}, []
        self.began = self.clock.now()

    def order(self, *faults: Fault) -> None:
        """Let these faults meet what is called next, and no others."""
        self.emulator.shared.faults.clear()
        for fault in faults:
            self.emulator.shared.faults.add(fault, self.clock.now())

    def make(self, maker: Maker, kind: str, operation: str, arguments: dict[str, Any]) -> list[Record]:
        """
        Make something by a call, if the service lets it; what is new of its kind.

        :param maker: Whose it is.
        :param kind: What the emulator calls what is made.
        :param operation: boto3's method name.
        """
        before = set(self.makers)
        with suppress(AlreadyExistsError, QuotaExceededError, ValidationError):
            self._as(maker, lambda: self.hook.call(operation, arguments))
        return [record for record in self.records(kind) if record.sequence not in before]

    def run_due(self) -> None:
        """Let happen what is due."""
        self.emulator.shared.delayed_commits.run_due(self.clock)

    def records(self, kind: str) -> list[Record]:
        """What has been made of a kind since the example began and is not gone."""
        return [record for record in self.emulator.shared.store.find(kind) if record.sequence in self.makers]


def _copied(record: Record) -> Record:
    """A record that an example may change."""
    found = copy(record)
    found.fields, found.tags, found.lifecycle = dict(record.fields), dict(record.tags), copy(record.lifecycle)
    return found


@contextmanager
def laboratory() -> Iterator[Laboratory]:
    """A laboratory to which boto3 and the ``aws_default`` connection lead."""
    with in_process() as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", emulator.url)
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_ACCESS_KEY_ID", ACCOUNT)
        patch.setattr(ExecutorSafeguard, "test_mode", True)
        with _silent():
            yield Laboratory(emulator)


@contextmanager
def _silent() -> Iterator[None]:
    """Without the log: of thousands of tries nobody reads it."""

    def drop(*_: Any) -> Any:
        raise structlog.DropEvent

    processors, disabled = structlog.get_config()["processors"], logging.root.manager.disable
    kept = list(processors)
    # In place, for loggers that were made before keep the list.
    processors[:] = [drop]
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        processors[:] = kept
        logging.disable(disabled)
