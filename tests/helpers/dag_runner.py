"""
``python -m tests.helpers.dag_runner PORT``: run Dags without a scheduler, one after the other.

Importing Airflow, and building the API that a task talks to, takes longer than most Dags of the tests. Each line that comes from the
port is an order: the arguments of ``demo.airflow_run``, the environment variables, and the file for what is printed. The answer is a
line with the exit code. Tasks pause by a fast clock, except for the pictures of the documentation.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from typing import Any

import pytest

from tests.helpers.botocore_files import read_once
from tests.helpers.fast_clock import speed_up


def run(order: dict[str, Any]) -> int:
    """Run a Dag and return its exit code."""
    from demo.airflow_run import main

    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.environ.clear()
    os.environ.update(order["environment"])
    try:
        # The clock of each run starts at the machine's time, so that it is only a few minutes ahead at the end.
        with pytest.MonkeyPatch.context() as patch:
            # Pictures show Airflow's times beside those of tasks.
            if not os.environ.get("AIRFLOW_CLEANROOMSML_PICTURES"):
                speed_up(patch)
            main(*order["arguments"])
    except (Exception, SystemExit):
        logging.getLogger(__name__).exception("The run broke off")
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def main(port: int) -> None:
    """Run the requested Dags until the connection ends."""
    with socket.create_connection(("127.0.0.1", port)) as connected, connected.makefile("rw") as orders:
        read_once()
        for line in iter(orders.readline, ""):
            orders.write(f"{run(json.loads(line))}\n")
            orders.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
