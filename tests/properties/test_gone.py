"""What is gone when it is read, although a listing has just shown it, is gone."""

from __future__ import annotations

import pytest

from airflow_cleanroomsml.emulator.faults import Fault
from tests.properties.observed_emulator import Laboratory, Maker
from tests.properties.operator_cases import KINDS, Kind
from tests.properties.task_try import Task, attempt

READ = [pytest.param(kind, id=name) for name, kind in KINDS.items() if kind.operator.resource.get and not kind.shared]


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("older", [False, True], ids=["alone", "with an older one of its name"])
def test_it_is_not_reused(laboratory: Laboratory, kind: Kind, older: bool) -> None:
    laboratory.begin(unique_names=False, pending_seconds=1, progress_seconds=60, delete_seconds=2)
    arguments, operation = kind.arguments(laboratory, "m", 0), kind.operator.operation
    theirs = laboratory.make(Maker("", 0), kind.kind, operation, arguments) if older else []
    laboratory.clock.advance(1000)
    laboratory.make(Maker("", 0), kind.kind, operation, arguments)
    waits = {"wait_for_completion": False} if kind.waits else {}
    gone = Fault(kind.reads(laboratory)[0], "stale_read", seconds=500)
    task = Task("run", 0, None)
    outcome = attempt(laboratory, kind, task, {**arguments, **waits, "if_exists": "reuse"}, None, gone)
    assert outcome.error is None
    meant = theirs or [
        record for record in laboratory.records(kind.kind) if laboratory.makers[record.sequence] == task.maker
    ]
    assert [kind.is_of(record, outcome.result, outcome.pushed) for record in meant] == [True]
