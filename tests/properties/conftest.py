"""One laboratory for all machines: what it holds before each example is made once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.properties.laboratory import Laboratory, laboratory
from tests.properties.running import EXAMPLES


@pytest.fixture(scope="package", name="laboratory")
def in_this_process() -> Iterator[Laboratory]:
    """An emulator in this process, whose clock stands until a try pushes it."""
    if EXAMPLES not in os.environ:
        pytest.skip("it takes many minutes and has not been run to its end yet: nox -s properties")
    with laboratory() as found:
        yield found
