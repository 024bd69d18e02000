"""
``python -m tests.helpers.process_starter SOCKET``: start processes of Airflow, with what they import loaded already.

A component takes 4 s of CPU to import what it needs, an API server 6 s, and the tests start thirty of them. All workers of a test run
share this process. It has imported the libraries of Airflow, and forks an :class:`Image`: a process that has loaded Airflow as well. The
image forks each component.

Airflow reads much of its configuration when it is imported. An image therefore notes which settings Airflow has read, and starts only
processes for which these have the same values; for others there is another image. What differs between all deployments, such as
``AIRFLOW_HOME``, is read again in the new process (:func:`_configure`). No image has a connection to a database, a log file or a thread.

Each connection to the socket brings one order, a line: the module and its arguments, the environment variables, the folder to start in,
and the file for what is printed. The answer is a line with the process id.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
#: Names the socket of a starter that several processes share.
VARIABLE = "AIRFLOW_CLEANROOMSML_STARTER"
#: Whether images load Airflow; how to configure other versions after that has not been tried.
LOADS_AIRFLOW = tuple(map(int, version("apache-airflow").split(".")[:2])) >= (3, 3)
#: Libraries of Airflow, by the time that they take; versions of Airflow lack some of them.
LIBRARIES = (
    "sqlalchemy.orm",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.ext.asyncio",
    "fastapi",
    "alembic.command",
    "svcs",
    "libcst",
    "cadwyn",
    "httpx",
    "arrow",
    "jwt",
    "starlette.testclient",
    "rich.console",
    "rich.traceback",
    "jsonschema",
    # These two copy all environment variables: if Airflow imported them, an image would take that for reading all settings.
    "fsspec",
    "croniter",
    "opentelemetry.sdk.trace",
    "pendulum",
    "dill",
    "uvicorn.protocols.http.auto",
    "yaml",
    "structlog",
    "msgspec",
    "cryptography.fernet",
    "aiosqlite",
    "jinja2",
    # Those of tasks.
    "boto3.session",
    "botocore.client",
    "botocore.httpsession",
    "s3transfer.manager",
    "requests",
    "slugify",
    "jinja2.ext",
    # Those of Airflow 2.
    "flask",
    "flask_appbuilder",
    "connexion",
)
#: What components and tasks import of Airflow.
MODULES = (
    "airflow.cli.commands.dag_processor_command",
    "airflow.cli.commands.scheduler_command",
    "airflow.executors.local_executor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.api_fastapi.core_api.app",
    "airflow.api_fastapi.core_api.routes.public",
    "airflow.api_fastapi.core_api.routes.ui",
    "airflow.api_fastapi.execution_api.routes",
    "airflow.api_fastapi.auth.managers.simple.simple_auth_manager",
    "airflow.serialization.serialized_objects",
    "airflow.providers.standard.operators.empty",
    "airflow.providers.amazon.aws.hooks.base_aws",
    "airflow_cleanroomsml.operators",
    "airflow_cleanroomsml.sensors",
    "airflow_cleanroomsml.triggers",
    "airflow_cleanroomsml.hooks",
)
#: ``AIRFLOW_HOME`` of images.
HOME = "/home-of-no-airflow"
#: Settings that a process reads again, with what belongs to them.
READ_AGAIN = (
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__CORE__DAGS_FOLDER",
    "AIRFLOW__CORE__EXECUTOR",
    "AIRFLOW__API__BASE_URL",
    "AIRFLOW__API__PORT",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD",
    "AIRFLOW__SECRETS__BACKEND",
    "AIRFLOW__SECRETS__BACKEND_KWARGS",
)
#: Modules that read some of these, and that a process therefore imports again.
IMPORTED_AGAIN = (
    "airflow.cli.cli_config",
    "airflow.cli.commands.scheduler_command",
    "airflow.jobs.scheduler_job_runner",
    "airflow.jobs.triggerer_job_runner",
)


class Starter:
    """
    A client of such a process.

    :param path: Its socket.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def start(self, module: list[str], environment: dict[str, str], folder: Path, log: Path) -> psutil.Process:
        """Start ``python -m …`` in a separate process group; what it prints is appended to a file."""
        order = {"module": module, "environment": environment, "folder": str(folder), "log": str(log)}
        with socket.socket(socket.AF_UNIX) as connected:
            connected.connect(self._path)
            return psutil.Process(int(_ask(connected, order)))


