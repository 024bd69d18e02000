"""The emulator's process never loads Airflow, and loads numerical libraries only when a job runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.helpers.collaboration import collaborate
from tests.support import RunningEmulator, World

#: Importing Airflow, or the numerical libraries of the jobs, takes longer than importing all else that the emulator needs.
AIRFLOW, NUMERICAL = {"airflow"}, {"numpy", "pandas", "pyarrow", "scipy", "sklearn"}
_SERVE = """
import sys
from airflow_cleanroomsml.emulator.__main__ import main
from airflow_cleanroomsml.emulator.server import Emulator
from airflow_cleanroomsml.emulator.settings import Settings

with Emulator(Settings(scale=0.001, pending_seconds=0, progress_seconds=0)) as emulator:
    print(emulator.url, flush=True)
    for _ in sys.stdin:
        print(*{name.partition(".")[0] for name in sys.modules}, flush=True)
"""


class InspectedEmulator(RunningEmulator):
    """An emulator in a fresh interpreter, which reports the packages that it has loaded."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.url = self._read_line()

    def _read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    @property
    def packages(self) -> set[str]:
        """Packages that the emulator has loaded so far."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        return set(self._read_line().split())

    def stop(self) -> None:
        self.process.communicate(timeout=120)


@pytest.fixture
def inspected_emulator() -> Iterator[InspectedEmulator]:
    emulator = InspectedEmulator()
    yield emulator
    emulator.stop()


def test_airflow_and_numerical_libraries_are_not_loaded_before_first_job(inspected_emulator: InspectedEmulator) -> None:
    assert inspected_emulator.packages & (AIRFLOW | NUMERICAL) == set()
    world = World(inspected_emulator).build()
    collaborate(world, World(inspected_emulator))
    world.create_dataset()
    world.add_fault("ListAudienceModels", "throttle")
    assert world.ml.list_audience_models()["audienceModels"] == []
    assert "moto" in inspected_emulator.packages
    assert inspected_emulator.packages & (AIRFLOW | NUMERICAL) == set()

    job = world.generate_audience()
    world.ml.start_audience_export_job(
        name="export", audienceGenerationJobArn=job, audienceSize={"type": "PERCENTAGE", "value": 10}
    )
    assert {"pyarrow", "sklearn"} <= inspected_emulator.packages
    assert inspected_emulator.packages & AIRFLOW == set()


def test_only_the_engine_imports_numerical_libraries() -> None:
    code = """
import pkgutil, sys
from importlib import import_module
for name in ("airflow_cleanroomsml._requests", "airflow_cleanroomsml.emulator", "airflow_cleanroomsml.emulator.backend"):
    for module in pkgutil.iter_modules(import_module(name).__path__, name + "."):
        import_module(module.name)
print(*{name.partition(".")[0] for name in sys.modules})
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(process.stdout.split()) & (AIRFLOW | NUMERICAL) == set()
