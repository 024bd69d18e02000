"""What must be true, whatever has happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from typing import Any
from urllib.parse import unquote

from airflow_cleanroomsml._idempotency.claim import build_retry_name
from airflow_cleanroomsml.emulator.store import Record
from airflow_cleanroomsml.exceptions import AlreadyExistsError, JobFailedError, ValidationError
from tests.properties.observed_emulator import LIVE, Laboratory, Maker
from tests.properties.operator_cases import Kind
from tests.properties.task_try import Outcome, Task

#: Resources without an ARN that are created within these seconds cannot be distinguished: times in responses are in whole seconds.
INDISTINGUISHABLE = 2.0
#: Calls of one try at most: a wait of an hour for room has a dozen turns, and each lists, reads what has a name of the task's, and starts.
CALLS = 250


class Judge:
    """
    Knows what each task may have made, and what is somebody else's.

    :param laboratory: Where all of it is.
    :param kind: What is made.
    :param name: Name that all tasks ask for.
    """

    def __init__(self, laboratory: Laboratory, kind: Kind, name: str) -> None:
        self._laboratory, self._kind, self._name = laboratory, kind, name
        #: Requests that are carried out later than any look, by whose they are, and by the sequence of tries that sent them.
        self.too_late: Counter[Maker | tuple[str, int]] = Counter()
        self._others: list[tuple[Record, Any]] = []
        #: Names of what may be changed, whoever has made it, for a task says so.
        self._changing: set[str] = set()

    def made_by(self, maker: Maker) -> list[Record]:
        """What requests of a maker's have made, and is not gone; the oldest first."""
        return [record for record in self._records() if self._maker(record) == maker]

    def _records(self) -> list[Record]:
        return self._laboratory.records(self._kind.kind)

    def _maker(self, record: Record) -> Maker:
        return self._laboratory.makers[record.sequence]

    def keep(self, record: Record) -> None:
        """Remember how it is now, for it is somebody else's."""
        self._others.append((record, _seen(record)))

    def is_late(self, task: Task) -> None:
        """Expect one more of a task, for its request is carried out later than any look."""
        self.too_late.update([task.maker, (task.maker.key, task.sequence)])

    def require_one_at_most(self, tasks: Iterable[Task]) -> None:
        """Of each task and request one is live at most, and one of a task and its retries, whatever they ask for."""
        live = [record for record in self._records() if record.status in LIVE]
        for task in tasks:
            names = [record.fields["name"] for record in live if self._is_of_sequence(task, record)]
            # One that was too late before a clear is still there, and a retry after the clear may go on with either.
            allowed = 1 + sum(self.too_late[task.maker.key, sequence] for sequence in range(task.sequence + 1))
            assert len(names) <= allowed, f"more than one: retries of {task.maker} have {', '.join(names)}"
        for maker, count in Counter(map(self._maker, live)).items():
            names = [record.fields["name"] for record in live if self._maker(record) == maker]
            allowed = 1 + self.too_late[maker]
            assert not maker.key or count <= allowed, f"more than one: {maker} has {', '.join(names)}"

    def _is_of_sequence(self, task: Task, record: Record) -> bool:
        """Whether the present tries of a task have made something, or have gone on with it."""
        maker = self._maker(record)
        made = (maker.key, maker.sequence) == (task.maker.key, task.sequence)
        return made or record.sequence in task.gone_on_with

    def _may_be_of_sequence(self, task: Task, record: Record) -> bool:
        """Whether the service shows a record like one that is of the task's sequence."""
        if self._kind.tagged:
            return self._is_of_sequence(task, record)
        return any(
            self._is_of_sequence(task, own)
            and self._kind.identify(own) == self._kind.identify(record)
            and abs(own.lifecycle.created_at - record.lifecycle.created_at) <= INDISTINGUISHABLE
            for own in self._records()
        )

    def require_others_untouched(self) -> None:
        """What is somebody else's is as it was."""
        for record, seen in self._others:
            changing = record.fields["name"] in self._changing
            assert changing or _seen(record) == seen, f"somebody else's was changed: {record.fields['name']}"

    def require_sound(self, task: Task, outcome: Outcome) -> None:
        """A try makes no end of calls, and what it returns is its own and live; or has the name, where that is asked for."""
        assert len(outcome.calls) <= CALLS, f"too many calls: {len(outcome.calls)}"
        if task.if_exists == "update":
            self._changing.add(self._name_of(task))
        mine = [record for record in self._records() if self._maker(record).key == task.maker.key]
        waited_for = [record for record in mine if self._kind.is_waited_for(record, outcome.waited_for)]
        # What has no ARN is the newest of its name.
        newest = sorted(waited_for, key=lambda record: record.lifecycle.created_at)[-1:]
        tagged = [record for record in mine if self._is_tagged(record, outcome)]
        task.gone_on_with.update(record.sequence for record in (*newest, *tagged))
        if outcome.result is None:
            return
        meant = [record for record in self._records() if self._kind.is_of(record, outcome.result, outcome.pushed)]
        live = [record for record in meant if record.status in LIVE]
        assert live, f"not live: {outcome.result} is {', '.join(record.status for record in meant) or 'nothing'}"
        makers = {self._maker(record) for record in live}
        retried = task.unstable and any(self._may_be_of_sequence(task, record) for record in live)
        same = task.maker in makers if self._kind.tagged else task.maker.variant in {maker.variant for maker in makers}
        own = same or retried
        named = task.if_exists != "fail" and any(record.fields["name"] == self._name_of(task) for record in live)
        assert own or named, f"not its own: {task.maker} goes on with what {makers} made"
        # What somebody else has made may have more than was asked for: nobody knows the service's defaults.
        asked = {n: v for n, v in self._kind.asked_for(self._laboratory, task.variant).items() if own or v is not None}
        there = [{name: record.fields.get(name) or None for name in asked} for record in live]
        changed = any(record.fields["name"] in self._changing for record in live)
        assert changed or retried or asked in there, f"not what is asked for: {asked}; it is {there}"

    def _is_tagged(self, record: Record, outcome: Outcome) -> bool:
        """Whether a try has tagged a record, and so has gone on with it; the tags of versions are those of their ARN."""
        arns = {unquote(url).partition("/tags/")[2] for url in outcome.calls if "/tags/" in url}
        return record.arn in arns and not self._kind.shared

    def require_reason(self, task: Task, error: Exception | None) -> None:
        """A try in whose way nothing is fails only because its job does, because the name is somebody else's, or one waits for others."""
        if error is None:
            return
        if isinstance(error, JobFailedError):
            assert any(record.lifecycle.forced_failure for record in self._records()), f"no reason: {error}"
        elif isinstance(error, ValidationError) and self._kind.shared:
            assert any(record.status != "ACTIVE" for record in self._records()), f"no reason: {error}"
        else:
            taken = isinstance(error, AlreadyExistsError) and any(self._is_in_the_way(task, self._records()))
            assert taken, f"no reason: {type(error).__name__}: {error}"

    def _is_in_the_way(self, task: Task, records: Iterable[Record]) -> Iterable[bool]:
        names = {build_retry_name(self._name_of(task), number, self._kind.name_limit) for number in range(1, 30)}
        for record in records:
            maker = self._maker(record)
            theirs = maker.key != task.maker.key if self._kind.tagged else maker != task.maker
            yield theirs and record.fields["name"] in names

    def _name_of(self, task: Task) -> str:
        return self._kind.name(self._name, task.variant)


def _seen(record: Record) -> Any:
    """What may not change about what is somebody else's; the tags of versions are those of their ARN."""
    return deepcopy(record.fields), record.lifecycle.deleted_at, record.lifecycle.cancelled_at
