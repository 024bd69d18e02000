"""
``python -m tests.helpers.process_starter``: start processes of Airflow, with what they import loaded already.

A component takes 4 s of CPU to import what it needs, two thirds of it libraries other than Airflow, and the tests start thirty of them.
This process has imported these libraries and forks each component. Nothing of Airflow is loaded: much of its configuration is read when
it is imported. Each line of the standard input is an order: the module and its arguments, the environment variables, the folder to
start in, and the file for what is printed. The answer is a line with the process id.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
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
    "fsspec",
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


class Starter:
    """Such a process; it ends with the process that made it, and what it has started stays."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.process_starter"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, module: list[str], environment: dict[str, str], folder: Path, log: Path) -> psutil.Process:
        """Start ``python -m …`` in a separate process group; what it prints is appended to a file."""
        order = {"module": module, "environment": environment, "folder": str(folder), "log": str(log)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return psutil.Process(int(self._process.stdout.readline()))


@cache
def find_starter() -> Starter:
    """Return the starter of this process."""
    return Starter()


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
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _reap(*_: Any) -> None:
    """Let the system forget components that have ended; whoever waits for one sees that it is gone."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _receive() -> dict[str, Any] | None:
    """Answer orders until standard input ends; in a new process, return its order."""
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if child == 0:
            order: dict[str, Any] = json.loads(line)
            return order
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
    return None


def main() -> None:
    """Load the libraries, and start what is requested."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # A collection would write to the memory that the components share with this process.
    gc.freeze()
    signal.signal(signal.SIGCHLD, _reap)
    if order := _receive():
        _become(order)


if __name__ == "__main__":
    main()
