"""Invariants that hold after any sequence of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from typing import Any
from urllib.parse import unquote

from airflow_cleanroomsml._idempotency.claim import build_retry_name
from airflow_cleanroomsml.emulator.store import Record
from airflow_cleanroomsml.exceptions import AlreadyExistsError, JobFailedError, ValidationError
from tests.properties.observed_emulator import LIVE, Creator, Laboratory
from tests.properties.operator_cases import Kind
from tests.properties.task_try import Outcome, Task

#: Most calls that one try may make. A try that waits an hour for its quota starts a dozen times, and each time lists resources, reads
#: those with one of its names, and sends its request.
CALLS = 250


class Oracle:
    """
    Knows which resources each task may have created, and which belong to other owners.

    :param laboratory: The emulator with these resources.
    :param kind: Kind of resource that the tasks create.
    :param name: Name that all tasks request.
    """

    def __init__(self, laboratory: Laboratory, kind: Kind, name: str) -> None:
        self._laboratory, self._kind, self._name = laboratory, kind, name
        #: Number of requests that the service commits after the last search: by creator, and by the sequence of tries that sent them.
        self.overdue: Counter[Creator | tuple[str, int]] = Counter()
        self._others: list[tuple[Record, Any]] = []
        #: Names that a task may update, whoever owns the resource.
        self._updatable: set[str] = set()

    def list_created_by(self, creator: Creator) -> list[Record]:
        """The existing resources that a creator's requests created, oldest first."""
        return [record for record in self._list_records() if self._find_creator(record) == creator]

    def _list_records(self) -> list[Record]:
        return self._laboratory.list_created(self._kind.record_kind)

    def _find_creator(self, record: Record) -> Creator:
        return self._laboratory.creators[record.sequence]

    def protect(self, record: Record) -> None:
        """Remember the present state of a resource of another owner, which no task may change."""
        self._others.append((record, _copy_protected(record)))

    def expect_overdue(self, task: Task) -> None:
        """Allow a task one more resource, because one of its requests is committed after the last search."""
        self.overdue.update([task.creator, (task.creator.key, task.sequence)])

    def require_one_at_most(self, tasks: Iterable[Task]) -> None:
        """Each task has at most one live resource per request, and one per sequence of tries, even if retries had other arguments."""
        live = [record for record in self._list_records() if record.status in LIVE]
        for task in tasks:
            names = [record.fields["name"] for record in live if self._is_of_sequence(task, record)]
            # An overdue resource from before a clear still exists, and a retry after the clear may reuse either.
            allowed = 1 + sum(self.overdue[task.creator.key, sequence] for sequence in range(task.sequence + 1))
            assert len(names) <= allowed, f"more than one: retries of {task.creator} have {', '.join(names)}"
        for creator, count in Counter(map(self._find_creator, live)).items():
            names = [record.fields["name"] for record in live if self._find_creator(record) == creator]
            allowed = 1 + self.overdue[creator]
            assert not creator.key or count <= allowed, f"more than one: {creator} has {', '.join(names)}"

    def _is_of_sequence(self, task: Task, record: Record) -> bool:
        """Whether the current sequence of tries created or reused a resource."""
        creator = self._find_creator(record)
        is_created = (creator.key, creator.sequence) == (task.creator.key, task.sequence)
        return is_created or record.sequence in task.reused

    def _may_be_of_sequence(self, task: Task, record: Record) -> bool:
        """Whether the current sequence of tries created or reused a resource, or waited for one that looks the same in every listing."""
        return self._is_of_sequence(task, record) or record.sequence in task.waited_for

    def require_others_untouched(self) -> None:
        """Resources of other owners are unchanged."""
        for record, before in self._others:
            is_updatable = record.fields["name"] in self._updatable
            assert is_updatable or _copy_protected(record) == before, (
                f"another owner's resource was changed: {record.fields['name']}"
            )

    def require_sound(self, task: Task, outcome: Outcome) -> None:
        """
        A try makes a limited number of calls, and the resource that it returns is live and its own.

        If ``if_exists`` allows it, any live resource with the requested name will do.
        """
        assert len(outcome.calls) <= CALLS, f"too many calls: {len(outcome.calls)}"
        if task.if_exists == "update":
            self._updatable.add(self._build_name(task))
        own_records = [record for record in self._list_records() if self._find_creator(record).key == task.creator.key]
        waited_for = [record for record in own_records if self._kind.is_waited_for(record, outcome.waited_for)]
        # Resources without an ARN have only their name: the newest is the one that the task waited for.
        newest = sorted(waited_for, key=lambda record: record.lifecycle.created_at)[-1:]
        tagged = [record for record in own_records if self._is_tagged(record, outcome)]
        task.reused.update(record.sequence for record in (*newest, *tagged))
        if not self._kind.tagged:
            # Even another owner's, which cannot be told from the task's own (docs/design/idempotency.md).
            matching = [r for r in self._list_records() if self._kind.is_waited_for(r, outcome.waited_for)]
            task.waited_for.update(record.sequence for record in matching)
        if outcome.result is None:
            return
        returned = [
            record for record in self._list_records() if self._kind.is_of(record, outcome.result, outcome.pushed)
        ]
        live = [record for record in returned if record.status in LIVE]
        assert live, f"not live: {outcome.result} is {', '.join(record.status for record in returned) or 'nothing'}"
        creators = {self._find_creator(record) for record in live}
        is_retried = task.unstable and any(self._may_be_of_sequence(task, record) for record in live)
        variants = {creator.variant for creator in creators}
        is_same = task.creator in creators if self._kind.tagged else task.creator.variant in variants
        is_own = is_same or is_retried
        has_name = task.if_exists != "fail" and any(record.fields["name"] == self._build_name(task) for record in live)
        assert is_own or has_name, f"not its own: {task.creator} reuses a resource created by {creators}"
        # A resource of another owner may have members that the request leaves out, because the service's defaults are not known.
        requested = {
            member: value
            for member, value in self._kind.build_distinguishing_members(self._laboratory, task.variant).items()
            if is_own or value is not None
        }
        existing = [{member: record.fields.get(member) or None for member in requested} for record in live]
        is_updatable = any(record.fields["name"] in self._updatable for record in live)
        assert is_updatable or is_retried or requested in existing, (
            f"not what was requested: {requested}; the resource has {existing}"
        )

    def _is_tagged(self, record: Record, outcome: Outcome) -> bool:
        """Whether a try tagged a resource, and so reused it. Does not apply to versions, which share the tags of their ARN."""
        arns = {unquote(url).partition("/tags/")[2] for url in outcome.calls if "/tags/" in url}
        return record.arn in arns and not self._kind.shared

    def require_reason(self, task: Task, error: Exception | None) -> None:
        """
        A try without a fault may fail for three reasons only.

        Its job failed, another owner has the name, or a version has to wait for the one before.
        """
        if error is None:
            return
        if isinstance(error, JobFailedError):
            assert any(record.lifecycle.forced_failure for record in self._list_records()), f"no reason: {error}"
        elif isinstance(error, ValidationError) and self._kind.shared:
            assert any(record.status != "ACTIVE" for record in self._list_records()), f"no reason: {error}"
        else:
            is_taken = isinstance(error, AlreadyExistsError) and any(
                self._is_taken_by(task, record) for record in self._list_records()
            )
            assert is_taken, f"no reason: {type(error).__name__}: {error}"

    def _is_taken_by(self, task: Task, record: Record) -> bool:
        """Whether a resource that is not the task's has one of the names that the task may use."""
        names = {build_retry_name(self._build_name(task), number, self._kind.name_limit) for number in range(1, 30)}
        creator = self._find_creator(record)
        is_others = creator.key != task.creator.key if self._kind.tagged else creator != task.creator
        return is_others and record.fields["name"] in names

    def _build_name(self, task: Task) -> str:
        return self._kind.build_name(self._name, task.variant)


def _copy_protected(record: Record) -> Any:
    """What no task may change about a resource of another owner; its tags are left out, because versions share those of their ARN."""
    return deepcopy(record.fields), record.lifecycle.deleted_at, record.lifecycle.cancelled_at
