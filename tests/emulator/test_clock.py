"""The emulator's clock, controlled over HTTP: tests freeze, advance and resume it."""

from __future__ import annotations

import json
import time
import urllib.error
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.emulator.clocked_world import ClockedWorld
from tests.support import EmulatorProcess


@pytest.fixture
def world(clocked_emulator: EmulatorProcess) -> Iterator[ClockedWorld]:
    """An account in an emulator whose clock resumes after each test."""
    world = ClockedWorld(clocked_emulator)
    yield world
    set_clock(world, freeze=False)


def set_clock(world: ClockedWorld, **command: Any) -> Any:
    return world.emulator._control("clock", command)


def read_date_header(world: ClockedWorld) -> datetime:
    """Return the ``Date`` header of a response."""
    response = world.ml.list_training_datasets()
    return parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])


def test_frozen_clock_stops_and_resumes_where_it_was(world: ClockedWorld) -> None:
    advanced = set_clock(world, advance=1000)
    frozen = set_clock(world, freeze=True)
    assert (advanced["frozen"], frozen["frozen"]) == (False, True)
    assert 0 <= frozen["now"] - advanced["now"] < 60
    time.sleep(0.05)
    assert world.emulator._control("clock") == frozen
    assert set_clock(world, advance=0.25) == {"now": frozen["now"] + 0.25, "frozen": True}
    assert set_clock(world, freeze=True, advance=1) == {"now": frozen["now"] + 1.25, "frozen": True}
    resumed = set_clock(world, freeze=False)
    time.sleep(0.05)
    assert 0 < world.emulator._control("clock")["now"] - resumed["now"] < 60


def test_job_progresses_only_as_frozen_clock_advances(world: ClockedWorld) -> None:
    world.build()
    set_clock(world, freeze=True)
    arn = world.ml.create_audience_model(name="m", trainingDatasetArn=world.create_dataset())["audienceModelArn"]
    statuses = []
    for _ in range(3):
        statuses.append(world.ml.get_audience_model(audienceModelArn=arn)["status"])
        set_clock(world, advance=99.9)
    assert statuses == ["CREATE_PENDING", "CREATE_PENDING", "CREATE_IN_PROGRESS"]
    assert world.wait(arn)["status"] == "ACTIVE"


def test_date_header_follows_clock(world: ClockedWorld) -> None:
    set_clock(world, freeze=True)
    arn = world.create_dataset()
    for seconds in (0, 86_400):
        now = set_clock(world, advance=seconds)["now"]
        assert read_date_header(world).timestamp() == int(now)
    dataset = world.ml.get_training_dataset(trainingDatasetArn=arn)
    assert int(read_date_header(world).timestamp() - dataset["createTime"].timestamp()) == 86_399 + (
        dataset["createTime"].microsecond == 0
    )


@pytest.mark.parametrize(
    "command",
    [
        {},
        {"advance": "soon"},
        {"advance": float("nan")},
        {"advance": "5"},
        {"advance": True},
        {"freeze": "yes"},
        {"freeze": 1},
        {"freez": True},
        {"advance": None},
        {"advance": -1},
        {"advance": 10**400},
        {"advance": -0.001, "freeze": False},
        ["advance"],
    ],
)
def test_invalid_command_is_rejected(world: ClockedWorld, command: Any) -> None:
    set_clock(world, freeze=True)
    before = world.emulator._control("clock")
    with pytest.raises(urllib.error.HTTPError) as caught:
        world.emulator._control("clock", command)
    assert caught.value.code == 400
    assert world.emulator._control("clock") == before


def test_clock_cannot_be_moved_back(world: ClockedWorld) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        set_clock(world, advance=-1)
    message = json.load(caught.value)["message"]
    assert message == "clock: advance is -1; the clock cannot be moved back"
