"""
Tasks that are killed at every step, and whose answers are lost, make one of what they ask for and succeed.

Each process of each task is a real one: a worker's, the triggerer's, the worker's that goes on. It speaks by boto3 to an emulator and
kills itself at its step; then the next one begins, as Airflow would have it. Airflow's task state store remembers half of the tasks.
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
    DEFERRING,
    IN_FLIGHT,
    LOST,
    NOTED,
    RESET,
    RESUMED,
    RETURNING,
    SOUGHT,
    TRIGGERED,
    UNNOTED,
    UNREAD,
    UNSENT,
    WAITING,
    Case,
    cases_of,
    select,
)
from tests.survival.create_operators import BY_TITLE, MAKERS
from tests.survival.outcomes import Fates, create_of, lived, planned_losses
from tests.survival.runner import Lane

#: Where it is set, each operator is tried with every case.
EVERY_CASE = "AIRFLOW_CLEANROOMSML_EVERY_CASE"
every_maker = pytest.mark.parametrize("title", sorted(BY_TITLE))
FIGURES = ROOT / "build" / "survival.txt"
#: Steps of every task, and those of tasks that wait.
STEPS = {UNSENT, IN_FLIGHT, UNREAD, UNNOTED, NOTED, SOUGHT, RETURNING}
WAITS = {WAITING, DEFERRING, TRIGGERED, RESUMED}


@pytest.fixture(scope="module")
def fates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fates]:
    """Those of all tasks, in an emulator that refuses a name that is in use, and in one that does not."""
    place = tmp_path_factory.mktemp("survival")
    planned = plan()
    emulators = {unique: _emulator(unique=unique) for unique in (True, False)}
    lanes = [
        Lane(
            maker.title,
            World(emulator).account,
            emulator.url,
            unique,
            planned[maker.title, unique],
            str(place),
        )
        for maker in MAKERS
        for unique, emulator in emulators.items()
    ]
    try:
        yield lived(sorted(lanes, key=lambda lane: -len(lane.cases)), place)
    finally:
        for emulator in emulators.values():
            emulator.stop()


def plan() -> dict[tuple[str, bool], list[Case]]:
    """
    The cases of each operator, where names are unique and where they are not.

    What creates, waits and defers is the same code for all operators, so they share the cases, unless every one is asked for.
    """
    turns: dict[bool, Iterator[int]] = defaultdict(count)
    cases = {}
    for maker in MAKERS:
        turn = next(turns[maker.waits])
        for unique in (True, False):
            every = cases_of(waits=maker.waits, unique=unique)
            cases[maker.title, unique] = every if EVERY_CASE in os.environ else select(every, turn)
    return cases


def _emulator(*, unique: bool) -> EmulatorProcess:
    """One whose jobs last as long as the kills need that are to come meanwhile."""
    lasting = ("--scale", "0.001", "--pending-seconds", "0.1", "--progress-seconds", "1")
    return EmulatorProcess(*lasting, *(() if unique else ("--names-not-unique",)))


def test_every_operator_that_makes_something_is_there() -> None:
    from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
    from tests.helpers.exported_classes import OPERATIONS

    assert {cls for cls in OPERATIONS if issubclass(cls, CleanRoomsMLCreateOperator)} == {
        maker.operator for maker in MAKERS
    }


@every_maker
def test_one_is_made_and_the_task_succeeds(fates: Fates, title: str) -> None:
    mine = [fate for fate in fates.all if fate.lane.title == title]
    assert [wrong for fate in mine for wrong in fate.wrongs()] == []
    # Whatever has happened, a task pushes the same, and leaves nothing else behind.
    assert len({frozenset(fate.life.xcom) for fate in mine}) == 1
    kept = {key for fate in mine for key in fate.life.xcom if key.startswith("_")}
    assert kept <= {link.xcom_key for link in DETAILS_LINKS}


@pytest.mark.parametrize("waits", [False, True])
def test_tasks_are_killed_at_every_step(fates: Fates, waits: bool) -> None:
    struck: dict[str, set[str]] = defaultdict(set)
    for fate in fates.all:
        if fate.lane.maker.waits == waits:
            struck[fate.lane.title].update(step for step, _ in fate.life.strikes)
    steps = STEPS | WAITS if waits else STEPS
    assert set().union(*struck.values()) == steps
    if EVERY_CASE in os.environ:
        assert dict(struck) == dict.fromkeys(struck, steps)


def test_nothing_is_left_over_cancelled_or_deleted(fates: Fates) -> None:
    assert fates.orphans == []
    ending = [name for calls in fates.calls.values() for name, _ in calls if name.startswith(("Cancel", "Delete"))]
    assert ending == []


def test_no_create_is_carried_out_twice(fates: Fates) -> None:
    lanes = {fate.lane.file.stem: fate.lane for fate in fates.all}
    for stem, lane in lanes.items():
        lives = [fate.life for fate in fates.all if fate.lane is lane]
        answered = [status for name, status in fates.calls[stem] if name == create_of(lane)]
        assert set(answered) <= {0, 200}
        assert len(answered) == len(lives) + sum(life.case.fault == RESET for life in lives), stem


def test_figures(fates: Fates) -> None:
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(fates.figures() + "\n")
    assert fates.kills.total() >= len(fates.all) / 2
    assert fates.lost[LOST] == planned_losses(fates) >= len(fates.all) / 4
    assert fates.duplicates == 0
