"""
``python -m tests.helpers.dag_runner``: run Dags without a scheduler, each in a fork of this process.

Importing Airflow takes longer than most Dags of the tests. Each line of the standard input is an order: the arguments of
``demo.airflow_run``, the environment variables, and the file for what is printed. The answer is a line with the exit code.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any

#: Modules that do not read what an order may change, such as the default of ``deferrable``.
PRELOADED = (
    "airflow.models.dagbag",
    "airflow.models.xcom",
    "airflow.providers.amazon.aws.hooks.base_aws",
    "botocore.httpsession",
)


def run(order: dict[str, Any]) -> int:
    """Run a Dag in a fork and return its exit code."""
    pid = os.fork()
    if pid == 0:
        _become(order)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _become(order: dict[str, Any]) -> None:
    from demo.airflow_run import main

    status = 1
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.clear()
        os.environ.update(order["environment"])
        main(*order["arguments"])
        status = 0
    finally:
        if status:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Serve orders until the standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    # What Airflow prints while it is imported is no answer.
    os.dup2(2, 1)
    for name in PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        answers.write(f"{run(json.loads(line))}\n")
        answers.flush()


if __name__ == "__main__":
    main()
