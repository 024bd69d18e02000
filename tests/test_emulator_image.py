"""The emulator's image: the files that it copies exist, its pins are tested versions, and its command starts the emulator."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

pytest.importorskip("nox", reason="the older sessions have no nox")
from tools.emulator_requirements import list_requirements

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "emulator"
#: The lines of the Dockerfile, split into the instruction and its arguments.
STEPS = [line.split(maxsplit=1) for line in (FOLDER / "Dockerfile").read_text().splitlines() if line[:1].isalpha()]
COMPOSE: Any = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["emulator"]


def find_arguments(instruction: str) -> list[str]:
    return [rest for name, rest in STEPS if name == instruction]


def read_pins(path: Path) -> dict[str, set[str]]:
    """Read the pinned versions of each package; there may be one for each version of Python."""
    pins: dict[str, set[str]] = {}
    for line in path.read_text().splitlines():
        name, _, version = line.partition(" ;")[0].partition("==")
        pins.setdefault(name.strip(), set()).add(version.strip())
    return pins


def test_copied_files_exist() -> None:
    copied = [source for line in find_arguments("COPY") for source in line.split()[:-1]]
    assert [source for source in copied if not (ROOT / source).exists()] == []
    # hatchling reads these when it builds the package.
    project = (ROOT / "pyproject.toml").read_text()
    required = [*re.findall(r'^readme = "(.+)"$', project, re.MULTILINE), "LICENSE", "NOTICE", "pyproject.toml"]
    assert [name for name in required if name not in copied] == []


def test_only_pins_are_installed() -> None:
    first, second = find_arguments("RUN")
    assert first.split()[-2:] == ["--requirement", "requirements.txt"]
    assert "--no-deps" in second.split()


def test_pins_are_tested_versions() -> None:
    tested = read_pins(ROOT / "constraints" / "airflow-3.3.txt")
    pins = read_pins(FOLDER / "requirements.txt")
    assert {name: versions for name, versions in pins.items() if not versions <= tested.get(name, set())} == {}


def test_pins_satisfy_requirements_without_airflow() -> None:
    pins = read_pins(FOLDER / "requirements.txt")
    missing = [
        requirement
        for requirement in map(Requirement, list_requirements())
        if not all(map(requirement.specifier.contains, pins.get(requirement.name, {"0"})))
    ]
    assert missing == []
    assert [name for name in pins if "airflow" in name] == []


def test_compose_builds_this_image() -> None:
    context = (FOLDER / COMPOSE["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / COMPOSE["build"]["dockerfile"]) == FOLDER / "Dockerfile"
    assert [port.rpartition(":")[2] for port in COMPOSE["ports"]] == find_arguments("EXPOSE")


def test_entry_point_starts_and_stops_emulator() -> None:
    (entry_point,) = map(json.loads, find_arguments("ENTRYPOINT"))
    python = os.environ.get("AIRFLOW_CLEANROOMSML_EMULATOR_PYTHON", sys.executable)
    command = [python, *entry_point[1:], *COMPOSE["command"], "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tempfile.gettempdir()) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip().removeprefix("AWS_ENDPOINT_URL=")
            for host in ("127.0.0.1", *COMPOSE["command"][1:2]):
                request = urllib.request.Request(f"{url}/_emulator/health", headers={"Host": f"{host}:5055"})
                with urllib.request.urlopen(request) as response:
                    assert json.load(response) == {"status": "ok"}
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_the_health_check_calls_the_emulator() -> None:
    (check,) = find_arguments("HEALTHCHECK")
    code = json.loads(check.removeprefix("CMD "))[2]
    (port,) = find_arguments("EXPOSE")
    assert f"http://127.0.0.1:{port}/_emulator/health" in code
    compile(code, "HEALTHCHECK", "exec")


def test_the_page_shows_the_commands_of_the_image() -> None:
    text = (ROOT / "docs" / "emulator_image.md").read_text(encoding="utf-8")
    assert f"--requirement {FOLDER.relative_to(ROOT)}/requirements.txt" in text
    assert "pip install --no-deps ." in text
