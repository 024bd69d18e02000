"""What the emulator remembers: records of resources, each with a life of its own over a clock."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from airflow_cleanroomsml.emulator.errors import not_found
from airflow_cleanroomsml.emulator.life import Life
from airflow_cleanroomsml.emulator.lookalike import JobFailure
from airflow_cleanroomsml.emulator.regions import partition


@dataclass(frozen=True)
class Caller:
    """
    Who calls.

    :param account: Twelve digits.
    :param region: AWS region.
    """

    account: str
    region: str

    @property
    def partition(self) -> str:
        """The partition of the region, for instance ``aws``."""
        return partition(self.region)

    def arn(self, path: str, service: str = "cleanrooms-ml") -> str:
        """A new ARN in this account and region; it ends with a UUID."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{path}/{uuid.uuid4()}"


@dataclass
class Record:
    """
    A resource.

    :param kind: What it is, for instance ``audience-model``.
    :param fields: Members in the API's own spelling.
    :param caller: Whose it is.
    :param life: Its status.
    :param arn_member: Member that holds its ARN; empty for what has none.
    :param tags: Its tags.
    :param arn: Its ARN; one of its kind in the caller's account if empty.
    """

    kind: str
    fields: dict[str, Any]
    caller: Caller
    life: Life
    arn_member: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    arn: str = ""
    sequence: int = 0

    def __post_init__(self) -> None:
        self.arn = self.arn or self.caller.arn(self.kind)
        self.updated = self.life.born
        if self.arn_member:
            self.fields[self.arn_member] = self.arn

    @property
    def status(self) -> str:
        """The status now; empty when it is gone."""
        return self.life.status

    @property
    def id(self) -> str:
        """The UUID at the end of its ARN."""
        return self.arn.rsplit("/", 1)[1]

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


def _nothing(_: Record) -> bool:
    return False


class Store:
    """
    All records, in the order of their creation.

    ``verdict`` is how the jobs end that the present request makes, where a fault was ordered.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.verdict: JobFailure | None = None
        self._hidden: Callable[[Record], bool] = _nothing
        self._records: list[Record] = []
        self._numbers = 0

    def add(self, record: Record) -> Record:
        """Remember."""
        self._numbers += 1
        record.sequence = self._numbers
        self._records.append(record)
        return record

    @contextmanager
    def serving(self, verdict: JobFailure | None, hidden: Callable[[Record], bool] | None) -> Iterator[None]:
        """
        One request at a time.

        :param verdict: How the jobs end that it makes; None for as usual.
        :param hidden: What it does not find, though it is there; None for nothing.
        """
        with self.lock:
            self.verdict, self._hidden = verdict, hidden or _nothing
            try:
                yield
            finally:
                self.verdict, self._hidden = None, _nothing

    def clear(self) -> None:
        """Forget all."""
        with self.lock:
            self._records = []

    def all(
        self, kind: str, caller: Caller | None = None, where: Callable[[Record], bool] = lambda _: True
    ) -> Iterator[Record]:
        """Records of a kind that are not gone, of one caller or of all."""
        self._records = [record for record in self._records if record.status]
        for record in self._records:
            if record.kind == kind and caller in (None, record.caller) and not self._hidden(record) and where(record):
                yield record

    def get(self, arn: str, noun: str, caller: Caller | None = None) -> Record:
        """
        The record of an ARN.

        :param caller: Whose it must be; None finds everybody's.
        :raises ApiError: ``ResourceNotFoundException``.
        """
        for record in self._records:
            known = caller in (None, record.caller) and not self._hidden(record)
            if record.arn == arn and record.status and known:
                return record
        raise not_found(noun, arn)
