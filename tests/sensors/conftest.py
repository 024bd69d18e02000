"""Sensors poke and time out by a fast clock."""

from __future__ import annotations

import pytest

from tests.fast_clock import speed_up


@pytest.fixture(autouse=True)
def _fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    speed_up(monkeypatch)
