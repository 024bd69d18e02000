"""An emulator whose clock the tests advance. A test that freezes the clock or changes a setting restores it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulator.clocked_world import OPTIONS, ClockedWorld
from tests.emulator.custom_models import Custom, set_up
from tests.support import EmulatorProcess


@pytest.fixture(scope="session")
def clocked_emulator() -> Iterator[EmulatorProcess]:
    """An emulator whose jobs take 200 seconds, and deletions 100."""
    process = EmulatorProcess(*OPTIONS)
    yield process
    process.stop()


@pytest.fixture
def provider(clocked_emulator: EmulatorProcess) -> ClockedWorld:
    """The account that creates the collaboration."""
    return ClockedWorld(clocked_emulator)


@pytest.fixture
def runner(clocked_emulator: EmulatorProcess) -> ClockedWorld:
    """The member that runs queries, training and inference."""
    return ClockedWorld(clocked_emulator)


@pytest.fixture
def stranger(clocked_emulator: EmulatorProcess) -> ClockedWorld:
    """An account that belongs to no collaboration."""
    return ClockedWorld(clocked_emulator)


@pytest.fixture
def custom(provider: ClockedWorld, runner: ClockedWorld) -> Custom:
    """A collaboration with which the provider has associated an algorithm."""
    return set_up(provider, runner)