def _ask(connected: socket.socket, order: dict[str, Any]) -> str:
    with connected.makefile("rw") as lines:
        lines.write(json.dumps(order) + "\n")
        lines.flush()
        return lines.readline()


def launch() -> str:
    """Launch a starter, which ends with this process, and return its socket; the processes that it has started keep running."""
    folder = tempfile.mkdtemp(prefix="starter-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = f"{folder}/socket"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.process_starter", path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    # Printed once it listens.
    assert process.stdout.readline() == "ready\n"
    _launched.append(process)
    return path


#: Keeps the standard input of the starters open.
_launched: list[subprocess.Popen[str]] = []


@cache
def find_starter() -> Starter:
    """Return the starter that the processes of a test run share, or one of this process."""
    return Starter(os.environ.get(VARIABLE) or launch())


class Image:
    """
    A process that has loaded Airflow.

    :param connected: Leads to it.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._lines = connected.makefile("rw")
        connected.close()
        self._settings: dict[str, str | None] = json.loads(self._lines.readline())

    def fits(self, environment: dict[str, str]) -> bool:
        """Return whether the settings that Airflow has read have the same values in an environment."""
        return all(environment.get(name) == value for name, value in self._settings.items())

    def start(self, order: str) -> str:
        """Pass an order on, and return the answer."""
        self._lines.write(order)
        self._lines.flush()
        return self._lines.readline()

    def forget(self) -> None:
        """Close the connection in a fork, which would keep the process alive otherwise."""
        self._lines.close()


def _serve(path: str) -> tuple[socket.socket, dict[str, str]] | None:
    """Answer orders until standard input ends; in the process of a new image, return its connection and environment."""
    images: list[Image] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            readable, _, _ = select.select([sys.stdin, listening], [], [])
            if sys.stdin in readable:
                return None
            connected, _ = listening.accept()
            with connected, connected.makefile("rw") as lines:
                order = lines.readline()
                environment: dict[str, str] = json.loads(order)["environment"]
                image = next((image for image in images if image.fits(environment)), None)
                if image is None:
                    _load_libraries()
                    ours, theirs = socket.socketpair()
                    if os.fork() == 0:
                        for other in images:
                            other.forget()
                        ours.close()
                        return theirs, environment
                    theirs.close()
                    image = Image(ours)
                    images.append(image)
                lines.write(image.start(order))


def _load_libraries() -> None:
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _load(environment: dict[str, str]) -> dict[str, str | None]:
    """Load Airflow in an environment, and return the settings that it has read, with their values."""
    names: set[str] = set()
    environ: Any = os.environ
    encode = environ.encodekey

    def encode_and_note(name: str) -> Any:
        names.add(name)
        return encode(name)

    os.environ.clear()
    os.environ.update({name: value for name, value in environment.items() if name not in READ_AGAIN})
    # With the second, importing Airflow neither connects to a database nor opens logs.
    os.environ.update({"AIRFLOW_HOME": HOME, "_AIRFLOW__AS_LIBRARY": "1"})
    environ.encodekey = encode_and_note
    for name in MODULES:
        importlib.import_module(name)
    _build_execution_api()
    environ.encodekey = encode
    for name in IMPORTED_AGAIN:
        package, _, module = name.rpartition(".")
        del sys.modules[name]
        delattr(sys.modules[package], module)
    return {
        name: os.environ.get(name) for name in sorted(names) if name.startswith("AIRFLOW__") and name not in READ_AGAIN
    }


def _build_execution_api() -> None:
    """
    Build the API that tasks and triggers call, for the API server, the triggerer or the runner of Dags that this process will become.

    Each of them builds it for 2 s of CPU, the same way every time: only the lifespan is its own.
    """
    from airflow.api_fastapi import app as server
    from airflow.api_fastapi.execution_api import app as execution_api

    create: Any = execution_api.create_task_execution_api_app
    lifespans: list[Any] = []

    def enter_lifespan(app: Any) -> Any:
        return lifespans[0](app)

    built = create(lifespan=enter_lifespan)
    # Otherwise the first request does this.
    built._cadwyn_initialize()

    def create_once(lifespan: Any = execution_api.lifespan) -> Any:
        if lifespans:
            return create(lifespan)
        lifespans.append(lifespan)
        return built

    for module in (server, execution_api):
        vars(module)["create_task_execution_api_app"] = create_once


def _configure() -> None:
    """Configure Airflow, which is loaded, as if it had been imported with the present environment."""
    from airflow import configuration, settings
    from airflow.api_fastapi import app
    from airflow.sdk import configuration as sdk_configuration

    configuration.AIRFLOW_HOME = configuration.get_airflow_home()
    configuration.AIRFLOW_CONFIG = configuration.get_airflow_config(configuration.AIRFLOW_HOME)
    for module in (configuration, sdk_configuration):
        # Many modules have imported the object.
        vars(module)["conf"].__dict__ = module.initialize_config().__dict__
    configuration.SECRET_KEY = os.urandom(16).hex()
    configuration.secrets_backend_list = configuration.initialize_secrets_backends()
    configuration.conf.validate()
    app.API_BASE_URL = configuration.conf.get("api", "base_url").rstrip("/") + "/"
    _replace_values(
        {
            HOME: configuration.AIRFLOW_HOME,
            f"{HOME}/dags": configuration.conf.get("core", "dags_folder"),
            f"{HOME}/plugins": f"{configuration.AIRFLOW_HOME}/plugins",
            f"sqlite:///{HOME}/airflow.db": configuration.conf.get("database", "sql_alchemy_conn"),
        }
    )
    settings.initialize()


def _replace_values(values: dict[str, str]) -> None:
    """Replace what modules have computed from :data:`HOME`."""
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()):
            if isinstance(value, str) and HOME in value and vars(module) is not globals():
                setattr(module, name, values[value])


def _run_image(connected: socket.socket, environment: dict[str, str]) -> dict[str, Any] | None:
    """Start what is requested until the connection ends; in a new process, return its order."""
    settings = _load(environment) if LOADS_AIRFLOW else {}
    # A collection would write to the memory that the components share with this process.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, _reap)
    with connected, connected.makefile("rw") as lines:
        answer = json.dumps(settings)
        while True:
            lines.write(f"{answer}\n")
            lines.flush()
            line = lines.readline()
            if not line:
                return None
            child = os.fork()
            if child == 0:
                order: dict[str, Any] = json.loads(line)
                return order
            answer = str(child)


def _become(order: dict[str, Any]) -> None:
    """Run the module in this process, as Python would have started it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, log, log)):
        os.dup2(file, number)
    os.closerange(3, 100)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    # As for ``python -m``: the folder, and what the variable names.
    sys.path[0:1] = [order["folder"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    name, *arguments = order["module"]
    sys.argv = [name, *arguments]
    if LOADS_AIRFLOW:
        _configure()
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _reap(*_: Any) -> None:
    """Reap components that have ended, so that whoever waits for one sees that it is gone."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main(path: str) -> None:
    """Start what is requested."""
    image = _serve(path)
    if image is None:
        # Here too, because the process that launched this one may have been killed.
        shutil.rmtree(Path(path).parent, ignore_errors=True)
    elif order := _run_image(*image):
        _become(order)


if __name__ == "__main__":
    main(sys.argv[1])
