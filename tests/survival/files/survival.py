"""Tasks as a test has written them down; each try tells the process that it runs in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pendulum
from airflow import DAG

from airflow_cleanroomsml import operators

PLACE = Path(os.environ["SURVIVAL_PLACE"])


def tell(context: Any) -> None:
    ti = context["ti"]
    (PLACE / f"{ti.task_id}.{ti.try_number}").write_text(str(os.getpid()))


with DAG(
    "survival",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    default_args={"retries": 3, "retry_delay": pendulum.duration(seconds=1), "on_execute_callback": tell},
) as dag:
    for task in json.loads((PLACE / "tasks.json").read_text()):
        getattr(operators, task["operator"])(**task["arguments"])
