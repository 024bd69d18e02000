"""The pytest plugin in runs of their own: what it loads, its options, and the page that shows how to use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_cleanroomsml.testing import RunningEmulator
from tools.example_project import PAGE, read_files

EMULATOR_ELSEWHERE = "AIRFLOW_CLEANROOMSML_EMULATOR_PYTHON" in os.environ
TRAIN = """
from tests.testing.lookalike import INTERACTIONS, describe_model, train

def test_train(cleanroomsml):
    model = train(cleanroomsml.account, cleanroomsml.put_table("interactions", INTERACTIONS))
    assert describe_model(cleanroomsml.account, model) == ("ACTIVE", "")
"""


def run_pytest(folder: Path, test: str, *options: str, ini: str = "") -> str:
    """Run a test in a folder and a process of its own, and return what pytest prints."""
    (folder / "test_it.py").write_text(test)
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-s", *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_the_plugin_loads_nothing_before_a_test_uses_it(tmp_path: Path) -> None:
    test = "import sys\ndef test_it():\n    print('loaded:', *sys.modules)\n"

    def list_modules(*options: str) -> set[str]:
        (line,) = (line for line in run_pytest(tmp_path, test, *options).splitlines() if line.startswith("loaded:"))
        return set(line.split()[1:])

    added = list_modules() - list_modules("-p", "no:cleanroomsml")
    assert added == {"airflow_cleanroomsml", "airflow_cleanroomsml.pytest_plugin"}


def test_accounts_and_region_are_options(cleanroomsml: RunningEmulator, tmp_path: Path) -> None:
    test = """
import os
def test_it(cleanroomsml):
    print("used:", cleanroomsml.account.id, cleanroomsml.partner.id, os.environ["AWS_DEFAULT_REGION"], cleanroomsml.endpoint_url)
"""
    ini = f"""
cleanroomsml_account = 111122223333
cleanroomsml_partner_account = 444455556666
cleanroomsml_region = eu-west-1
cleanroomsml_emulator_url = {cleanroomsml.endpoint_url}
"""
    printed = run_pytest(tmp_path, test, ini=ini)
    assert f"used: 111122223333 444455556666 eu-west-1 {cleanroomsml.endpoint_url}\n" in printed


def test_the_command_line_overrides_the_file(cleanroomsml: RunningEmulator, tmp_path: Path) -> None:
    url = ("--cleanroomsml-emulator-url", cleanroomsml.endpoint_url)
    assert "1 passed" in run_pytest(tmp_path, TRAIN, *url, ini="cleanroomsml_emulator_url = http://127.0.0.1:1")


def test_workers_cannot_share_an_emulator(tmp_path: Path) -> None:
    printed = run_pytest(tmp_path, TRAIN, "-n", "1", "--cleanroomsml-emulator-url", "http://127.0.0.1:5055")
    assert "workers of pytest-xdist cannot share the emulator at http://127.0.0.1:5055" in printed


@pytest.mark.parametrize(
    ("ini", "message"),
    [
        ("cleanroomsml_emulator_url = http://[::1", "The URL of the emulator is 'http://[::1'; must be like http://"),
        ("cleanroomsml_emulator_url = http://127.0.0.1:1", "The emulator cannot be reached at http://127.0.0.1:1: "),
        ("cleanroomsml_account = 1234", "cleanroomsml_account is '1234'; must be 12 digits"),
        ("cleanroomsml_partner_account = abc", "cleanroomsml_partner_account is 'abc'; must be 12 digits"),
    ],
)
def test_an_invalid_option_is_explained_without_a_traceback(tmp_path: Path, ini: str, message: str) -> None:
    printed = run_pytest(tmp_path, TRAIN, ini=ini)
    assert f"\n{message}" in printed
    assert "During handling" not in printed
    assert "airflow_cleanroomsml/" not in printed


@pytest.mark.skipif(EMULATOR_ELSEWHERE, reason="the libraries of the emulator are not installed")
@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_an_emulator_runs_in_the_process_even_if_warnings_are_errors(tmp_path: Path, options: tuple[str, ...]) -> None:
    printed = run_pytest(tmp_path, TRAIN + TRAIN.replace("test_train", "test_again"), "-W", "error", *options)
    assert "2 passed" in printed, printed


def test_the_page_shows_a_whole_project() -> None:
    files = read_files(PAGE.read_text(encoding="utf-8"))
    assert sorted(files) == ["conftest.py", "dags/weekly_audience.py", "test_weekly_audience.py"]
    for name, code in files.items():
        compile(code, name, "exec")


def test_page_names_every_member_of_the_fixture() -> None:
    page = PAGE.read_text(encoding="utf-8")
    public = [name for name in vars(RunningEmulator) if not name.startswith("_") and name not in ("use", "reset")]
    assert [name for name in public if f"`{name}" not in page and f"`{name}(" not in page] == []
