"""Runs the tests with pinned versions: the newest Airflow, the oldest supported one, and one in between."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["newest", "oldest", "between"]
# A session that was skipped must not look like one that passed.
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
NEWEST = "constraints/airflow-3.3.txt"
OLDEST = "constraints/airflow-2.11.txt"
#: The pins of the oldest Airflow, plus the emulator's libraries in the same environment.
OLDEST_EMULATOR = "constraints/airflow-2.11-emulator.txt"
BETWEEN = "constraints/airflow-3.0.txt"
#: Lines from the constraints that Airflow publishes: this package must install and work with exactly these versions.
OFFICIAL = "constraints/airflow-{}-official.txt"
EMULATOR_PYTHON = "AIRFLOW_CLEANROOMSML_EMULATOR_PYTHON"
REAL_ACCOUNT = "AIRFLOW_CLEANROOMSML_AWS"
EVERY_CASE = "AIRFLOW_CLEANROOMSML_EVERY_CASE"
EXAMPLES = "AIRFLOW_CLEANROOMSML_EXAMPLES"
NODE_MODULES = "AIRFLOW_CLEANROOMSML_NODE_MODULES"
PICTURES = "AIRFLOW_CLEANROOMSML_PICTURES"

#: Tests that the version of Airflow can affect, except the longest ones; `nox -s oldest` runs all tests.
QUICK_TESTS = (
    "tests/connection",
    "tests/dags/test_kills.py",
    "tests/dags/test_retries.py",
    "tests/idempotency",
    "tests/operators",
    "tests/sensors",
    "tests/survival",
    "tests/test_exceptions.py",
    "tests/test_hooks.py",
    "tests/test_notifications.py",
    "tests/test_partner_jobs.py",
    "tests/test_links.py",
    "tests/test_provider_info.py",
    "tests/test_retries.py",
    "tests/test_triggers.py",
    "tests/testing/test_clock.py",
    "tests/waiting",
)
#: Tests of code that depends on parts of Airflow that moved between its versions.
BETWEEN_TESTS = (
    "tests/dags/test_kills.py",
    "tests/dags/test_xcom.py",
    "tests/test_triggers.py",
    "tests/test_hooks.py",
    "tests/test_notifications.py",
    "tests/test_partner_jobs.py",
    "tests/test_retries.py",
    "tests/sensors",
)

CHECK_VERSIONS = """
import sys
from importlib.metadata import version

for expected in sys.argv[1:]:
    name, _, wanted = expected.partition("==")
    print(name, version(name))
    if version(name) != wanted:
        sys.exit(f"{name} {wanted} was expected, but {version(name)} is installed")
"""


def oldest_python() -> str:
    """Return a version of Python for Airflow 2.11, which runs on 3.9 to 3.12: the running one if possible."""
    running = sys.version_info[:2]
    return "{}.{}".format(*running) if (3, 10) <= running <= (3, 12) else "3.11"


@nox.session
def newest(session: nox.Session) -> None:
    """Run the tests with the newest Airflow; ``--force-python 3.13`` chooses another Python."""
    _install_for_tests(session)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=oldest_python())
def oldest(session: nox.Session) -> None:
    """Run the tests with Airflow 2.11.0 and packages of its time; the emulator runs in an environment of its own."""
    _older(session, OLDEST, OFFICIAL.format("2.11.0"))


@nox.session(python=oldest_python())
def oldest_quick(session: nox.Session) -> None:
    """Run the tests that the version of Airflow can affect with Airflow 2.11.0: operators, sensors, triggers, the hook, kills, survival."""
    _older(session, OLDEST, OFFICIAL.format("2.11.0"), *QUICK_TESTS)


@nox.session
def between(session: nox.Session) -> None:
    """Run the tests that depend on Airflow itself with Airflow 3.0.6, in which some modules are still where 2.11 has them."""
    _older(session, BETWEEN, OFFICIAL.format("3.0.6"), *BETWEEN_TESTS)


@nox.session(venv_backend="none")
def resolve(session: nox.Session) -> None:
    """Resolve the dependencies with the constraints that Airflow publishes, and with Airflow 3.3.1; installs nothing."""
    compile_pins = (sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet", "--no-python-downloads")
    for official in sorted(ROOT.glob(OFFICIAL.format("*"))):
        against = ("--constraint", str(official), "--python-version", "3.12", "--output-file", os.devnull)
        session.run(*compile_pins, *against, external=True)


def _older(session: nox.Session, pins: str, official: str, *tests: str) -> None:
    """Run tests with a different version of Airflow than the emulator's environment has."""
    emulator_python = os.environ.get(EMULATOR_PYTHON, str(ROOT / ".venv" / "bin" / "python"))
    if not Path(emulator_python).exists():
        target = f"test-{session.name.replace('_', '-')}"
        session.error(
            f"{emulator_python} does not exist: run `make {target}`, which creates it, or set {EMULATOR_PYTHON}"
        )
    test = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "test")
    session.install("--constraint", official, "--constraint", pins, "--editable", ".", *test)
    # With newer versions than these the tests would prove nothing.
    lines = (ROOT / official).read_text(encoding="utf-8").splitlines()
    session.run("python", "-c", CHECK_VERSIONS, *(line for line in lines if not line.startswith("#")))
    # Our own pin: older releases of pytest-xdist start with the files that have the most tests, but the longest files have only one.
    session.install("--no-deps", "--constraint", NEWEST, "pytest-xdist")
    session.run("python", "-m", "pytest", *tests, *session.posargs, env={EMULATOR_PYTHON: emulator_python})


