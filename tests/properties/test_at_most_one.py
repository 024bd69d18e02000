"""A task makes at most one of what a run asks for; ``nox -s properties`` tries ten thousand examples."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.examples import chosen
from tests.properties.observed_emulator import Laboratory
from tests.properties.state_machine import machine_in


@pytest.mark.timeout(0)
def test_at_most_one_is_live_whatever_happens(laboratory: Laboratory, capsys: pytest.CaptureFixture[str]) -> None:
    machine, began = machine_in(laboratory), time.monotonic()
    machine.done.clear()
    try:
        run_state_machine_as_test(machine, settings=chosen())
    finally:
        done = ", ".join(f"{number} {what}" for what, number in machine.done.items())
        with capsys.disabled():
            sys.stdout.write(f"\n{done} in {time.monotonic() - began:.0f} s\n")
