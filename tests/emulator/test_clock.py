"""The emulator's clock, turned over HTTP: it runs, is pushed, and stands."""

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
    """An account in an emulator whose clock runs on when a test is over."""
    world = ClockedWorld(clocked_emulator)
    yield world
    turn(world, freeze=False)


def turn(world: ClockedWorld, **order: Any) -> Any:
    return world.emulator._control("clock", order)


def read_date_header(world: ClockedWorld) -> datetime:
    """Return the ``Date`` header of a response."""
    answer = world.ml.list_training_datasets()
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])


def test_a_frozen_clock_stands_and_continues_from_there(world: ClockedWorld) -> None:
    pushed = turn(world, advance=1000)
    stood = turn(world, freeze=True)
    assert (pushed["frozen"], stood["frozen"]) == (False, True)
    assert 0 <= stood["now"] - pushed["now"] < 60
    time.sleep(0.05)
    assert world.emulator._control("clock") == stood
    assert turn(world, advance=0.25) == {"now": stood["now"] + 0.25, "frozen": True}
    assert turn(world, freeze=True, advance=1) == {"now": stood["now"] + 1.25, "frozen": True}
    ran = turn(world, freeze=False)
    time.sleep(0.05)
    assert 0 < world.emulator._control("clock")["now"] - ran["now"] < 60


def test_a_job_proceeds_only_as_the_frozen_clock_advances(world: ClockedWorld) -> None:
    world.build()
    turn(world, freeze=True)
    arn = world.ml.create_audience_model(name="m", trainingDatasetArn=world.create_dataset())["audienceModelArn"]
    seen = []
    for _ in range(3):
        seen.append(world.ml.get_audience_model(audienceModelArn=arn)["status"])
        turn(world, advance=99.9)
    assert seen == ["CREATE_PENDING", "CREATE_PENDING", "CREATE_IN_PROGRESS"]
    assert world.wait(arn)["status"] == "ACTIVE"


def test_the_date_header_follows_the_clock(world: ClockedWorld) -> None:
    turn(world, freeze=True)
    arn = world.create_dataset()
    for ahead in (0, 86_400):
        now = turn(world, advance=ahead)["now"]
        assert read_date_header(world).timestamp() == int(now)
    made = world.ml.get_training_dataset(trainingDatasetArn=arn)
    assert int(read_date_header(world).timestamp() - made["createTime"].timestamp()) == 86_399 + (
        made["createTime"].microsecond == 0
    )


@pytest.mark.parametrize(
    "order",
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
        {"advance": -0.001, "freeze": False},
        ["advance"],
    ],
)
def test_an_invalid_command_is_rejected(world: ClockedWorld, order: Any) -> None:
    turn(world, freeze=True)
    before = world.emulator._control("clock")
    with pytest.raises(urllib.error.HTTPError) as caught:
        world.emulator._control("clock", order)
    assert caught.value.code == 400
    assert world.emulator._control("clock") == before


def test_the_clock_cannot_be_moved_back(world: ClockedWorld) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        turn(world, advance=-1)
    message = json.load(caught.value)["message"]
    assert message == "clock: advance is -1; the clock cannot be moved back"
