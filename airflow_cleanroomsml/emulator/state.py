"""What the emulator remembers: records of resources, each with a life of its own over a clock."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from airflow_cleanroomsml.emulator.errors import not_found
from airflow_cleanroomsml.emulator.lookalike import JobFailure, StatusCode


class Clock:
    """Time, which a test may push forward."""

    def __init__(self) -> None:
        self._offset = 0.0

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Push it forward."""
        self._offset += seconds


@dataclass(frozen=True)
class Caller:
    """
    Who calls.

    :param account: Twelve digits.
    :param region: AWS region.
    """

    account: str
    region: str

    def arn(self, path: str) -> str:
        """A new ARN of Clean Rooms ML in this account and region."""
        return f"arn:aws:cleanrooms-ml:{self.region}:{self.account}:{path}/{uuid.uuid4()}"


@dataclass
class Life:
    """
    The status of a resource: a matter of time passed, not of how often somebody looked.

    :param clock: Time.
    :param pending: Seconds of CREATE_PENDING; 0 for what is ACTIVE at once.
    :param progress: Seconds of CREATE_IN_PROGRESS at least.
    :param deleting: Seconds that a deletion takes.
    :param work: What it computes; it stays CREATE_IN_PROGRESS until that is done.
    """

    clock: Clock
    pending: float = 0.0
    progress: float = 0.0
    deleting: float = 0.0
    work: Future[Any] | None = None
    born: float = field(init=False)
    deleted: float | None = None
    finished: float = 0.0

    def __post_init__(self) -> None:
        self.born = self.clock.now()
        if self.work is not None:
            self.work.add_done_callback(self._finish)

    def _finish(self, _: Future[Any]) -> None:
        self.finished = self.clock.now()

    @property
    def status(self) -> str:
        """The status now; empty when it is gone."""
        if self.deleted is not None:
            return self._deletion(self.clock.now() - self.deleted)
        age = self.clock.now() - self.born
        if age < self.pending:
            return "CREATE_PENDING"
        if age < self.pending + self.progress or (self.work is not None and not self.work.done()):
            return "CREATE_IN_PROGRESS"
        return "CREATE_FAILED" if self.failure else "ACTIVE"

    def _deletion(self, since: float) -> str:
        if since >= self.deleting:
            return ""
        return "DELETE_PENDING" if since < self.deleting / 2 else "DELETE_IN_PROGRESS"

    @property
    def failure(self) -> JobFailure | None:
        """Why it failed, once the work is done."""
        if self.work is None or not self.work.done():
            return None
        error = self.work.exception()
        if error is None or isinstance(error, JobFailure):
            return error
        return JobFailure(StatusCode.INTERNAL_ERROR, f"The emulator itself failed: {type(error).__name__}: {error}")

    @property
    def changed(self) -> float:
        """When the status changed last."""
        now = self.clock.now()
        steps = [self.born, self.born + self.pending, self.born + self.pending + self.progress, self.finished]
        if self.deleted is not None:
            steps += [self.deleted, self.deleted + self.deleting / 2]
        return max(step for step in steps if step <= now)


@dataclass
class Record:
    """
    A resource.

    :param kind: The ARN's path, for instance ``audience-model``.
    :param fields: Members in the API's own spelling.
    :param caller: Whose it is.
    :param life: Its status.
    :param arn_member: Member that holds its ARN; empty for what has none.
    :param tags: Its tags.
    """

    kind: str
    fields: dict[str, Any]
    caller: Caller
    life: Life
    arn_member: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    sequence: int = 0

    def __post_init__(self) -> None:
        self.arn = self.caller.arn(self.kind)
        self.updated = self.life.born
        if self.arn_member:
            self.fields[self.arn_member] = self.arn

    @property
    def status(self) -> str:
        """The status now; empty when it is gone."""
        return self.life.status

    def view(self) -> dict[str, Any]:
        """All members that the service shows; a response takes those that its shape has."""
        failure = self.life.failure if self.status == "CREATE_FAILED" else None
        details = {"statusCode": failure.status_code, "message": failure.message} if failure else None
        return {
            **self.fields,
            "status": self.status,
            "statusDetails": details,
            "createTime": self.life.born,
            "updateTime": max(self.updated, self.life.changed),
            "tags": self.tags,
            "sequence": self.sequence,
        }


class Store:
    """All records, in the order of their creation."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._records: list[Record] = []
        self._numbers = 0

    def add(self, record: Record) -> Record:
        """Remember."""
        self._numbers += 1
        record.sequence = self._numbers
        self._records.append(record)
        return record

    def all(
        self, kind: str, caller: Caller | None = None, where: Callable[[Record], bool] = lambda _: True
    ) -> Iterator[Record]:
        """Records of a kind that are not gone, of one caller or of all."""
        self._records = [record for record in self._records if record.status]
        for record in self._records:
            if record.kind == kind and caller in (None, record.caller) and where(record):
                yield record

    def get(self, arn: str, noun: str, caller: Caller | None = None) -> Record:
        """
        The record of an ARN.

        :param caller: Whose it must be; None finds everybody's.
        :raises ApiError: ``ResourceNotFoundException``.
        """
        for record in self._records:
            if record.arn == arn and record.status and caller in (None, record.caller):
                return record
        raise not_found(noun, arn)
