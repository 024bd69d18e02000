"""What the emulator remembers: records of resources, each with a life of its own over a clock."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from typing import Any

from airflow_cleanroomsml.emulator.errors import not_found
from airflow_cleanroomsml.emulator.index import Index
from airflow_cleanroomsml.emulator.lifecycle import Life
from airflow_cleanroomsml.emulator.listing import Listing
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
        }

    def values(self, name: str) -> tuple[Any, ...]:
        """
        Return the values by which it is found.

        :param name: ``kind``, ``caller``, ``arn`` or ``id``; ``member`` for the accounts of a collaboration; else a member of its fields.
        """
        if name in ("kind", "caller", "arn", "id"):
            return (getattr(self, name),)
        if name == "member":
            accounts = [entry["accountId"] for entry in self.fields.get("members", ())]
            return tuple(Caller(account, self.caller.region) for account in accounts)
        value = self.fields.get(name)
        return () if value is None else (value,)


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
        self._index: Index[Record] = Index()
        self._deletions: list[tuple[float, int, Record]] = []
        self._numbers = 0

    @property
    def records(self) -> list[Record]:
        """All records."""
        return list(self._index.group({}))

    def add(self, record: Record) -> Record:
        """Remember."""
        self._numbers += 1
        record.sequence = self._numbers
        self._index.add(record)
        return record

    def delete(self, record: Record) -> None:
        """Begin its deletion. Unless it is kept INACTIVE, it is forgotten when that has ended."""
        life = record.life
        life.delete()
        if life.deleted is not None and not life.keeps:
            heappush(self._deletions, (life.deleted + life.deleting, record.sequence, record))

    def restore(self, records: Iterable[Record]) -> None:
        """Hold these records, in this order and with their present numbers, and no others."""
        with self.lock:
            self._index, self._deletions = Index(), []
            for record in records:
                self._index.add(record)

    @contextmanager
    def serving(self, verdict: JobFailure | None, hidden: Callable[[Record], bool] | None) -> Iterator[None]:
        """
        One request at a time.

        :param verdict: How the jobs end that it makes; None for as usual.
        :param hidden: What it does not find, though it is there; None for nothing.
        """
        with self.lock:
            self._forget_deleted()
            self.verdict, self._hidden = verdict, hidden or _nothing
            try:
                yield
            finally:
                self.verdict, self._hidden = None, _nothing

    def _forget_deleted(self) -> None:
        while self._deletions and not self._deletions[0][-1].status:
            self._index.remove(heappop(self._deletions)[-1])

    def clear(self) -> None:
        """Forget all."""
        self.restore(())

    def all(
        self, kind: str, caller: Caller | None = None, *, newest_first: bool = False, **members: Any
    ) -> Iterator[Record]:
        """
        Find the records of a kind that are not gone.

        :param caller: Whose they are; None finds everybody's.
        :param newest_first: In descending order of creation.
        :param members: What their fields have, see :meth:`Record.values`; None for anything.
        """
        conditions = _conditions(kind=kind, caller=caller, **members)
        records = self._index.group(conditions)
        return filter(partial(self._is_found, conditions), reversed(records) if newest_first else records)

    def listing(
        self,
        kind: str,
        caller: Caller | None = None,
        *,
        entry: Callable[[Record], dict[str, Any]] = Record.view,
        where: Callable[[Record], bool] = lambda _: True,
        newest_first: bool = False,
        **members: Any,
    ) -> Listing:
        """
        List what :meth:`all` finds.

        :param entry: Returns the entry of a record.
        :param where: What else they have to be.
        """
        conditions = _conditions(kind=kind, caller=caller, **members)

        def includes(record: Record) -> bool:
            return self._is_found(conditions, record) and where(record)

        return Listing(self._index.group(conditions), entry, includes, newest_first=newest_first)

    def get(self, arn: str, noun: str, caller: Caller | None = None) -> Record:
        """
        Return the record of an ARN.

        :param caller: Whose it must be; None finds everybody's.
        :raises ApiError: ``ResourceNotFoundException``.
        """
        conditions = _conditions(arn=arn, caller=caller)
        for record in self._index.group(conditions):
            if self._is_found(conditions, record):
                return record
        raise not_found(noun, arn)

    def _is_found(self, conditions: dict[str, Any], record: Record) -> bool:
        if not record.status or self._hidden(record):
            return False
        return all(value in record.values(name) for name, value in conditions.items())


def _conditions(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
