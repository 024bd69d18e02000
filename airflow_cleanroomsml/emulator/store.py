"""Stores the emulator's resources."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from typing import Any

from airflow_cleanroomsml.emulator.errors import not_found_error
from airflow_cleanroomsml.emulator.index import Index
from airflow_cleanroomsml.emulator.lifecycle import Lifecycle
from airflow_cleanroomsml.emulator.listing import Listing
from airflow_cleanroomsml.emulator.lookalike import JobFailure
from airflow_cleanroomsml.emulator.regions import get_partition


@dataclass(frozen=True)
class Caller:
    """
    The caller of an operation.

    :param account: Twelve digits.
    :param region: AWS region.
    """

    account: str
    region: str

    @property
    def partition(self) -> str:
        """Partition of the region, for instance ``aws``."""
        return get_partition(self.region)

    def build_arn(self, path: str, service: str = "cleanrooms-ml") -> str:
        """Build a new ARN in this account and region; it ends with a UUID."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{path}/{uuid.uuid4()}"


@dataclass
class Record:
    """
    A resource.

    :param kind: Kind of the resource, as in its ARN: for instance ``audience-model``.
    :param fields: Members of the service's responses, in the API's own spelling, and nothing else.
    :param caller: Its owner.
    :param lifecycle: Its lifecycle.
    :param arn_member: Member that holds its ARN; empty for a kind without ARNs.
    :param tags: Its tags.
    :param arn: Its ARN; empty for a new one.
    :param membership_id: Identifier of the membership to which it belongs; empty if it belongs to none.
    :param collaboration_id: Identifier of that membership's collaboration.
    :param details: What the emulator must know about it and no response shows: an immutable object of a class of the kind.
    """

    kind: str
    fields: dict[str, Any]
    caller: Caller
    lifecycle: Lifecycle
    arn_member: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    arn: str = ""
    membership_id: str = ""
    collaboration_id: str = ""
    details: Any = None
    sequence: int = 0

    def __post_init__(self) -> None:
        self.arn = self.arn or self.caller.build_arn(self.kind)
        self.updated = self.lifecycle.created_at
        if self.arn_member:
            self.fields[self.arn_member] = self.arn

    @property
    def status(self) -> str:
        """The present status; empty once it is gone."""
        return self.lifecycle.status

    @property
    def id(self) -> str:
        """The UUID at the end of its ARN."""
        return self.arn.rsplit("/", 1)[1]

    def describe(self) -> dict[str, Any]:
        """Return all members that the service may show; a response contains those that its shape has."""
        failure = self.lifecycle.failure if self.status == "CREATE_FAILED" else None
        details = {"statusCode": failure.status_code, "message": failure.message} if failure else None
        parents = {
            "membershipIdentifier": self.membership_id,
            "collaborationIdentifier": self.collaboration_id,
            "creatorAccountId": self.caller.account,
        }
        return {
            **(parents if self.membership_id else {}),
            **self.fields,
            "status": self.status,
            "statusDetails": details,
            "createTime": self.lifecycle.created_at,
            "updateTime": max(self.updated, self.lifecycle.changed_at),
            "tags": self.tags,
        }

    def get_values(self, name: str) -> tuple[Any, ...]:
        """
        Return the values by which it can be found.

        :param name: ``kind``, ``caller``, ``arn``, ``id``, ``membership_id`` or ``collaboration_id``; ``member`` for the members of a
            collaboration; or a key of ``fields``.
        """
        if name in ("kind", "caller", "arn", "id"):
            return (getattr(self, name),)
        if name in ("membership_id", "collaboration_id"):
            parent: str = getattr(self, name)
            return (parent,) if parent else ()
        if name == "member":
            # With the region, because a collaboration exists in one region only, whatever accounts its members have.
            accounts = [entry["accountId"] for entry in self.fields.get("members", ())]
            return tuple(Caller(account, self.caller.region) for account in accounts)
        value = self.fields.get(name)
        return () if value is None else (value,)


def _hide_nothing(_: Record) -> bool:
    return False


