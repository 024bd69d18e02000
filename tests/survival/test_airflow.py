"""A real Airflow whose triggerer, workers and tasks are killed, and one of whose tasks is cleared."""

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
from tests.survival.create_operators import BY_TITLE, Arguments, Made

DAG = Path(__file__).parent / "files" / "survival.py"
#: How long a job takes, in seconds of the emulator's clock, which the test pushes: longer than the test.
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
#: Waits in the worker until all that runs it is killed, so that nobody tells the scheduler.
ABANDONED = "start_trained_model_inference_job"
TASKS = [*DEFERRED, CLEARED, KILLED, ABANDONED]
#: Airflow notices soon what is gone: the names of 3.x, and those of 2.11.
SOON = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
    # 2.11 has SQLite run one task at a time otherwise; several run here, each in a worker of its own.
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
}


@dataclass
class Task:
    """A task of the Dag, its account, and its operator's arguments."""

    title: str
    world: World
    arguments: Arguments

    @property
    def made(self) -> list[Made]:
        """What is there of it."""
        return [
            made for made in BY_TITLE[self.title].made(self.world, self.arguments) if made.name.startswith("survivor")
        ]

    @property
    def plan(self) -> dict[str, Any]:
        """The task as the Dag file reads it."""
        maker = BY_TITLE[self.title]
        more = {
            "task_id": self.title,
            maker.named: "survivor",
            "aws_conn_id": self.title,
            "deferrable": self.title in (*DEFERRED, CLEARED),
            "waiter_delay": 1,
        }
        return {"operator": maker.operator.__name__, "arguments": {**self.arguments, **more}}


@contextlib.contextmanager
def hurried(emulator: EmulatorProcess) -> Iterator[None]:
    """Let jobs be over at once."""
    over = threading.Event()

    def push() -> None:
        while not over.wait(0.3):
            emulator._control("clock", {"advance": JOB + 1})

    pushing = threading.Thread(target=push)
    pushing.start()
    try:
        yield
    finally:
        over.set()
        pushing.join()


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    process = EmulatorProcess("--scale", "0.001", "--pending-seconds", "0", "--progress-seconds", str(JOB))
    yield process
    process.stop()


@pytest.fixture(scope="module")
def tasks(emulator: EmulatorProcess) -> list[Task]:
    worlds = {title: World(emulator) for title in TASKS}
    with hurried(emulator):
        return [Task(title, world, BY_TITLE[title].prepare(world)) for title, world in worlds.items()]


class Airflow(Deployment):
    """
    The Airflow.

    :param place: Folder for what its Dag reads and writes.
    """

    def __init__(self, place: Path, emulator: EmulatorProcess, tasks: list[Task]) -> None:
        (place / "tasks.json").write_text(json.dumps([task.plan for task in tasks]))
        connections = {f"AIRFLOW_CONN_{task.title.upper()}": format_connection(task.world) for task in tasks}
        super().__init__(
            place,
            AWS_ENDPOINT_URL=emulator.url,
            AWS_DEFAULT_REGION="us-east-1",
            AIRFLOW__CORE__DAGS_FOLDER=str(DAG.parent),
            SURVIVAL_PLACE=str(place),
            **connections,
            **SOON,
        )

    def states(self) -> dict[str, tuple[str, int]]:
        """State and number of tries of each task."""
        found = self.query("select task_id, state, try_number from task_instance")
        return {task: (state, tries) for task, state, tries in found}

    def are(self, state: str, number: int, *titles: str) -> bool:
        """
        Whether tasks are in a state in their n-th try, or a later one.

        2.11 may delete the trigger of a task that was cleared while its next try begins with that trigger's key, and loses the try.
        """
        found = self.states()
        return all(title in found and found[title][0] == state and found[title][1] >= number for title in titles)

    def process_of(self, title: str, number: int) -> int:
        """The process of a task's n-th try, or of a later one, by its identifier; 0 before it runs."""
        told = [self.home / f"{title}.{each}" for each in range(number, number + 4)]
        return next((int(file.read_text() or 0) for file in told if file.exists()), 0)

    def abandon(self, task: int) -> None:
        """Kill the process of a task, and all that stands between it and the scheduler."""
        chain = [psutil.Process(task), *psutil.Process(task).parents()]
        above = next(index for index, process in enumerate(chain) if process.pid == self.find_process_id("scheduler"))
        for process in reversed(chain[:above]):
            os.kill(process.pid, signal.SIGKILL)

    def result(self, title: str) -> Any:
        """What is in XCom."""
        ((value,),) = self.query("select value from xcom where task_id = ? and key = 'return_value'", title)
        found = json.loads(value)
        return json.loads(found) if isinstance(found, str) and found[:1] in ('"', "{") else found


@pytest.fixture(scope="module")
def airflow(
    emulator: EmulatorProcess, tasks: list[Task], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow]:
    """An Airflow that has run the Dag, through all that is done to it."""
    deployment = Airflow(tmp_path_factory.mktemp("airflow"), emulator, tasks)
    try:
        deployment.start()
        deployment.wait_until(lambda: deployment.query("select 1 from serialized_dag where dag_id = 'survival'"))
        user = User(deployment)
        user.start_run("survival", {})
        survive(deployment, user, {task.title: task for task in tasks})
        emulator._control("clock", {"advance": JOB + 1})
        deployment.wait_until(lambda: deployment.query("select 1 from dag_run where state in ('success', 'failed')"))
        yield deployment
    finally:
        deployment.stop()


def survive(airflow: Airflow, user: User, tasks: dict[str, Task]) -> None:
    """Do to the tasks what is to be done, and wait until they are back."""
    airflow.wait_until(lambda: airflow.are("deferred", 1, *DEFERRED, CLEARED))
    airflow.wait_until(lambda: tasks[KILLED].made and tasks[ABANDONED].made)
    airflow.kill("triggerer")
    os.kill(airflow.process_of(KILLED, 1), signal.SIGKILL)
    airflow.abandon(airflow.process_of(ABANDONED, 1))
    airflow.start_part("triggerer")
    user.end_tasks("survival", ("clear", CLEARED))
    airflow.wait_until(lambda: airflow.are("deferred", 2, CLEARED))
    airflow.wait_until(lambda: all(airflow.process_of(title, 2) for title in (KILLED, ABANDONED)))


@pytest.mark.parametrize("title", TASKS)
def test_one_is_made_and_the_result_is_right(airflow: Airflow, tasks: list[Task], title: str) -> None:
    (task,) = (task for task in tasks if task.title == title)
    state, tries = airflow.states()[title]
    assert state == "success", airflow.read_task_log(title)[-5000:]
    assert tries >= (1 if title in DEFERRED else 2)
    (made,) = task.made
    assert (made.name, made.status) == ("survivor", "ACTIVE")
    assert airflow.result(title) == made.identity


def test_another_triggerer_has_gone_on(airflow: Airflow) -> None:
    assert len(airflow.query("select 1 from job where job_type = 'TriggererJob'")) == 2