def _install_for_tests(session: nox.Session) -> None:
    dev = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "dev")
    session.install("--constraint", NEWEST, "--editable", ".[demo,emulator]", *dev)


@nox.session
def aws(session: nox.Session) -> None:
    """Run the tests that can run on a real account: docs/real_account.md says what they need, create and cost."""
    _install_for_tests(session)
    switch = {REAL_ACCOUNT: os.environ.get(REAL_ACCOUNT, "1")}
    session.run("python", "-m", "pytest", "-p", "no:xdist", "tests/aws", *session.posargs, env=switch)


@nox.session
def properties(session: nox.Session) -> None:
    """Test "at most one per run" with ten thousand random sequences of events."""
    _install_for_tests(session)
    number = {EXAMPLES: os.environ.get(EXAMPLES, "10000")}
    session.run("python", "-m", "pytest", "-p", "no:xdist", "tests/properties", *session.posargs, env=number)


@nox.session
def survival(session: nox.Session) -> None:
    """Kill the tasks of each operator at every step; `make test` distributes the steps over the operators."""
    _install_for_tests(session)
    test = "tests/survival/test_survival.py"
    session.run("python", "-m", "pytest", "-p", "no:xdist", test, *session.posargs, env={EVERY_CASE: "1"})


@nox.session
def browser(session: nox.Session) -> None:
    """Open the page in Airflow's UI in Chromium, which must be installed, and write the pictures of docs/ui.md."""
    _install_for_tests(session)
    session.run("python", "-m", "pytest", "-p", "no:xdist", "tests/ui", *session.posargs, env={PICTURES: "1"})


@nox.session(python=oldest_python())
@nox.parametrize(("airflow", "date"), [("3.1.8", "2026-03-20"), ("3.2.2", "2026-06-05")], ids=["3.1", "3.2"])
def browser_older(session: nox.Session, airflow: str, date: str) -> None:
    """Open the page in the UI of older versions of Airflow, with packages of their time."""
    test = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "test")
    packages = ("--editable", ".", f"apache-airflow=={airflow}", "playwright", *test)
    session.install("--exclude-newer", date, *packages)
    emulator_python = os.environ.get(EMULATOR_PYTHON, str(ROOT / ".venv" / "bin" / "python"))
    command = ("python", "-m", "pytest", "-p", "no:xdist", "tests/ui", *session.posargs)
    session.run(*command, env={EMULATOR_PYTHON: emulator_python})


@nox.session
def javascript(session: nox.Session) -> None:
    """Call the emulator with the AWS SDK for JavaScript, which parses responses strictly; needs Node.js 20 and npm."""
    _install_for_tests(session)
    folder = ROOT / "build" / "javascript"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "tests" / "javascript" / "package.json", folder)
    install = ("npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")
    session.run(*install, "--prefix", str(folder), external=True)
    where = {NODE_MODULES: str(folder)}
    session.run("python", "-m", "pytest", "-p", "no:xdist", "tests/test_javascript.py", *session.posargs, env=where)


@nox.session(python=oldest_python(), reuse_venv=True)
@nox.parametrize("pins", [NEWEST, OLDEST_EMULATOR], ids=["newest", "oldest"])
def installed(session: nox.Session, pins: str) -> None:
    """Build the wheel, install it with the emulator, and run the project of docs/howto/test_your_dag.md as a user would."""
    with tempfile.TemporaryDirectory() as folder:
        session.run(
            sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, external=True
        )
        (wheel,) = Path(folder).glob("*.whl")
        reinstall = ("--reinstall-package", "airflow-provider-cleanroomsml")
        session.install("--constraint", pins, *reinstall, f"{wheel}[emulator]", "pytest")
        project = Path(folder, "project")
        session.run(sys.executable, "-m", "tools.example_project", str(project), external=True)
        session.chdir(project)
        session.run("python", "-m", "pytest", "-p", "no:cacheprovider", "--durations=0", *session.posargs)


@nox.session(reuse_venv=True)
def image(session: nox.Session) -> None:
    """Install the emulator as its image does, without Airflow, and use it from tests that have Airflow."""
    session.install("--requirement", "deploy/emulator/requirements.txt")
    session.install("--no-deps", "--reinstall-package", "airflow-provider-cleanroomsml", ".")
    session.run("python", "-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec('airflow') is not None)")
    python = str(Path(session.bin) / "python")
    tests = ("tests/test_emulator_image.py", "tests/testing/test_running_emulator.py")
    command = (str(ROOT / ".venv" / "bin" / "python"), "-m", "pytest", "-p", "no:xdist", *tests, *session.posargs)
    session.run(*command, external=True, env={EMULATOR_PYTHON: python})


@nox.session
def request_types(session: nox.Session) -> None:
    """Regenerate the types of nested request members from botocore's model."""
    session.install("--constraint", NEWEST, "--editable", ".")
    session.run("python", "-m", "tools.request_types")


@nox.session
def docs(session: nox.Session) -> None:
    """Regenerate the reference and the pictures in docs/, and build the site."""
    _install_for_tests(session)
    for tool in ("docs", "pictures", "relevance_curve", "site"):
        session.run("python", "-m", f"tools.{tool}")


@nox.session
def linkcheck(session: nox.Session) -> None:
    """Check the external links of the site; needs the internet. The build checks all others."""
    _install_for_tests(session)
    session.run("python", "-m", "tools.site", "linkcheck")


@nox.session
def scaffold(session: nox.Session) -> None:
    """Print a draft of an operator's class: ``nox -s scaffold -- CreateMLInputChannel``."""
    session.install("--quiet", "--constraint", NEWEST, "--editable", ".")
    session.run("python", "-m", "tools.scaffold", *session.posargs)
