"""
``python -m tests.helpers.extra_links FILE DAG_ID``: the extra links of all task instances of a Dag, as Airflow's pages find them, in JSON.

A page knows the Dag as it is serialised, and its links as 2.11 finds their classes, or by their keys in XCom.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.helpers.deployment import ROOT, Deployment

if TYPE_CHECKING:
    from airflow.serialization.serialized_objects import DagSerialization as Serialized
else:
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialized
    except ImportError:  # Airflow before 3.3
        from airflow.serialization.serialized_objects import SerializedDAG as Serialized

#: Map index, as text, to the links by name.
Links = dict[str, dict[str, str]]


def read(airflow: Deployment, file: Path, dag_id: str) -> dict[str, Links]:
    """Return the links of each task, from a process of the deployment."""
    command = [sys.executable, "-m", "tests.helpers.extra_links", str(file), dag_id]
    done = subprocess.run(command, env=airflow.environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, Links] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(file: str, dag_id: str) -> None:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    from demo.airflow_run import load_dag

    dag: Any = Serialized.from_dict(json.loads(json.dumps(Serialized.to_dict(load_dag(file, dag_id)))))
    found: dict[str, Links] = {}
    with create_session() as session:
        for ti in session.query(TaskInstance).filter_by(dag_id=dag_id):
            task = dag.get_task(ti.task_id)
            links = {name: task.get_extra_links(ti, name) for name in task.extra_links}
            found.setdefault(ti.task_id, {})[str(ti.map_index)] = {name: url for name, url in links.items() if url}
    sys.stdout.write(f"\n{json.dumps(found)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
