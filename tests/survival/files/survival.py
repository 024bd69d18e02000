"""A Dag of the tasks in a file that the test writes; each try writes the id of its process to a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pendulum
from airflow import DAG

from airflow_cleanroomsml import operators

FOLDER = Path(os.environ["SURVIVAL_FOLDER"])


def write_process_id(context: Any) -> None:
    ti = context["ti"]
    (FOLDER / f"{ti.task_id}.{ti.try_number}").write_text(str(os.getpid()))


with DAG(
    "survival",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    default_args={"retries": 3, "retry_delay": pendulum.duration(seconds=1), "on_execute_callback": write_process_id},
) as dag:
    for task in json.loads((FOLDER / "tasks.json").read_text()):
        getattr(operators, task["operator"])(**task["arguments"])
