"""The emulator accepts every request that the state machine sends."""

from __future__ import annotations

import pytest

from tests.properties.observed_emulator import Laboratory
from tests.properties.operator_cases import KINDS, Kind
from tests.properties.task_try import Task, attempt

REQUESTS = [
    pytest.param(kind, variant, id=f"{name}-{variant}")
    for name, kind in KINDS.items()
    for variant in range(kind.variants)
]


@pytest.mark.parametrize(("kind", "variant"), REQUESTS)
def test_emulator_accepts_request(laboratory: Laboratory, kind: Kind, variant: int) -> None:
    laboratory.begin(unique_names=True, pending_seconds=1, progress_seconds=5, delete_seconds=2)
    waits = {"wait_for_completion": False} if kind.waits else {}
    outcome = attempt(
        laboratory, kind, Task("run", 0, None), {**kind.build_arguments(laboratory, "m", variant), **waits}, None
    )
    assert outcome.error is None
