"""
``python -m tests.survival.runner PLAN``: run the tasks of a plan, each process of each task in a fork of this process.

This process imports what is slow to import, once. It has no thread, client or connection that a fork could share. The tasks of one
account, a lane, run one after the other, because of the quotas of the resources that they use; several lanes run in parallel.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from airflow_cleanroomsml._requests.request import find_operation, load
from tests.helpers.botocore_files import read_once
from tests.helpers.garbage import collect_rarely
from tests.support import RunningEmulator, World
from tests.survival.cases import FAULTS, RESUMPTION, TASK, TRIGGER, Case, Kill
from tests.survival.create_operators import BY_TITLE, Arguments, OperatorSetup
from tests.survival.process import Task, run_process
from tests.survival.stored_state import StoredState

#: Number of parallel lanes: they spend more time waiting than working.
_LANES = 8
#: Largest number of processes of one task, and of tasks for one case: a task that ends before the step of its kill is replaced.
_PROCESSES, _TASKS = 12, 6
#: The process that follows one with this outcome.
_NEXT = {"deferred": TRIGGER, "triggered": RESUMPTION}


@dataclass
class TaskRun:
    """
    What happened in the run of a task.

    :param case: Its planned kills and faults.
    :param arguments: Arguments of its operator.
    :param outcome: How its last process ended.
    :param tries: Number of tries.
    :param kills: The step and the signal of each kill that happened.
    :param errors: Errors of the tries that failed and were retried.
    :param is_on_kill_called: Whether ``on_kill`` was called.
    :param xcom: Its XComs, including its result.
    """

    case: Case
    arguments: Arguments
    outcome: str = ""
    tries: int = 1
    kills: list[list[str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    is_on_kill_called: bool = False
    xcom: dict[str, Any] = field(default_factory=dict)

    @property
    def remaining_kills(self) -> list[Kill]:
        """The kills planned after the last one that happened."""
        remaining = list(self.case.kills)
        for step, signal in self.kills:
            remaining = remaining[remaining.index(Kill(step, signal)) + 1 :]
        return remaining

    @property
    def has_missed_kill(self) -> bool:
        """Whether its only kill did not happen."""
        return len(self.case.kills) == 1 and not self.kills

    @classmethod
    def load(cls, plain: dict[str, Any]) -> TaskRun:
        """Restore a task run from the JSON of ``dataclasses.asdict``."""
        return cls(**{**plain, "case": Case.load(plain["case"])})


@dataclass
class Lane:
    """
    The tasks of one operator in one account.

    :param title: Operation.
    :param account: Account.
    :param url: URL of the emulator.
    :param unique: Whether the emulator rejects a name that is in use.
    :param cases: The kills and faults of the tasks.
    :param folder: Folder for its files.
    """

    title: str
    account: str
    url: str
    unique: bool
    cases: list[Case]
    folder: str

    @property
    def setup(self) -> OperatorSetup:
        return BY_TITLE[self.title]

    @property
    def world(self) -> World:
        emulator = RunningEmulator()
        emulator.is_shared = True
        emulator.url = self.url
        return World(emulator, self.account, self.account)

    @property
    def file(self) -> Path:
        """The file to which it writes its task runs."""
        return Path(self.folder) / f"{self.title}-{'unique' if self.unique else 'not-unique'}.json"

    def read_task_runs(self) -> list[TaskRun]:
        """Read the runs of its tasks."""
        return [TaskRun.load(plain) for plain in json.loads(self.file.read_text())]

    def run(self) -> None:
        """Run all its tasks."""
        task_runs: list[TaskRun] = []
        arguments_file = Path(f"{self.file}.arguments")
        for number, case in enumerate(self.cases):
            if number % self.setup.tasks == 0:
                exit_code = run_in_fork(lambda: arguments_file.write_text(json.dumps(self.setup.prepare(self.world))))
                assert exit_code == 0, f"the arguments of {self.title} could not be prepared"
            task_runs += self._run_case(case, json.loads(arguments_file.read_text()))
        self.file.write_text(json.dumps([asdict(task_run) for task_run in task_runs]))

    def _run_case(self, case: Case, arguments: Arguments) -> list[TaskRun]:
        """Run a task, and further tasks with longer jobs as long as a slow machine makes them miss their kill."""
        task_runs = [self._run_task(case, arguments)]
        while task_runs[-1].has_missed_kill and len(task_runs) < _TASKS:
            self.world.emulator.change_settings(progress_seconds=2 ** len(task_runs))
            task_runs.append(self._run_task(replace(case, name=f"{case.name}-{len(task_runs)}"), arguments))
        return task_runs

    def _run_task(self, case: Case, arguments: Arguments) -> TaskRun:
        environment = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.account,
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        task = Task(self.title, arguments, case, Path(f"{self.file}.sqlite"), environment)
        state = StoredState(task.state_file, case.name)
        self._add_faults(case)
        task_run, process = TaskRun(case, arguments), TASK
        for _ in range(_PROCESSES):
            task_run.outcome = self._run_process(task, state, process, task_run)
            task_run.kills = list(state.read_all("kills").values())
            if task_run.outcome == "success" or task_run.outcome.startswith("failed"):
                break
            if task_run.outcome.startswith("error"):
                task_run.errors.append(task_run.outcome)
            if process == TRIGGER and task_run.outcome == "killed":
                continue
            process = _NEXT.get(task_run.outcome, TASK)
            if process == TASK:
                # Airflow deletes these before the next try.
                state.delete_all("xcom", "deferral", "event")
                task_run.tries += 1
        task_run.xcom, task_run.is_on_kill_called = state.read_all("xcom"), bool(state.read_all("on_kill"))
        return task_run

    def _add_faults(self, case: Case) -> None:
        """Add the faults of a case to the emulator."""
        operator = self.setup.operator
        names = {"create": operator.operation, "list": operator.resource.list}
        for operation, kind, options in FAULTS.get(case.fault, ()):
            self.world.add_fault(operation_name(operator.service, names[operation]), kind, **options)

    def _run_process(self, task: Task, state: StoredState, process: str, task_run: TaskRun) -> str:
        """Run one process, and return its outcome: what it stored, or ``killed``."""
        state.delete_all("outcome")
        kills = [kill for kill in task_run.remaining_kills if kill.process == process]
        exit_code = run_in_fork(lambda: run_process(task, process, task_run.tries, kills))
        outcome = state.read_all("outcome").get("value")
        is_killed = len(state.read_all("kills")) > len(task_run.kills)
        if is_killed and outcome in (None, "terminated"):
            return "killed"
        return str(outcome or f"error: the process ended with exit code {exit_code}")


def operation_name(service: str, method: str) -> str:
    """Return the API's name of an operation."""
    return str(find_operation(load(service), method).name)


