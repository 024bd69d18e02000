"""What happens to a job when its task is ended, in a real Airflow: for tasks that wait in the worker and deferred tasks."""

from __future__ import annotations

import os
import signal
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow import __version__ as airflow_version

from airflow_cleanroomsml._compat import IS_AIRFLOW_2
from tests.dags.airflow_user import User
from tests.helpers.custom_models import Studio
from tests.helpers.deployment import Deployment, format_connection
from tests.support import EmulatorProcess, World

FILE = Path(__file__).parent / "files" / "kills.py"
#: Tasks that a user marks as failed, in the worker and deferred.
FAILED = (
    *("worker_train_failed", "worker_infer_failed", "deferred_train_failed", "deferred_infer_failed"),
    *(("worker_unanswered_failed",) if IS_AIRFLOW_2 else ()),
)
TIMED_OUT = ("worker_infer_times_out", "deferred_infer_times_out")
CLEARED = ("worker_cleared", "deferred_cleared")
#: Tasks that wait until a user, or the test, ends them.
LONG_RUNNING = (*FAILED, *CLEARED, "worker_terminated", "deferred_success", "deferred_kept", "deferred_moved")
#: Tasks that no user has ended: another try or another triggerer continues to wait for their jobs.
NOT_ENDED = (*CLEARED, "worker_terminated", "deferred_moved")
#: Airflow 3.0 itself leaves a task that is cleared while it runs in ``restarting``: its job keeps running, and no try follows.
RESUMED = tuple(task for task in NOT_ENDED if task != "worker_cleared" or not airflow_version.startswith("3.0."))
CANCELLED = (*FAILED, *TIMED_OUT, "deferred_success", "worker_unanswered_times_out")
#: Tasks whose logs are complete: Airflow 3 kills a worker five seconds after SIGTERM, and on a busy machine these may pass
#: between the cancellation and its log line.
FULLY_LOGGED = (*TIMED_OUT, "worker_unanswered_times_out")


class SlowStudio(Studio):
    """A member whose jobs do not end until the clock is moved."""

    def wait_until(self, get: str, status: str = "ACTIVE", **identifier: str) -> None:
        self.finish_jobs()
        super().wait_until(get, status, **identifier)

    def finish_jobs(self) -> None:
        """Finish the jobs in progress in all accounts, by moving the clock."""
        self.world.emulator._control("clock", {"advance": 2_000})

    @property
    def statuses(self) -> list[str]:
        """The statuses of the jobs that its task started."""
        entries = [
            *self.ml.list_trained_models(**self.of)["trainedModels"],
            *self.ml.list_trained_model_inference_jobs(**self.of)["trainedModelInferenceJobs"],
        ]
        return [entry["status"] for entry in entries if entry["name"] != "model"]


class Case:
    """An Airflow, and an account for each of its tasks."""

    def __init__(self, emulator: EmulatorProcess, home: Path) -> None:
        worlds = {task: World(emulator) for task in {*LONG_RUNNING, *CANCELLED, "unheard"}}
        self._worlds = worlds
        self.airflow = Deployment(
            home,
            AWS_ENDPOINT_URL=emulator.url,
            AWS_DEFAULT_REGION="us-east-1",
            AIRFLOW__CORE__DAGS_FOLDER=str(FILE.parent),
            AIRFLOW__CORE__EXECUTOR="LocalExecutor",
            AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL="1",
            # Airflow 2.11 wants another database for a LocalExecutor, which these few tasks do not need.
            _AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK="1",
            **{f"AIRFLOW_CONN_{task.upper()}": format_connection(world) for task, world in worlds.items()},
        )
        self.user = User(self.airflow)

    @cached_property
    def studios(self) -> dict[str, SlowStudio]:
        return {task: SlowStudio(world) for task, world in self._worlds.items()}

    @cached_property
    def conf(self) -> dict[str, Any]:
        """The resources that each task needs; creating them moves the clock."""
        return {
            task: {
                "account": studio.world.account,
                "membership": studio.membership,
                "association": studio.association,
                "channel": studio.channel,
                "model": studio.model if "infer" in task else "",
            }
            for task, studio in self.studios.items()
        }

    def start_run(self, dag_id: str) -> None:
        conf = self.conf
        for task, studio in self.studios.items():
            if "unanswered" in task:
                studio.world.add_fault("CreateTrainedModel", "slow", seconds=20_000)
        self.airflow.wait_until(lambda: self.airflow.query("select 1 from serialized_dag where dag_id = ?", dag_id))
        self.user.start_run(dag_id, conf)

    def read_states(self, *tasks: str) -> set[str]:
        found = dict(self.airflow.query("select task_id, state from task_instance"))
        return {found.get(task) or "none" for task in tasks}

    def list_statuses(self, *tasks: str) -> dict[str, list[str]]:
        return {task: self.studios[task].statuses for task in tasks}

    def wait_for_status(self, status: str, *tasks: str) -> None:
        """Wait until each task has started one job, and the job has this status."""
        missing = set(tasks)

        def have_status() -> bool:
            # A job that has the status is not read again: there are many tasks, and the last one starts minutes later.
            missing.difference_update([task for task in missing if self.studios[task].statuses == [status]])
            return not missing

        try:
            self.airflow.wait_until(have_status, pause=1)
        except AssertionError as error:
            raise AssertionError(f"{self.list_statuses(*tasks)}\n{error}") from None
        assert self.list_statuses(*tasks) == {task: [status] for task in tasks}

    def is_watched(self, task: str) -> bool:
        """Whether the trigger has polled: the end of a task goes unnoticed if no triggerer runs its trigger."""
        logs = (self.airflow.home / "logs").rglob("*.trigger.*")
        return any(f"task_id={task}/" in str(path) and "CREATE_IN_PROGRESS" in path.read_text() for path in logs)

    @property
    def tasks_with_link(self) -> set[str]:
        """Tasks with a link to their collaboration in Airflow's UI."""
        query = "select task_id, value from xcom where key = '_link_CollaborationLink'"
        return {
            task
            for task, url in self.airflow.query(query)
            if f"/collaborations/{self.studios[task].collaboration.id}" in str(url)
        }

    def require_log(self, text: str, *tasks: str) -> None:
        assert [task for task in tasks if text not in self.airflow.read_task_log(task)] == []


