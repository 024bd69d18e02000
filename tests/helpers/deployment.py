"""A real Airflow with its own home: database, scheduler, triggerer, and on 3.x API server and Dag processor."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from airflow import __version__ as airflow_version

from tests.helpers.process_starter import find_starter
from tests.support import World

ROOT = Path(__file__).parents[2]
IS_3 = not airflow_version.startswith("2.")
#: Whether components are forked. With 2.11 this was tried together with rare garbage collection, and the scheduler did not start the Dag of
#: an asset alias; with 3.0 it has not been tried.
FORKS = not airflow_version.startswith(("2.", "3.0."))


def format_connection(world: World) -> str:
    """An Airflow connection to an account."""
    return json.dumps({"conn_type": "aws", "login": world.account, "password": "secret"})


def find_free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _copy(source: Path, target: Path) -> None:
    with contextlib.closing(sqlite3.connect(source)) as old, contextlib.closing(sqlite3.connect(target)) as new:
        old.backup(new)


#: The folders of Dags, which Airflow 3 reads anew for each run of ``dag.test()``.
BUNDLES = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"


def _select_settings(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith("AIRFLOW__") and name != BUNDLES}


def _build_bundle(dag_file: Path, folder: Path) -> str:
    """The configuration of a bundle that has one file."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(dag_file, folder)
    path = "airflow.dag_processing.bundles.local.LocalDagBundle"
    return json.dumps([{"name": "dags-folder", "classpath": path, "kwargs": {"path": str(folder)}}])


class Runner:
    """
    A process that has imported Airflow and runs one Dag after the other; it ends with the tests.

    :param environment: Its environment variables.
    :param log: File for what it prints while it runs no Dag.
    """

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._settings = _select_settings(environment)
        with socket.create_server(("127.0.0.1", 0)) as server:
            # The process connects at once, before it imports anything.
            server.settimeout(60)
            module = ["tests.helpers.dag_runner", str(server.getsockname()[1])]
            find_starter().start(module, environment, ROOT, log)
            connected, _ = server.accept()
        connected.settimeout(None)
        self._orders = connected.makefile("w")
        self._answers = connected.makefile("r")

    def is_configured_for(self, environment: dict[str, str]) -> bool:
        """Return whether an Airflow with this environment has the same configuration, most of which is read on import."""
        return self._settings == _select_settings(environment)

    def run(self, arguments: list[str], log: Path, environment: dict[str, str]) -> int:
        """Call ``demo.airflow_run`` with these arguments and return its exit code; what it prints goes to a file."""
        order = {"arguments": arguments, "log": str(log), "environment": environment}
        self._orders.write(json.dumps(order) + "\n")
        self._orders.flush()
        return int(self._answers.readline())


