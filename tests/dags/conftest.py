"""An Airflow without a scheduler; the Dags of several test files run in it, one after the other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.deployment import ROOT, Deployment
from tests.support import EmulatorProcess

FILES = Path(__file__).parent / "files"
DAGS = (*(ROOT / "example_dags").glob("*.py"), FILES / "failing.py", FILES / "retries.py")


@pytest.fixture(scope="session")
def airflow(emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """An Airflow that uses the emulator; each run sets its connections."""
    folder = tmp_path_factory.mktemp("dags")
    for file in DAGS:
        shutil.copy(file, folder)
    return Deployment(
        tmp_path_factory.mktemp("airflow"),
        AWS_ENDPOINT_URL=emulator.url,
        AWS_DEFAULT_REGION="us-east-1",
        AIRFLOW__CORE__DAGS_FOLDER=str(folder),
    )
