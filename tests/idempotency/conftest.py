"""Tasks use a fast clock, so that their pauses take no time."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _fast_clock(fast_clock: None) -> None:
    pass
