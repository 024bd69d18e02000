"""A garbled response to a listing is an error: a task does not take it for an empty listing and create a second resource."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml.emulator.faults import Fault
from airflow_cleanroomsml.emulator.store import Record
from airflow_cleanroomsml.exceptions import UnreachableError
from airflow_cleanroomsml.operators import CleanRoomsMLStartTrainedModelExportJobOperator
from tests.helpers.garbled_responses import BODIES
from tests.properties.kill_points import Kill
from tests.properties.observed_emulator import Creator, Laboratory
from tests.properties.operator_cases import KINDS, Kind
from tests.properties.task_try import Task, attempt

each_kind = pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])
each_body = pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in BODIES.items()])


def begin(laboratory: Laboratory, kind: Kind) -> dict[str, Any]:
    """Start an example in which names need not be unique; return the arguments of an operator that does not wait."""
    laboratory.begin(unique_names=False, pending_seconds=1, progress_seconds=60, delete_seconds=2)
    waits = {"wait_for_completion": False} if kind.waits else {}
    return {**kind.build_arguments(laboratory, "m", 0), **waits}


def build_garbled_listing(laboratory: Laboratory, kind: Kind, body: str) -> Fault:
    """Build a fault that garbles every listing in which the task searches."""
    resource, client = kind.operator.resource, laboratory.hook.conn
    listing = resource.versions if kind.shared else resource.list
    names: dict[str, str] = client.meta.method_to_api_mapping
    return Fault(names[listing], "garbled", times=0, body=body)


def kill_after_commit(laboratory: Laboratory, kind: Kind, arguments: dict[str, Any], task: Task) -> list[Record]:
    """Kill a first try after the service committed its request and before the response; return the resource that it created."""
    # This operator first reads the model, for its collaboration.
    calls = 2 if kind.operator is CleanRoomsMLStartTrainedModelExportJobOperator else 1
    assert attempt(laboratory, kind, task, arguments, Kill("after a call", calls)).killed
    created = laboratory.list_created(kind.record_kind)
    assert len(created) == 1
    return created


@each_body
@each_kind
def test_retry_creates_no_second_resource(laboratory: Laboratory, kind: Kind, body: str) -> None:
    arguments, task = begin(laboratory, kind), Task("run", 0, None)
    created = kill_after_commit(laboratory, kind, arguments, task)
    outcome = attempt(laboratory, kind, task, arguments, None, build_garbled_listing(laboratory, kind, body))
    assert isinstance(outcome.error, UnreachableError), outcome.error
    assert laboratory.list_created(kind.record_kind) == created
    outcome = attempt(laboratory, kind, task, arguments, None)
    assert kind.is_of(created[0], outcome.result, outcome.pushed)
    assert laboratory.list_created(kind.record_kind) == created


@each_kind
def test_lost_response_causes_no_second_resource(laboratory: Laboratory, kind: Kind) -> None:
    arguments, task = begin(laboratory, kind), Task("run", 0, None)
    lost_response = Fault(kind.operation, "lose_response")
    garbled_listing = build_garbled_listing(laboratory, kind, BODIES["page"])
    for _ in range(2):
        outcome = attempt(laboratory, kind, task, arguments, None, lost_response, garbled_listing)
        assert isinstance(outcome.error, UnreachableError), outcome.error
    assert len(laboratory.list_created(kind.record_kind)) == 1


@each_kind
def test_reuse_creates_nothing(laboratory: Laboratory, kind: Kind) -> None:
    if kind.shared:
        pytest.skip("reuse looks for the model, not for its versions")
    arguments = begin(laboratory, kind)
    existing = laboratory.create(
        Creator("", 0), kind.record_kind, kind.operator.operation, kind.build_arguments(laboratory, "m", 0)
    )
    arguments["if_exists"] = "reuse"
    garbled_listing = build_garbled_listing(laboratory, kind, BODIES["page"])
    outcome = attempt(laboratory, kind, Task("run", 0, None), arguments, None, garbled_listing)
    assert isinstance(outcome.error, UnreachableError), outcome.error
    assert laboratory.list_created(kind.record_kind) == existing


@each_kind
def test_garbled_response_to_create_leaves_outcome_unknown(laboratory: Laboratory, kind: Kind) -> None:
    arguments, task = begin(laboratory, kind), Task("run", 0, None)
    outcome = attempt(laboratory, kind, task, arguments, None, Fault(kind.operation, "garbled"))
    assert "outcome is unknown" in str(outcome.error)
    assert laboratory.list_created(kind.record_kind) == []
    assert attempt(laboratory, kind, task, arguments, None).error is None
    assert len(laboratory.list_created(kind.record_kind)) == 1
