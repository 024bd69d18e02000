"""An emulator whose clock tests advance. A test that stops it, or changes a setting, restores it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulator.clocked_world import OPTIONS, ClockedWorld
from tests.emulator.custom_models import Custom, set_up
from tests.support import EmulatorProcess


@pytest.fixture(scope="session")
def clocked_emulator() -> Iterator[EmulatorProcess]:
    """Jobs take 200 seconds, deletions 100."""
    process = EmulatorProcess(*OPTIONS)
    yield process
    process.stop()


@pytest.fixture
def provider(clocked_emulator: EmulatorProcess) -> ClockedWorld:
    """Who makes the collaboration."""
    return ClockedWorld(clocked_emulator)


@pytest.fixture
def runner(clocked_emulator: EmulatorProcess) -> ClockedWorld:
    """Who queries, trains and infers."""
    return ClockedWorld(clocked_emulator)


@pytest.fixture
def stranger(clocked_emulator: EmulatorProcess) -> ClockedWorld:
    """Who is no member of anything."""
    return ClockedWorld(clocked_emulator)


@pytest.fixture
def custom(provider: ClockedWorld, runner: ClockedWorld) -> Custom:
    """A collaboration whose provider has associated an algorithm."""
    return set_up(provider, runner)
