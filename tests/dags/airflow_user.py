"""Actions of a user in Airflow's UI, through the code that the UI calls: the REST API of 3.x, methods of the Dag in 2.11."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

from tests.helpers.deployment import IS_3, ROOT, Deployment


class User:
    """
    A user who starts one run of each Dag and ends its tasks.

    :param airflow: The Airflow.
    :param run_id: Name of the runs.
    """

    def __init__(self, airflow: Deployment, run_id: str = "run") -> None:
        self._airflow, self._run_id = airflow, run_id

    def start_run(self, dag_id: str, conf: dict[str, Any], logical_date: str | None = None) -> None:
        """
        Start a run.

        :param logical_date: In ISO 8601; by default none in Airflow 3, and now in 2.11.
        """
        if IS_3:
            body = {"dag_run_id": self._run_id, "conf": conf, "logical_date": logical_date}
            self._call("POST", f"{dag_id}/dagRuns", body)
        else:
            date = ["--exec-date", logical_date] if logical_date else []
            self._airflow.cli("dags", "trigger", dag_id, "--run-id", self._run_id, "--conf", json.dumps(conf), *date)

    def unpause(self, dag_id: str) -> None:
        """Unpause a Dag."""
        if IS_3:
            self._call("PATCH", dag_id, {"is_paused": False})
        else:
            self._airflow.cli("dags", "unpause", dag_id)

    def end_tasks(self, dag_id: str, *acts: tuple[str, str]) -> None:
        """
        End tasks.

        :param acts: Pairs of ``failed``, ``success`` or ``clear``, and a task's identifier.
        """
        if not IS_3:
            self._end_in_airflow_2(dag_id, acts)
            return
        for act, task in acts:
            if act == "clear":
                self.clear_tasks(dag_id, task)
            else:
                self._call("PATCH", f"{dag_id}/dagRuns/{self._run_id}/taskInstances/{task}", {"new_state": act})

    def clear_tasks(self, dag_id: str, *tasks: str) -> None:
        """Clear tasks of the run, and no others."""
        if IS_3:
            body = {"dry_run": False, "task_ids": tasks, "dag_run_id": self._run_id, "only_failed": False}
            self._call("POST", f"{dag_id}/clearTaskInstances", body)
        else:
            self._end_in_airflow_2(dag_id, tuple(("clear", task) for task in tasks))

    def _call(self, method: str, path: str, body: dict[str, Any]) -> None:
        # A user tries again: the server may not be up yet, and SQLite may be locked.
        self._airflow.wait_until(lambda: self._try_to_call(method, path, body))

    def _try_to_call(self, method: str, path: str, body: dict[str, Any]) -> bool:
        try:
            self._send_request(method, path, body)
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise
            return False
        except OSError:
            return False
        return True

    def _send_request(self, method: str, path: str, body: dict[str, Any]) -> None:
        base = self._airflow.environment["AIRFLOW__API__BASE_URL"]
        with urllib.request.urlopen(f"{base}/auth/token") as response:
            token = json.load(response)["access_token"]
        request = urllib.request.Request(
            f"{base}/api/v2/dags/{path}",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            method=method,
        )
        urllib.request.urlopen(request).close()

    def _end_in_airflow_2(self, dag_id: str, acts: tuple[tuple[str, str], ...]) -> None:
        script = f"from tests.dags import airflow_user; airflow_user.end_tasks_in_airflow_2({dag_id!r}, {self._run_id!r}, {acts!r})"
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=self._airflow.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def end_tasks_in_airflow_2(dag_id: str, run_id: str, acts: tuple[tuple[str, str], ...]) -> None:
    """End tasks in a process of Airflow 2.11, as its UI does."""
    from airflow.models.dagbag import DagBag
    from airflow.models.dagrun import DagRun

    dag: Any = DagBag(read_dags_from_db=True).get_dag(dag_id)
    if cleared := [(task, -1) for act, task in acts if act == "clear"]:
        (date,) = [run.logical_date for run in DagRun.find(dag_id=dag_id, run_id=run_id)]
        dag.clear(task_ids=cleared, start_date=date, end_date=date)
    for act, task in acts:
        if act != "clear":
            dag.set_task_instance_state(task_id=task, run_id=run_id, state=act, commit=True)
