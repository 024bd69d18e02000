"""
Runs a Dag once without a scheduler, and writes the states and XComs of its tasks.

``python -m demo.airflow_run DAG_FILE DAG_ID CONF_JSON OUT_JSON [MARK_SUCCESS]`` runs it in the Airflow of ``AIRFLOW_HOME``.
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
    """
    Return the state of a Dag run, and the state, tries, seconds and XComs of each task.

    ``mapped`` has the same of each mapped task instance, as ``task_id[map_index]``; ``tasks`` has one of them.
    """
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
        tasks, mapped = dict[str, Any](), dict[str, Any]()
        for ti in session.query(TaskInstance).filter_by(dag_id=dag_id, run_id=run_id):
            found = {"state": str(ti.state), "tries": ti.try_number, "seconds": ti.duration}
            tasks[ti.task_id] = {**found, "xcom": {}}
            if ti.map_index >= 0:
                mapped[f"{ti.task_id}[{ti.map_index}]"] = {**found, "label": ti.rendered_map_index, "xcom": {}}
        for row in session.query(XCom).filter_by(dag_id=dag_id, run_id=run_id):
            tasks[row.task_id]["xcom"][row.key] = _decode_value(row.value)
            if row.map_index >= 0:
                mapped[f"{row.task_id}[{row.map_index}]"]["xcom"][row.key] = _decode_value(row.value)
        state = str(getattr(run.state, "value", run.state))
        return {"state": state, "run_id": run_id, "tasks": tasks, "mapped": mapped}


def _decode_value(stored: Any) -> Any:
    # Some releases of Airflow store an XCom as JSON text, others in a JSON column.
    if not isinstance(stored, (str, bytes)):
        return stored
    try:
        return json.loads(stored)
    except ValueError:
        return stored


def main(dag_file: str, dag_id: str, conf: str, out: str, mark_success: str = "") -> None:
    """
    Run the Dag and write the result.

    :param mark_success: Regular expression of tasks that are marked as success instead of run; none if empty.
    """
    # A text: Airflow 2.11 compiles it with another library than Python's.
    options = {"mark_success_pattern": mark_success} if mark_success else {}
    dag = load_dag(dag_file, dag_id)
    # Airflow 2 finds the aliases of a task's outlets only if the Dag is in its database, where test() does not put it.
    if hasattr(dag, "sync_to_db"):
        dag.sync_to_db()
    run = dag.test(run_conf=json.loads(Path(conf).read_text()), **options)
    Path(out).write_text(json.dumps(describe_run(dag_id, run.run_id)))


if __name__ == "__main__":
    main(*sys.argv[1:])
