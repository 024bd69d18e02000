"""Tasks survive in a real Airflow while its triggerer, workers and task processes are killed and a task is cleared."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.dags.airflow_user import User
from tests.helpers.deployment import Deployment, format_connection
from tests.support import EmulatorProcess, World
from tests.survival.create_operators import BY_TITLE, Arguments, CreatedResource

DAG = Path(__file__).parent / "files" / "survival.py"
#: Duration of a job, in seconds of the emulator's clock: longer than the test, which moves the clock forward.
JOB = 600
DEFERRED = [
    "create_audience_model",
    "start_audience_generation_job",
    "start_audience_export_job",
    "start_trained_model_export_job",
]
CLEARED = "create_ml_input_channel"
#: Waits in the worker until its process is killed.
KILLED = "create_trained_model"
#: Waits in the worker until its process and its supervisors are killed, so that nothing reports its end to the scheduler.
ABANDONED = "start_trained_model_inference_job"
TASKS = [*DEFERRED, CLEARED, KILLED, ABANDONED]
#: Settings with which Airflow detects dead processes quickly: the names of 3.x, and those of 2.11.
FAST_DETECTION = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
    # With SQLite, 2.11 runs one task at a time by default; here several run in parallel, each in a separate worker.
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
}


@dataclass
class Task:
    """A task of the Dag, its account, and the arguments of its operator."""

    title: str
    world: World
    arguments: Arguments

    @property
    def resources(self) -> list[CreatedResource]:
        """The resources that it created."""
        return [
            resource
            for resource in BY_TITLE[self.title].list_resources(self.world, self.arguments)
            if resource.name.startswith("survivor")
        ]

    @property
    def plan(self) -> dict[str, Any]:
        """The task in the format that the Dag file reads."""
        setup = BY_TITLE[self.title]
        more = {
            "task_id": self.title,
            setup.name_argument: "survivor",
            "aws_conn_id": self.title,
            "deferrable": self.title in (*DEFERRED, CLEARED),
            "waiter_delay": 1,
        }
        return {"operator": setup.operator.__name__, "arguments": {**self.arguments, **more}}


@contextlib.contextmanager
def finish_jobs(emulator: EmulatorProcess) -> Iterator[None]:
    """Finish jobs soon after they start, by moving the emulator's clock in a thread."""
    is_over = threading.Event()

    def advance() -> None:
        while not is_over.wait(0.3):
            emulator._control("clock", {"advance": JOB + 1})

    thread = threading.Thread(target=advance)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    process = EmulatorProcess("--scale", "0.001", "--pending-seconds", "0", "--progress-seconds", str(JOB))
    yield process
    process.stop()


@pytest.fixture(scope="module")
def tasks(emulator: EmulatorProcess) -> list[Task]:
    worlds = {title: World(emulator) for title in TASKS}
    with finish_jobs(emulator):
        return [Task(title, world, BY_TITLE[title].prepare(world)) for title, world in worlds.items()]


class Airflow(Deployment):
    """
    An Airflow with the Dag.

    :param folder: Folder for the files that the Dag reads and writes.
    """

    def __init__(self, folder: Path, emulator: EmulatorProcess, tasks: list[Task]) -> None:
        (folder / "tasks.json").write_text(json.dumps([task.plan for task in tasks]))
        connections = {f"AIRFLOW_CONN_{task.title.upper()}": format_connection(task.world) for task in tasks}
        super().__init__(
            folder,
            AWS_ENDPOINT_URL=emulator.url,
            AWS_DEFAULT_REGION="us-east-1",
            AIRFLOW__CORE__DAGS_FOLDER=str(DAG.parent),
            SURVIVAL_FOLDER=str(folder),
            **connections,
            **FAST_DETECTION,
        )

    def read_states(self) -> dict[str, tuple[str, int]]:
        """Read the state and the number of tries of each task."""
        rows = self.query("select task_id, state, try_number from task_instance")
        return {task: (state, tries) for task, state, tries in rows}

    def have_state(self, state: str, number: int, *titles: str) -> bool:
        """
        Whether tasks have a state in their n-th try or a later one.

        2.11 may delete the trigger of a cleared task while its next try starts to use the same trigger, and then that try is lost.
        """
        states = self.read_states()
        return all(title in states and states[title][0] == state and states[title][1] >= number for title in titles)

    def read_process_id(self, title: str, number: int) -> int:
        """Read the process id of a task's n-th try, or of a later one; 0 before it runs."""
        files = [self.home / f"{title}.{each}" for each in range(number, number + 4)]
        return next((int(file.read_text() or 0) for file in files if file.exists()), 0)

    def kill_with_supervisors(self, task: int) -> None:
        """Kill the process of a task and all processes between it and the scheduler."""
        chain = [psutil.Process(task), *psutil.Process(task).parents()]
        above = next(index for index, process in enumerate(chain) if process.pid == self.find_process_id("scheduler"))
        for process in reversed(chain[:above]):
            os.kill(process.pid, signal.SIGKILL)

    def read_result(self, title: str) -> Any:
        """Read the return value of a task from XCom."""
        ((text,),) = self.query("select value from xcom where task_id = ? and key = 'return_value'", title)
        value = json.loads(text)
        return json.loads(value) if isinstance(value, str) and value[:1] in ('"', "{") else value


@pytest.fixture(scope="module")
def airflow(
    emulator: EmulatorProcess, tasks: list[Task], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow]:
    """An Airflow that has run the Dag to its end, with all disruptions."""
    deployment = Airflow(tmp_path_factory.mktemp("airflow"), emulator, tasks)
    try:
        deployment.start()
        deployment.wait_until(lambda: deployment.query("select 1 from serialized_dag where dag_id = 'survival'"))
        user = User(deployment)
        user.start_run("survival", {})
        disrupt(deployment, user, {task.title: task for task in tasks})
        emulator._control("clock", {"advance": JOB + 1})
        deployment.wait_until(lambda: deployment.query("select 1 from dag_run where state in ('success', 'failed')"))
        yield deployment
    finally:
        deployment.stop()


def disrupt(airflow: Airflow, user: User, tasks: dict[str, Task]) -> None:
    """Kill the triggerer and two workers, clear a task, and wait until the next tries run."""
    airflow.wait_until(lambda: airflow.have_state("deferred", 1, *DEFERRED, CLEARED))
    airflow.wait_until(lambda: tasks[KILLED].resources and tasks[ABANDONED].resources)
    airflow.kill("triggerer")
    os.kill(airflow.read_process_id(KILLED, 1), signal.SIGKILL)
    airflow.kill_with_supervisors(airflow.read_process_id(ABANDONED, 1))
    airflow.start_part("triggerer")
    user.end_tasks("survival", ("clear", CLEARED))
    airflow.wait_until(lambda: airflow.have_state("deferred", 2, CLEARED))
    airflow.wait_until(lambda: all(airflow.read_process_id(title, 2) for title in (KILLED, ABANDONED)))


@pytest.mark.parametrize("title", TASKS)
def test_one_resource_is_created_and_returned(airflow: Airflow, tasks: list[Task], title: str) -> None:
    (task,) = (task for task in tasks if task.title == title)
    state, tries = airflow.read_states()[title]
    assert state == "success", airflow.read_task_log(title)[-5000:]
    assert tries >= (1 if title in DEFERRED else 2)
    (resource,) = task.resources
    assert (resource.name, resource.status) == ("survivor", "ACTIVE")
    assert airflow.read_result(title) == resource.identity


def test_second_triggerer_was_started(airflow: Airflow) -> None:
    assert len(airflow.query("select 1 from job where job_type = 'TriggererJob'")) == 2