def test_job_is_cancelled_only_if_its_task_has_ended(tmp_path: Path) -> None:
    emulator = EmulatorProcess("--scale", "0.001", "--pending-seconds", "0", "--progress-seconds", "1000")
    case = Case(emulator, tmp_path)
    airflow = case.airflow
    try:
        airflow.start()
        case.start_run("kills")
        deferred = [task for task in LONG_RUNNING if task.startswith("deferred")]
        case.wait_for_status("CREATE_IN_PROGRESS", *LONG_RUNNING)
        airflow.wait_until(lambda: all(case.is_watched(task) for task in deferred))
        assert case.tasks_with_link == {
            task for task in LONG_RUNNING if "infer" not in task and "unanswered" not in task
        }

        ((pid,),) = airflow.query("select pid from task_instance where task_id = 'worker_terminated'")
        os.kill(pid, signal.SIGTERM)
        acts = [("failed", task) for task in (*FAILED, "deferred_kept")] + [("clear", task) for task in CLEARED]
        case.user.end_tasks("kills", *acts, ("success", "deferred_success"))
        case.wait_for_status("INACTIVE", *CANCELLED)
        # A triggerer that ends may lose log lines that it has not written yet.
        airflow.wait_until(
            lambda: "is still running and still incurring charges" in airflow.read_task_log("deferred_kept")
        )
        airflow.wait_until(lambda: all("was cancelled" in airflow.read_task_log(task) for task in FULLY_LOGGED))

        airflow.end("triggerer")
        case.start_run("kills_unheard")
        case.wait_for_status("INACTIVE", "unheard")
        airflow.start_part("triggerer")

        case.wait_for_status("CREATE_IN_PROGRESS", *NOT_ENDED, "deferred_kept")
        case.studios["unheard"].finish_jobs()
        airflow.wait_until(lambda: case.read_states(*RESUMED) == {"success"})
        case.wait_for_status("ACTIVE", *NOT_ENDED, "deferred_kept")
    finally:
        airflow.stop()
        emulator.stop()
    assert case.read_states(*FAILED, *TIMED_OUT, "worker_unanswered_times_out", "unheard", "deferred_kept") == {
        "failed"
    }
    # XCom has the ARN of each task's job, for a task that cleans up, and no internal note.
    pushed = {(task, key) for task, key in airflow.query("select task_id, key from xcom")}
    named = {task for task, key in pushed if key in ("trained_model_arn", "trained_model_inference_job_arn")}
    assert named == {*LONG_RUNNING, *CANCELLED, "unheard"}
    assert {(task, key) for task, key in pushed if key.startswith("_") and not key.startswith("_link_")} == set()
    case.require_log("was cancelled", *FULLY_LOGGED, "unheard")
    case.require_log("when the wait timed out. It was cancelled.", *TIMED_OUT, "unheard")
    case.require_log("is still running and still incurring charges", "deferred_kept")
    case.require_log("because the task instance has not ended", "deferred_cleared", "worker_terminated")