def start_fork(work: Callable[[], Any]) -> int:
    """Call a function in a fork; returns the process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    finally:
        if status:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run_in_fork(work: Callable[[], Any]) -> int:
    """Call a function in a fork and wait until it ends; returns the exit code, which is negative for a signal."""
    _, status = os.waitpid(start_fork(work), 0)
    return os.waitstatus_to_exitcode(status)


def preload() -> None:
    """Import and load what every fork needs."""
    for name in ("_resources.diff", "_polling.client", "triggers", "hooks"):
        importlib.import_module(f"airflow_cleanroomsml.{name}")
    read_once()
    collect_rarely()
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

    for service in ("cleanroomsml", "cleanrooms"):
        operation_name(service, "list_tags_for_resource")
        hook: Any = CleanRoomsMLHook(service=service)
        hook.conn.close()
    gc.collect()
    gc.freeze()


def main(plan: Path) -> None:
    """Run all tasks of a plan."""
    lanes = [
        Lane(**{**lane, "cases": [Case.load(case) for case in lane["cases"]]}) for lane in json.loads(plan.read_text())
    ]
    preload()
    running: set[int] = set()
    for lane in lanes:
        if len(running) == _LANES:
            running.discard(os.wait()[0])
        running.add(start_fork(lane.run))
    for _ in running:
        os.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
