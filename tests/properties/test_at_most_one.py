"""A run of a task has at most one live resource after any events; ``nox -s properties`` runs ten thousand examples."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.examples import build_settings
from tests.properties.observed_emulator import Laboratory
from tests.properties.state_machine import build_machine


@pytest.mark.timeout(0)
def test_run_has_at_most_one_live_resource(laboratory: Laboratory, capsys: pytest.CaptureFixture[str]) -> None:
    machine, started_at = build_machine(laboratory), time.monotonic()
    machine.done.clear()
    try:
        run_state_machine_as_test(machine, settings=build_settings())
    finally:
        counts = ", ".join(f"{number} {noun}" for noun, number in machine.done.items())
        with capsys.disabled():
            sys.stdout.write(f"\n{counts} in {time.monotonic() - started_at:.0f} s\n")
