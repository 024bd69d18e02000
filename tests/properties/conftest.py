"""The fixtures of the property tests: one laboratory for all state machines, so that its prerequisites are created only once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis.internal.conjecture import providers

from tests.properties.observed_emulator import Laboratory, laboratory


@pytest.fixture(scope="package", name="laboratory")
def laboratory_fixture() -> Iterator[Laboratory]:
    """An emulator in this process. Its clock moves only when a try or a test advances it."""
    with laboratory() as lab:
        yield lab


@pytest.fixture(scope="package", autouse=True)
def _independent_examples() -> Iterator[None]:
    """
    Keep Hypothesis from drawing constants that it finds in loaded modules.

    With them, the examples of a seed depend on which other tests were collected: with the whole suite loaded, some planted bugs took
    twelve times as long to find. With a Hypothesis that lacks these names, the fixture has no effect.
    """
    no_constants: Any = vars(providers).get("Constants")
    with pytest.MonkeyPatch.context() as patch:
        if no_constants is not None:
            patch.setattr(providers, "_get_local_constants", no_constants, raising=False)
        yield
