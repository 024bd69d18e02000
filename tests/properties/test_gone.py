"""A resource that a listing shows but a read does not find no longer exists."""

from __future__ import annotations

import pytest

from airflow_cleanroomsml.emulator.faults import Fault
from tests.properties.observed_emulator import Creator, Laboratory
from tests.properties.operator_cases import KINDS, Kind
from tests.properties.task_try import Task, attempt

KINDS_WITH_READ = [
    pytest.param(kind, id=name) for name, kind in KINDS.items() if kind.operator.resource.get and not kind.shared
]


@pytest.mark.parametrize("kind", KINDS_WITH_READ)
@pytest.mark.parametrize("has_namesake", [False, True], ids=["only resource", "older resource of same name"])
def test_deleted_resource_is_not_reused(laboratory: Laboratory, kind: Kind, has_namesake: bool) -> None:
    laboratory.begin(unique_names=False, pending_seconds=1, progress_seconds=60, delete_seconds=2)
    arguments, operation = kind.build_arguments(laboratory, "m", 0), kind.operator.operation
    other_owner = Creator("", 0)
    namesakes = laboratory.create(other_owner, kind.record_kind, operation, arguments) if has_namesake else []
    laboratory.clock.advance(1000)
    laboratory.create(other_owner, kind.record_kind, operation, arguments)
    waits = {"wait_for_completion": False} if kind.waits else {}
    not_found = Fault(kind.find_read_operations(laboratory)[0], "stale_read", seconds=500)
    task = Task("run", 0, None)
    outcome = attempt(laboratory, kind, task, {**arguments, **waits, "if_exists": "reuse"}, None, not_found)
    assert outcome.error is None
    expected = namesakes or [
        record
        for record in laboratory.list_created(kind.record_kind)
        if laboratory.creators[record.sequence] == task.creator
    ]
    assert [kind.is_of(record, outcome.result, outcome.pushed) for record in expected] == [True]
