"""
Runs a Dag once without a scheduler, and writes the states and XComs of its tasks.

``python -m demo.airflow_run DAG_FILE DAG_ID CONF_JSON OUT_JSON`` runs it in the Airflow of ``AIRFLOW_HOME``.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any


def load_dag(dag_file: str, dag_id: str) -> Any:
    """Load a Dag from a file."""
    spec = importlib.util.spec_from_file_location(Path(dag_file).stem, dag_file)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{dag_file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # As in the recipe of the importlib documentation (Importing a source file directly).
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return next(value for value in vars(module).values() if hasattr(value, "task_dict") and value.dag_id == dag_id)


def describe_run(dag_id: str, run_id: str) -> dict[str, Any]:
    """Return the state of a Dag run, and the state, tries, seconds and XComs of each task."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    if TYPE_CHECKING:
        from airflow.models.xcom import XComModel as XCom
    else:
        try:
            from airflow.models.xcom import XComModel as XCom
        except ImportError:  # Airflow 2.11
            from airflow.models.xcom import BaseXCom as XCom

    with create_session() as session:
        run = session.query(DagRun).filter_by(dag_id=dag_id, run_id=run_id).one()
        tasks: dict[str, Any] = {
            ti.task_id: {"state": str(ti.state), "tries": ti.try_number, "seconds": ti.duration, "xcom": {}}
            for ti in session.query(TaskInstance).filter_by(dag_id=dag_id, run_id=run_id)
        }
        for row in session.query(XCom).filter_by(dag_id=dag_id, run_id=run_id):
            tasks[row.task_id]["xcom"][row.key] = _decode_value(row.value)
        return {"state": str(getattr(run.state, "value", run.state)), "run_id": run_id, "tasks": tasks}


def _decode_value(stored: Any) -> Any:
    # Some releases of Airflow store an XCom as JSON text, others in a JSON column.
    if not isinstance(stored, (str, bytes)):
        return stored
    try:
        return json.loads(stored)
    except ValueError:
        return stored


def main(dag_file: str, dag_id: str, conf: str, out: str) -> None:
    """Run the Dag and write the result."""
    run = load_dag(dag_file, dag_id).test(run_conf=json.loads(Path(conf).read_text()))
    Path(out).write_text(json.dumps(describe_run(dag_id, run.run_id)))


if __name__ == "__main__":
    main(*sys.argv[1:])
