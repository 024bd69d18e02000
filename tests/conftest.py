"""Fixtures: one emulator for the session, and a separate account for each test."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.aws.user import save_environment

save_environment()
# Before anything imports Airflow: use a separate home, and remove the user's AWS settings.
for _name in [name for name in os.environ if name.startswith(("AWS_", "AIRFLOW_", "AIRFLOW__"))]:
    if not _name.startswith("AIRFLOW_CLEANROOMSML_"):
        del os.environ[_name]
_home = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ.update(
    AIRFLOW_HOME=_home,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
    AIRFLOW_CONN_AWS_DEFAULT='{"conn_type": "aws"}',
    AWS_DEFAULT_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
)

import pytest

from tests.helpers import process_starter
from tests.helpers.botocore_files import read_once
from tests.helpers.garbage import collect_rarely
from tests.helpers.jinja_templates import compile_once

read_once()
collect_rarely()
compile_once()

# Where the emulator runs in an environment of its own, its libraries are missing here; its own tests run there.
if "AIRFLOW_CLEANROOMSML_EMULATOR_PYTHON" in os.environ:
    collect_ignore = ["emulator", "properties"]

from tests.helpers.custom_models import Studio
from tests.helpers.emulator_starter import start_starter
from tests.helpers.fast_clock import speed_up
from tests.support import EmulatorProcess, World, build_emulator_environment, find_emulator_python, keep_xcoms

#: Files that take long, mostly because they wait for processes: they start first, and the others use the processor meanwhile. If one of
#: them came last, it would run alone.
LONGEST = (
    "dags/test_kills.py",
    "dags/test_retraining.py",
    "dags/test_examples.py",
    "ui/test_page.py",
    "survival/test_airflow.py",
    "dags/test_partner_jobs.py",
    "dags/test_example_lookalike_audience.py",
    "dags/test_confidential.py",
    "dags/test_model_retrained.py",
    "dags/test_lineage.py",
    "test_tutorial.py",
    "test_site.py",
    "survival/test_survival.py",
    "polling/test_subscription.py",
    "polling/test_origin.py",
    "polling/test_mapped_starts.py",
    "test_triggers.py",
    "waiting/test_stopped_jobs.py",
    "operators/test_data_check.py",
    "operators/test_retraining.py",
    "operators/test_xcom.py",
    "operators/test_trained_model.py",
    "test_partner_jobs.py",
    "properties/test_retraining.py",
    "properties/test_planted_faults.py",
    "properties/test_at_most_one.py",
    "testing/test_pytest_plugin.py",
    "test_aws_suite.py",
    "test_typing.py",
    "test_pictures.py",
)

#: Files that share an Airflow: one worker runs all of them.
SHARING = tuple(f"tests/dags/test_{name}.py" for name in ("examples", "iam_policies", "retries", "xcom"))

_STARTER = pytest.StashKey[subprocess.Popen[bytes]]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Start what starts the emulators of all workers; it loads its libraries while they collect the tests."""
    # On macOS, the fork of a process that has loaded numerical libraries may crash.
    if sys.platform == "linux":
        config.stash[_STARTER] = start_starter(find_emulator_python(), build_emulator_environment(), _home)


def pytest_configure(config: pytest.Config) -> None:
    """Launch one process for all workers that starts those of Airflow: it takes seconds of CPU to load what they need."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        os.environ[process_starter.VARIABLE] = process_starter.launch()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out the tests by file, those of :data:`SHARING` as one."""
    scheduler: Any = importlib.import_module("xdist.scheduler").LoadFileScheduling(config, log)
    find_file = scheduler._split_scope

    def find_scope(nodeid: str) -> str:
        file: str = find_file(nodeid)
        return SHARING[0] if file in SHARING else file

    scheduler._split_scope = find_scope
    return scheduler


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests by file, the longest files first."""
    places = {str(Path(__file__).parent / name): place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(str(item.path), len(places)))


def pytest_collection_finish() -> None:
    """Spare the garbage collector the modules and the thousands of collected tests, which last until the end."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Spare pytest's five collections at the end a second: they only provoke warnings, which this project ignores."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _xcoms_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_xcoms(monkeypatch)


@pytest.fixture(scope="session")
def emulator() -> Iterator[EmulatorProcess]:
    """The emulator with small data: a thousandth of the documented minimums."""
    process = EmulatorProcess(
        "--scale", "0.001", "--pending-seconds", "0.1", "--progress-seconds", "0.2", "--delete-seconds", "0.2"
    )
    yield process
    process.stop()


@pytest.fixture(scope="session")
def slow_emulator() -> Iterator[EmulatorProcess]:
    """An emulator whose jobs do not end while a test runs."""
    process = EmulatorProcess("--scale", "0.001", "--pending-seconds", "0", "--progress-seconds", "1000")
    yield process
    process.stop()


def _connect_to(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Point boto3 and the ``aws_default`` connection to an account."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", world.emulator.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", world.account)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return world


@pytest.fixture
def empty_world(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An empty account, which boto3 and the ``aws_default`` connection use."""
    yield _connect_to(World(emulator), monkeypatch)
    emulator.restore_settings()


@pytest.fixture
def world(empty_world: World) -> World:
    """An account with a bucket and a Glue table of 2,000 interactions."""
    return empty_world.build()


@pytest.fixture
def slow_world(slow_emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Such an account in the slow emulator."""
    yield _connect_to(World(slow_emulator), monkeypatch).build()
    slow_emulator.restore_settings()


@pytest.fixture
def empty_moto() -> None:
    """Empty S3, Glue and IAM of emulators in this process: they share moto's data, and the sample's accounts are always the same."""
    from airflow_cleanroomsml.emulator.server import Emulator

    with Emulator() as emulator:
        urlopen(Request(f"{emulator.url}/moto-api/reset", method="POST")).close()


@pytest.fixture
def studio(empty_world: World) -> Studio:
    """A member who may query, in the fast emulator; ``aws_default`` uses its account."""
    return Studio(empty_world)


@pytest.fixture
def slow_studio(slow_emulator: EmulatorProcess, slow_world: World) -> Studio:
    """Such a member in the emulator whose jobs do not end."""
    return Studio(slow_world)


@pytest.fixture
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the package's pauses and time-outs ten times shorter."""
    speed_up(monkeypatch)