class Store:
    """
    All records, in order of creation.

    ``forced_failure`` is the failure that a fault sets for the job of the current request.
    """

    def __init__(self) -> None:
        # Reentrant: Service holds it while it executes late commits, each of which takes it again.
        self.lock = threading.RLock()
        self.forced_failure: JobFailure | None = None
        self._is_hidden: Callable[[Record], bool] = _hide_nothing
        self._index: Index[Record] = Index()
        self._deletions: list[tuple[float, int, Record]] = []
        self._numbers = 0

    @property
    def records(self) -> list[Record]:
        """All records."""
        return list(self._index.find_group({}))

    def add(self, record: Record) -> Record:
        """Add a record."""
        self._numbers += 1
        record.sequence = self._numbers
        self._index.add(record)
        return record

    def delete(self, record: Record) -> None:
        """Start the deletion of a record, which is dropped at its end unless it becomes INACTIVE."""
        lifecycle = record.lifecycle
        lifecycle.delete()
        if lifecycle.deleted_at is not None and not lifecycle.keeps_metadata:
            # The sequence number decides between deletions that end at the same time, because records cannot be compared.
            heappush(self._deletions, (lifecycle.deleted_at + lifecycle.deletion_seconds, record.sequence, record))

    def restore(self, records: Iterable[Record]) -> None:
        """Replace all records by these, which keep their order and sequence numbers."""
        # Sequence numbers continue: those of new records must be above those that the restored ones keep.
        with self.lock:
            self._index, self._deletions = Index(), []
            for record in records:
                self._index.add(record)

    @contextmanager
    def serve_request(
        self, forced_failure: JobFailure | None, is_hidden: Callable[[Record], bool] | None
    ) -> Iterator[None]:
        """
        Serve one request at a time.

        :param forced_failure: Failure of the job that the request starts; None to let it run.
        :param is_hidden: Returns whether the request does not see a record, as with stale reads; None to show all.
        """
        with self.lock:
            self._drop_deleted()
            self.forced_failure, self._is_hidden = forced_failure, is_hidden or _hide_nothing
            try:
                yield
            finally:
                self.forced_failure, self._is_hidden = None, _hide_nothing

    def _drop_deleted(self) -> None:
        # The heap has the deletion that ends first at its top.
        while self._deletions and not self._deletions[0][-1].status:
            self._index.remove(heappop(self._deletions)[-1])

    def clear(self) -> None:
        """Delete all records."""
        self.restore(())

    def find(
        self, kind: str, caller: Caller | None = None, *, newest_first: bool = False, **members: Any
    ) -> Iterator[Record]:
        """
        Find the existing records of a kind.

        :param caller: Their owner; None for any.
        :param newest_first: In descending order of creation.
        :param members: Values by which they can be found, see :meth:`Record.get_values`; None for any.
        """
        conditions = _build_conditions(kind=kind, caller=caller, **members)
        records = self._index.find_group(conditions)
        return filter(partial(self._matches, conditions), reversed(records) if newest_first else records)

    def build_listing(
        self,
        kind: str,
        caller: Caller | None = None,
        *,
        describe: Callable[[Record], dict[str, Any]] = Record.describe,
        is_included: Callable[[Record], bool] = lambda _: True,
        newest_first: bool = False,
        **members: Any,
    ) -> Listing:
        """
        Build the listing of the records that :meth:`find` returns.

        :param describe: Returns the entry of a record.
        :param is_included: Filters the records further.
        """
        conditions = _build_conditions(kind=kind, caller=caller, **members)

        def includes(record: Record) -> bool:
            return self._matches(conditions, record) and is_included(record)

        return Listing(self._index.find_group(conditions), describe, includes, newest_first=newest_first)

    def get(self, arn: str, noun: str, caller: Caller | None = None) -> Record:
        """
        Return the record with an ARN.

        :param noun: Noun for the error message, for instance "Audience model".
        :param caller: Its owner; None for any.
        :raises ApiError: ``ResourceNotFoundException``.
        """
        conditions = _build_conditions(arn=arn, caller=caller)
        for record in self._index.find_group(conditions):
            if self._matches(conditions, record):
                return record
        raise not_found_error(noun, arn)

    def _matches(self, conditions: dict[str, Any], record: Record) -> bool:
        if not record.status or self._is_hidden(record):
            return False
        return all(value in record.get_values(name) for name, value in conditions.items())


def _build_conditions(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
