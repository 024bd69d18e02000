"""All sensor tests run with a fast clock."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _fast_clock(fast_clock: None) -> None:
    pass
