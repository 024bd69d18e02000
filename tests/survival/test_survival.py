"""
Every create operator creates exactly one resource and succeeds, although its tasks are killed and responses are lost at every step.

Each task runs in real processes, like those of a worker, of the triggerer, and of the worker that resumes a task. Each process calls an
emulator through boto3 and kills itself at its step; then the next process starts, as in Airflow. Half of the tasks have Airflow's task
state store.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from itertools import count

import pytest

from airflow_cleanroomsml._ui.link import DETAILS_LINKS
from tests.helpers.deployment import ROOT
from tests.support import EmulatorProcess, World
from tests.survival.cases import (
    AFTER_STORE,
    BEFORE_DEFERRAL,
    BEFORE_READ,
    BEFORE_RESUMED_RETURN,
    BEFORE_RETURN,
    BEFORE_SEND,
    BEFORE_STORE,
    IN_FLIGHT,
    IN_SEARCH,
    IN_TRIGGER,
    IN_WAIT,
    LOST,
    RESET,
    Case,
    build_cases,
    select_cases,
)
from tests.survival.create_operators import BY_TITLE, OPERATOR_SETUPS
from tests.survival.outcomes import Outcomes, count_planned_losses, find_create_operation, run_lanes
from tests.survival.runner import Lane

#: If this variable is set, every operator is tested with all cases.
EVERY_CASE = "AIRFLOW_CLEANROOMSML_EVERY_CASE"
every_operator = pytest.mark.parametrize("title", sorted(BY_TITLE))
FIGURES = ROOT / "build" / "survival.txt"
#: Steps of every task, and further steps of tasks that wait.
STEPS = {BEFORE_SEND, IN_FLIGHT, BEFORE_READ, BEFORE_STORE, AFTER_STORE, IN_SEARCH, BEFORE_RETURN}
WAIT_STEPS = {IN_WAIT, BEFORE_DEFERRAL, IN_TRIGGER, BEFORE_RESUMED_RETURN}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """The outcomes of all tasks, in an emulator that rejects names in use and in one that does not."""
    folder = tmp_path_factory.mktemp("survival")
    cases = plan_cases()
    emulators = {unique: start_emulator(unique=unique) for unique in (True, False)}
    lanes = [
        Lane(
            setup.title,
            World(emulator).account,
            emulator.url,
            unique,
            cases[setup.title, unique],
            str(folder),
        )
        for setup in OPERATOR_SETUPS
        for unique, emulator in emulators.items()
    ]
    try:
        yield run_lanes(sorted(lanes, key=lambda lane: -len(lane.cases)), folder)
    finally:
        for emulator in emulators.values():
            emulator.stop()


def plan_cases() -> dict[tuple[str, bool], list[Case]]:
    """
    Build the cases of each operator, for unique names and for names that are not unique.

    All operators use the same code to create resources, wait and defer, so they divide the cases among them unless ``EVERY_CASE`` is set.
    """
    offsets: dict[bool, Iterator[int]] = defaultdict(count)
    cases = {}
    for setup in OPERATOR_SETUPS:
        offset = next(offsets[setup.waits])
        for unique in (True, False):
            every = build_cases(waits=setup.waits, unique=unique)
            cases[setup.title, unique] = every if EVERY_CASE in os.environ else select_cases(every, offset)
    return cases


def start_emulator(*, unique: bool) -> EmulatorProcess:
    """Start an emulator whose jobs take long enough for kills to happen while they run."""
    durations = ("--scale", "0.001", "--pending-seconds", "0.1", "--progress-seconds", "1")
    return EmulatorProcess(*durations, *(() if unique else ("--names-not-unique",)))


def test_all_create_operators_are_covered() -> None:
    from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
    from tests.helpers.exported_classes import OPERATIONS

    assert {cls for cls in OPERATIONS if issubclass(cls, CleanRoomsMLCreateOperator)} == {
        setup.operator for setup in OPERATOR_SETUPS
    }


@every_operator
def test_task_succeeds_with_one_resource(outcomes: Outcomes, title: str) -> None:
    selected = [outcome for outcome in outcomes.all if outcome.lane.title == title]
    assert [problem for outcome in selected for problem in outcome.find_problems()] == []
    # Kills and faults do not change which XCom keys a task pushes, and no internal key is left.
    assert len({frozenset(outcome.task_run.xcom) for outcome in selected}) == 1
    internal = {key for outcome in selected for key in outcome.task_run.xcom if key.startswith("_")}
    assert internal <= {link.xcom_key for link in DETAILS_LINKS}


@pytest.mark.parametrize("waits", [False, True])
def test_tasks_are_killed_at_every_step(outcomes: Outcomes, waits: bool) -> None:
    killed_at: dict[str, set[str]] = defaultdict(set)
    for outcome in outcomes.all:
        if outcome.lane.setup.waits == waits:
            killed_at[outcome.lane.title].update(step for step, _ in outcome.task_run.kills)
    steps = STEPS | WAIT_STEPS if waits else STEPS
    assert set().union(*killed_at.values()) == steps
    if EVERY_CASE in os.environ:
        assert dict(killed_at) == dict.fromkeys(killed_at, steps)


def test_no_orphans_and_no_cancel_or_delete_calls(outcomes: Outcomes) -> None:
    assert outcomes.orphans == []
    names = [name for calls in outcomes.calls.values() for name, _ in calls if name.startswith(("Cancel", "Delete"))]
    assert names == []


def test_create_succeeds_once_per_task(outcomes: Outcomes) -> None:
    lanes = {outcome.lane.file.stem: outcome.lane for outcome in outcomes.all}
    for stem, lane in lanes.items():
        task_runs = [outcome.task_run for outcome in outcomes.all if outcome.lane is lane]
        statuses = [status for name, status in outcomes.calls[stem] if name == find_create_operation(lane)]
        assert set(statuses) <= {0, 200}
        assert len(statuses) == len(task_runs) + sum(task_run.case.fault == RESET for task_run in task_runs), stem


def test_figures(outcomes: Outcomes) -> None:
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(outcomes.format_figures() + "\n")
    assert outcomes.kills.total() >= len(outcomes.all) / 2
    assert outcomes.losses[LOST] == count_planned_losses(outcomes) >= len(outcomes.all) / 4
    assert outcomes.duplicates == 0
