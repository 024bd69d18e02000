"""The tutorial's commands, run in a shell in the order of the page, produce an audience."""

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
#: The output of the last two.
OUTPUTS = [text for language, text in BLOCKS if language == "text"]


def build_environment() -> dict[str, str]:
    """Build the environment of a new terminal in which the virtual environment of the tests is active."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": os.environ.get("HOME", "/"), "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a reader who has started the emulator in the first terminal."""
    folder = tmp_path_factory.mktemp("tutorial")
    # The first terminal, with a free port, because the default one may be in use on this machine.
    start = START.strip().replace("--with-sample", "--with-sample --port 0")
    with subprocess.Popen(["sh", "-c", f"exec {start}"], cwd=folder, env=build_environment()) as emulator:
        sample = folder / "sample.sh"
        while not (
            sample.is_file() and sample.read_text().rstrip().endswith("'") and "# Then run" in sample.read_text()
        ):
            assert emulator.poll() is None, "the emulator has ended"
            time.sleep(0.1)
        yield folder
        emulator.terminate()


def run_in_second_terminal(folder: Path, *commands: str) -> str:
    script = "\n".join(["set -e", *commands])
    completed = subprocess.run(
        ["sh", "-c", script], cwd=folder, env=build_environment(), capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stdout[-5000:] + completed.stderr[-5000:]
    return completed.stdout + completed.stderr


def test_installed_extra_exists() -> None:
    assert re.findall(r"'(.+)'", INSTALL) == [".[emulator]"]
    assert re.search(r"^emulator = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)


def test_page_states_size_of_the_sample() -> None:
    assert f"the interactions of {_SAMPLE_USERS:,} users" in PAGE.read_text(encoding="utf-8")


def test_commands_produce_an_audience(folder: Path) -> None:
    run_in_second_terminal(folder, SET_UP)
    (folder / "airflow" / "dags" / "first_audience.py").write_text(DAG, encoding="utf-8")
    # A new shell does not have the variables that the previous one exported.
    variables = "\n".join(line for line in SET_UP.splitlines() if line.startswith((".", "export")))
    output = run_in_second_terminal(folder, variables, RUN)
    assert "success" in output
    assert [line for line in OUTPUTS[0].splitlines() if normalize(line) not in normalize(output)] == []
    listing = run_in_second_terminal(folder, variables, LOOK)
    assert [normalize(line) for line in listing.splitlines() if line.startswith("audiences/")] == [
        normalize(OUTPUTS[1].strip())
    ]


def normalize(text: str) -> str:
    """
    Remove what differs from run to run: identifiers, the figures of a training, and how long each status lasted.

    A slow machine does not see all statuses, and a task that sees only the last one logs no durations.
    """
    text = re.sub(r" after \d+ s\b", "", re.sub(r" \(CREATE_\w+ for [^)]*\)", "", text))
    return re.sub(r"-?\d+(\.\d+)?", "N", re.sub(r"…|[0-9a-f]{12}\b|[0-9a-f-]{36}(/[0-9a-f-]{36})?", "ID", text))
