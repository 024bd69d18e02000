"""The tutorial, typed off the page: its commands run in a shell, in order, and end with an audience."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("moto", reason="only the emulator's environment has it")

from airflow_cleanroomsml.emulator.__main__ import _SAMPLE_USERS
from tests.helpers.deployment import ROOT

PAGE = ROOT / "docs" / "tutorial.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
COMMANDS = [text for language, text in BLOCKS if language == "sh"]
(DAG,) = [text for language, text in BLOCKS if language == "python"]
INSTALL, START, SET_UP, RUN, LOOK = COMMANDS
#: What the last two print.
PRINTED = [text for language, text in BLOCKS if language == "text"]


def clean_environment() -> dict[str, str]:
    """What a new terminal has, with the virtual environment of the tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": os.environ.get("HOME", "/"), "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of somebody who has typed the commands up to the first run."""
    folder = tmp_path_factory.mktemp("tutorial")
    # The first terminal. A free port, because the default one may be in use on this machine.
    start = START.strip().replace("--with-sample", "--with-sample --port 0")
    with subprocess.Popen(["sh", "-c", f"exec {start}"], cwd=folder, env=clean_environment()) as emulator:
        written = folder / "sample.sh"
        while not (
            written.is_file() and written.read_text().rstrip().endswith("'") and "# Then run" in written.read_text()
        ):
            assert emulator.poll() is None, "the emulator has ended"
            time.sleep(0.1)
        yield folder
        emulator.terminate()


def run_in_second_terminal(folder: Path, *commands: str) -> str:
    script = "\n".join(["set -e", *commands])
    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout + done.stderr


def test_what_is_installed_exists() -> None:
    assert re.findall(r"'(.+)'", INSTALL) == [".[emulator]"]
    assert re.search(r"^emulator = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_says_how_large_the_sample_is() -> None:
    assert f"the interactions of {_SAMPLE_USERS:,} users" in PAGE.read_text(encoding="utf-8")


def test_the_commands_lead_to_an_audience(folder: Path) -> None:
    run_in_second_terminal(folder, SET_UP)
    (folder / "airflow" / "dags" / "first_audience.py").write_text(DAG, encoding="utf-8")
    # A new shell does not remember what the one before exported.
    variables = "\n".join(line for line in SET_UP.splitlines() if line.startswith((".", "export")))
    printed = run_in_second_terminal(folder, variables, RUN)
    assert "success" in printed
    assert [line for line in PRINTED[0].splitlines() if normalize(line) not in normalize(printed)] == []
    found = run_in_second_terminal(folder, variables, LOOK)
    assert [normalize(line) for line in found.splitlines() if line.startswith("audiences/")] == [
        normalize(PRINTED[1].strip())
    ]


def normalize(text: str) -> str:
    """
    Remove what differs from run to run: identifiers, the figures of a training, and how long each status lasted.

    A slow machine does not see all statuses, and a task that sees only the last one logs no durations.
    """
    text = re.sub(r" after \d+ s\b", "", re.sub(r" \(CREATE_\w+ for [^)]*\)", "", text))
    return re.sub(r"-?\d+(\.\d+)?", "N", re.sub(r"…|[0-9a-f]{12}\b|[0-9a-f-]{36}(/[0-9a-f-]{36})?", "ID", text))