class Deployment:
    """
    An Airflow, whose database is migrated at once.

    :param home: ``AIRFLOW_HOME``.
    :param more: Environment variables for all its processes.
    """

    def __init__(self, home: Path, **more: str) -> None:
        self.home = home
        port = find_free_port()
        self.environment = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            # On a busy machine, a writer can wait longer than SQLite's default of five seconds, which would cost a task a try. But the
            # API server writes its audit log in the event loop: if a heartbeat holds the lock then, and waits for the loop to commit,
            # nothing moves until this time is over, and a task gives up calling the server after 27 s.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=15",
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
            # Otherwise processes of 2.11 that start at the same time each write a configuration with a different key.
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
            # Dag files do not change while a test runs, and parsing them every 30 s takes more CPU than the tasks of the Dags.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
            "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "3600",
            # The executor starts as many processes at once.
            "AIRFLOW__CORE__PARALLELISM": "16",
            **more,
        }
        self._processes: dict[str, psutil.Process] = {}
        #: One for each configuration that Dags have run with.
        self._runners: list[Runner] = []
        self._migrate()

    @property
    def run_log(self) -> str:
        """The output of the last :meth:`run`, without the colours that Airflow 3.0 gives to errors."""
        return re.sub(r"\x1b\[[0-9;]*m", "", (self.home / "run.log").read_text())

    def connect(self, **worlds: World) -> None:
        """Point connections to accounts; their names are ``aws_`` and the name of the argument."""
        for name, world in worlds.items():
            self.environment[f"AIRFLOW_CONN_AWS_{name.upper()}"] = format_connection(world)

    def _migrate(self) -> None:
        """Copy the database that the first deployment of this environment has migrated, which takes Airflow many seconds."""
        template = Path(sys.prefix) / f"airflow-{airflow_version}.db"
        with template.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not template.exists():
                self.cli("db", "migrate")
                unfinished = template.with_suffix(".new")
                _copy(self.home / "airflow.db", unfinished)
                unfinished.rename(template)
        if not (self.home / "airflow.db").exists():
            _copy(template, self.home / "airflow.db")

    def cli(self, *words: str) -> str:
        """Return the output of ``airflow …``."""
        command = [sys.executable, "-m", "airflow", *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, cwd=self.home, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def run(
        self, dag_file: Path, dag_id: str, conf: dict[str, Any], *, deferrable: bool = False, mark_success: str = ""
    ) -> dict[str, Any]:
        """
        Run a Dag without a scheduler (``dag.test()``), and return what its tasks did.

        :param deferrable: Airflow's default for operators that do not set ``deferrable``.
        :param mark_success: Regular expression of tasks that are marked as success instead of run.
        """
        self.environment["AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE"] = str(deferrable)
        (self.home / "conf.json").write_text(json.dumps(conf))
        paths = [str(dag_file), dag_id, str(self.home / "conf.json"), str(self.home / "out.json"), mark_success]
        # dag.test() parses and stores all Dags of the bundle first, which takes longer than to run one.
        # The copy is beside the home of Airflow, in whose files test_confidential.py searches.
        folder = self.home.with_name(f"{self.home.name}-bundles") / dag_file.stem
        bundle = {BUNDLES: _build_bundle(dag_file, folder)}
        status = self._find_runner().run(paths, self.home / "run.log", {**self.environment, **bundle})
        assert status == 0, self.run_log[-8000:]
        found: dict[str, Any] = json.loads((self.home / "out.json").read_text())
        return found

    def _find_runner(self) -> Runner:
        """Return a runner with the present configuration; starting one takes seconds of CPU."""
        found = next((runner for runner in self._runners if runner.is_configured_for(self.environment)), None)
        if found is None:
            found = Runner(self.environment, self.home / "runner.log")
            self._runners.append(found)
        return found

    def start(self) -> None:
        """Start its components, each in a separate process group."""
        for part in ("scheduler", "triggerer", *(("dag-processor", "api-server") if IS_3 else ())):
            self.start_part(part)

    def start_part(self, part: str) -> None:
        """Start a component."""
        more = ["--skip-serve-logs"] if part in ("scheduler", "triggerer") else []
        self.start_module(part, "airflow", part, *more)

    def start_module(self, part: str, *module: str) -> None:
        """Start ``python -m …`` as a component."""
        log = self.home / f"{part}.log"
        if FORKS:
            self._processes[part] = find_starter().start([*module], self.environment, self.home, log)
            return
        with log.open("ab") as output:
            self._processes[part] = psutil.Popen(
                [sys.executable, "-m", *module],
                env=self.environment,
                cwd=self.home,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def end(self, part: str) -> None:
        """Stop a component with SIGTERM, as a deployment does, and wait until it has ended."""
        process = self._processes.pop(part)
        process.terminate()
        process.wait(60)

    def kill(self, part: str) -> None:
        """Kill a component and its children: after SIGTERM some of them stay, in separate process groups."""
        process = self._processes.pop(part)
        children = process.children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()

    def stop(self) -> None:
        """Stop all components."""
        for part in list(self._processes):
            self.kill(part)

    def find_process_id(self, part: str) -> int:
        """Return the process id of a component."""
        return int(self._processes[part].pid)

    def query(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Return rows of the database."""
        with sqlite3.connect(f"file:{self.home / 'airflow.db'}?mode=ro", uri=True, timeout=30) as database:
            return database.execute(query, values).fetchall()

    def wait_until(self, what: Callable[[], Any], seconds: float = 300, pause: float = 0.2) -> Any:
        """Call a function every ``pause`` seconds until its result is true, and return the result."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = what()
            if found:
                return found
            time.sleep(pause)
        logs = "\n".join(f"== {path}\n{path.read_text()[-2000:]}" for path in self.home.glob("*.log"))
        raise AssertionError(f"the condition did not become true within {seconds} s\n{logs}")

    def describe_failures(self) -> str:
        """Return the logs of failed tasks, and what the scheduler logged about them."""
        failed = self.query("select task_id from task_instance where state = 'failed'")
        scheduler = (self.home / "scheduler.log").read_text().splitlines()
        said = [line for line in scheduler if "finished with state" in line]
        return "\n".join([*(self.read_task_log(task) for (task,) in failed), *said])

    def read_task_log(self, task_id: str) -> str:
        """Return all log files of a task."""
        return "\n".join(
            path.read_text()
            for path in sorted((self.home / "logs").rglob("*"))
            if f"task_id={task_id}/" in str(path) and path.is_file()
        )
