"""
Start emulators by fork, with their libraries loaded: a run of all tests needs some forty, and most take a second of CPU for imports.

A run with xdist has one starter, which serves all workers. It is a script, and not a module of ``tests``, because the emulator can need
another Python than the tests, which has to find its own libraries and the package as it is installed there.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Environment variable with the path of the starter's socket. tests/conftest.py keeps variables with this prefix.
SOCKET = "AIRFLOW_CLEANROOMSML_EMULATOR_STARTER"
#: What an emulator imports at its start, and later for its first jobs and for the services of moto that tests use most.
LIBRARIES = (
    "airflow_cleanroomsml.emulator.server",
    "airflow_cleanroomsml.emulator.lookalike.audience",
    "airflow_cleanroomsml.emulator.lookalike.export",
    "airflow_cleanroomsml.emulator.lookalike.model",
    "moto.s3.urls",
    "moto.glue.urls",
    "moto.iam.urls",
    "moto.sts.urls",
)


class ForkedProcess:
    """A process that a starter has forked: its standard input and output are a socket, and it ends when this process does."""

    def __init__(self, module: Sequence[str], environment: Mapping[str, str], folder: str) -> None:
        order = {"module": module, "environment": dict(environment), "folder": folder}
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._pid = self._send(json.dumps(order).encode() + b"\n")
        except OSError as error:
            self._socket.close()
            raise RuntimeError(
                f"The process that starts emulators for this test run has ended ({error}); its own error is printed above. "
                "Run the tests again, or with -p no:xdist, which starts each emulator directly."
            ) from error

    def _send(self, order: bytes) -> int:
        """
        Send the order, and return the id of the process.

        :raises OSError: The starter has ended.
        """
        self._socket.connect(os.environ[SOCKET])
        # With the standard error of this process, from which pytest reports what an emulator prints during a test.
        sent = socket.send_fds(self._socket, [order], [2])
        self._socket.sendall(order[sent:])
        self.stdout = self._socket.makefile()
        if not (line := self.stdout.readline()):
            raise ConnectionAbortedError("no answer")
        return int(line)

    def kill(self) -> None:
        """End the process by SIGKILL."""
        os.kill(self._pid, signal.SIGKILL)

    def wait(self, timeout: float) -> None:
        """
        Wait until the process has ended.

        :raises TimeoutError: It has not ended after these seconds.
        """
        self._socket.settimeout(timeout)
        while self._socket.recv(4096):
            pass
        self._socket.close()


def start_starter(python: str, environment: Mapping[str, str], folder: str) -> subprocess.Popen[bytes]:
    """
    Start the starter of a test run; processes that this one starts find it by :data:`SOCKET`.

    :param folder: Folder for its socket.
    :return: The starter, which ends when its standard input is closed, if only because nothing refers to it any longer.
    """
    path = str(Path(folder) / "emulators")
    with socket.socket(socket.AF_UNIX) as listener:
        # It listens at once, so that orders wait until the libraries are loaded.
        listener.bind(path)
        listener.listen(100)
        number = listener.fileno()
        # One thread for linear algebra, as in the emulator's jobs: a fork would lose the others.
        environment = {**environment, "OPENBLAS_NUM_THREADS": "1"}
        starter = subprocess.Popen(
            [python, __file__, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environment,
            cwd=tempfile.gettempdir(),
            pass_fds=[number],
        )
    os.environ[SOCKET] = path
    return starter


def _load_libraries() -> None:
    for name in LIBRARIES:
        # An older moto may lack a module, and an emulator without the extra "emulator" cannot compute.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    runpy.run_path(str(Path(__file__).with_name("botocore_files.py")))["read_once"]()
    session = importlib.import_module("boto3").session.Session()
    for service in ("glue", "s3"):
        session.client(service, region_name="us-east-1")
        with contextlib.suppress(ImportError, AttributeError):
            importlib.import_module("moto.core.utils").get_service_model(service)
    # A collection would write to the memory that the emulators share with this process.
    gc.collect()
    gc.freeze()


def _become(connection: socket.socket) -> None:
    """Run in this process the module that is ordered on a connection, as ``python -m`` does."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, (errors, *_), *_ = socket.recv_fds(connection, 65_536, 1)
    while not text.endswith(b"\n"):
        text += connection.recv(65_536)
    order = json.loads(text)
    for number, target in ((connection.fileno(), 0), (connection.fileno(), 1), (errors, 2)):
        os.dup2(number, target)
    connection.close()
    os.closerange(3, 100)
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    sys.path.insert(0, order["folder"])
    name, *arguments = order["module"]
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _accept(listener: socket.socket) -> socket.socket | None:
    """Fork a process for each connection until standard input ends; in a new process, return its connection."""
    while select.select([listener.fileno(), 0], [], [])[0] == [listener.fileno()]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            return connection
        connection.close()
    return None


def main() -> None:
    """Load the libraries, and start what is ordered."""
    # The folder of this script, in which modules of tests would hide others.
    sys.path.remove(str(Path(__file__).parent))
    _load_libraries()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if connection := _accept(socket.socket(fileno=int(sys.argv[1]))):
        _become(connection)


if __name__ == "__main__":
    main()
