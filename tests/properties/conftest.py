"""One laboratory for all machines: what it holds before each example is made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.properties.observed_emulator import Laboratory, laboratory


@pytest.fixture(scope="package", name="laboratory")
def in_this_process() -> Iterator[Laboratory]:
    """An emulator in this process, whose clock stands until a try pushes it."""
    with laboratory() as found:
        yield found
