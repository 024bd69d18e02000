"""The emulator of the fixture ``cleanroomsml``: where the emulator's libraries are missing, it runs in an environment of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from airflow_cleanroomsml.testing import RunningEmulator
from tests.support import EmulatorProcess

if "AIRFLOW_CLEANROOMSML_EMULATOR_PYTHON" in os.environ:

    @pytest.fixture(scope="session")
    def _cleanroomsml_emulator() -> Iterator[RunningEmulator]:
        process = EmulatorProcess()
        yield RunningEmulator(process.url)
        process.stop()
