"""A member of a collaboration, ready to train."""

from __future__ import annotations

import pytest

from tests.fast_clock import speed_up
from tests.operators.studio import Studio
from tests.support import EmulatorProcess, World


@pytest.fixture
def studio(empty_world: World) -> Studio:
    """A member who may query, in the fast emulator; ``aws_default`` leads to its account."""
    return Studio(empty_world)


@pytest.fixture
def slow_studio(slow_emulator: EmulatorProcess, slow_world: World) -> Studio:
    """Such a member in the emulator whose jobs do not end."""
    return Studio(slow_world)


@pytest.fixture(autouse=True)
def _fast_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait by a fast clock, unless the test is marked with ``real_clock``."""
    if request.node.get_closest_marker("real_clock") is None:
        speed_up(monkeypatch)
