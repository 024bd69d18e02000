"""One laboratory for all machines: what it holds before each example is made once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis.internal.conjecture import providers

from tests.properties.observed_emulator import Laboratory, laboratory


@pytest.fixture(scope="package", name="laboratory")
def in_this_process() -> Iterator[Laboratory]:
    """An emulator in this process, whose clock stands until a try pushes it."""
    with laboratory() as found:
        yield found


@pytest.fixture(scope="package", autouse=True)
def _same_examples_whatever_is_loaded() -> Iterator[None]:
    """
    Keep Hypothesis from drawing the constants that it finds in loaded modules.

    With them, the examples of a seed depend on which other tests were collected: with the whole suite loaded, some planted faults took
    twelve times as long to find. A Hypothesis without these names loses the effect, and nothing else.
    """
    none: Any = vars(providers).get("Constants")
    with pytest.MonkeyPatch.context() as patch:
        if none is not None:
            patch.setattr(providers, "_get_local_constants", none, raising=False)
        yield
