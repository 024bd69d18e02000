"""The processes that start others for the tests: what happens when they end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import emulator_starter, process_starter


def test_ended_starter_of_emulators_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Restored after the test: it is the starter of the test run, if there is one.
    monkeypatch.setenv(emulator_starter.SOCKET, "")
    starter = emulator_starter.start_starter("/bin/false", {}, str(tmp_path))
    starter.wait(60)
    with pytest.raises(RuntimeError, match="process that starts emulators for this test run has ended"):
        emulator_starter.ForkedProcess(["airflow_cleanroomsml.emulator"], {}, str(tmp_path))


def test_starter_removes_its_folder_when_its_parent_ends(tmp_path: Path) -> None:
    folder = tmp_path / "starter"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.helpers.process_starter", str(folder / "socket")]
    with subprocess.Popen(
        command, cwd=process_starter.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
        assert folder.exists()
    assert not folder.exists()
