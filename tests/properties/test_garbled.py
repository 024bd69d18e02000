"""A listing that is no answer shows nothing, and is not taken for an empty one by whoever would make another."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml.emulator.faults import Fault
from airflow_cleanroomsml.emulator.store import Record
from airflow_cleanroomsml.exceptions import UnreachableError
from airflow_cleanroomsml.operators import CleanRoomsMLStartTrainedModelExportJobOperator
from tests.helpers.garbled_responses import BODIES
from tests.properties.kill_points import Fuse
from tests.properties.observed_emulator import Laboratory, Maker
from tests.properties.operator_cases import KINDS, Kind
from tests.properties.task_try import Task, attempt

each_kind = pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])
each_body = pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in BODIES.items()])


def begin(laboratory: Laboratory, kind: Kind) -> dict[str, Any]:
    """The arguments of an operator, where the service refuses no name."""
    laboratory.begin(unique_names=False, pending_seconds=1, progress_seconds=60, delete_seconds=2)
    waits = {"wait_for_completion": False} if kind.waits else {}
    return {**kind.arguments(laboratory, "m", 0), **waits}


def garbled(laboratory: Laboratory, kind: Kind, body: str) -> Fault:
    resource, client = kind.operator.resource, laboratory.hook.conn
    listing = resource.versions if kind.shared else resource.list
    names: dict[str, str] = client.meta.method_to_api_mapping
    return Fault(names[listing], "garbled", times=0, body=body)


def killed_after_the_commit(laboratory: Laboratory, kind: Kind, given: dict[str, Any], task: Task) -> list[Record]:
    """What a first try has made whose worker was killed before it heard of it."""
    # This one reads the model first, for its collaboration.
    calls = 2 if kind.operator is CleanRoomsMLStartTrainedModelExportJobOperator else 1
    assert attempt(laboratory, kind, task, given, Fuse("after a call", calls)).killed
    made = laboratory.records(kind.kind)
    assert len(made) == 1
    return made


@each_body
@each_kind
def test_a_retry_makes_no_second_one(laboratory: Laboratory, kind: Kind, body: str) -> None:
    given, task = begin(laboratory, kind), Task("run", 0, None)
    made = killed_after_the_commit(laboratory, kind, given, task)
    outcome = attempt(laboratory, kind, task, given, None, garbled(laboratory, kind, body))
    assert isinstance(outcome.error, UnreachableError), outcome.error
    assert laboratory.records(kind.kind) == made
    outcome = attempt(laboratory, kind, task, given, None)
    assert kind.is_of(made[0], outcome.result, outcome.pushed)
    assert laboratory.records(kind.kind) == made


@each_kind
def test_a_lost_answer_makes_no_second_one(laboratory: Laboratory, kind: Kind) -> None:
    given, task = begin(laboratory, kind), Task("run", 0, None)
    lost, listing = Fault(kind.operation, "lose_response"), garbled(laboratory, kind, BODIES["page"])
    for _ in range(2):
        outcome = attempt(laboratory, kind, task, given, None, lost, listing)
        assert isinstance(outcome.error, UnreachableError), outcome.error
    assert len(laboratory.records(kind.kind)) == 1


@each_kind
def test_what_is_to_be_reused_is_not_made(laboratory: Laboratory, kind: Kind) -> None:
    if kind.shared:
        pytest.skip("reuse looks for the model, not for its versions")
    given = begin(laboratory, kind)
    arguments = kind.arguments(laboratory, "m", 0)
    theirs = laboratory.make(Maker("", 0), kind.kind, kind.operator.operation, arguments)
    given["if_exists"] = "reuse"
    outcome = attempt(laboratory, kind, Task("run", 0, None), given, None, garbled(laboratory, kind, BODIES["page"]))
    assert isinstance(outcome.error, UnreachableError), outcome.error
    assert laboratory.records(kind.kind) == theirs


@each_kind
def test_a_create_that_somebody_else_answers_is_looked_for(laboratory: Laboratory, kind: Kind) -> None:
    given, task = begin(laboratory, kind), Task("run", 0, None)
    outcome = attempt(laboratory, kind, task, given, None, Fault(kind.operation, "garbled"))
    assert "outcome is unknown" in str(outcome.error)
    assert laboratory.records(kind.kind) == []
    assert attempt(laboratory, kind, task, given, None).error is None
    assert len(laboratory.records(kind.kind)) == 1
