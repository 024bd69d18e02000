"""
``python -m tests.survival.runner PLAN``: live the tasks of a plan, each process of each task in a fork of this one.

What is slow to import is imported here, once. This process has no thread, no client and no connection, so there is nothing that a fork
could share. The tasks of one account, a lane, come one after the other, for what they need has quotas; several lanes run at a time.
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
from tests.survival.create_operators import BY_TITLE, Arguments, Maker
from tests.survival.process import Task, live
from tests.survival.stored_state import Kept

#: Lanes at a time: they wait more than they work.
_AT_A_TIME = 8
#: Processes of one task, and tasks in place of one that ended before the step at which it was to be killed.
_PROCESSES, _LIVES = 12, 6
#: What follows a process that ended so.
_NEXT = {"deferred": TRIGGER, "triggered": RESUMPTION}


@dataclass
class Life:
    """
    What became of a task.

    :param case: What was done to it.
    :param arguments: What its operator was given.
    :param outcome: How its last process ended.
    :param tries: How often Airflow tried it.
    :param strikes: The kills that happened, each its step and signal.
    :param errors: What its tries ended with that were retried.
    :param heard: Whether ``on_kill`` was called.
    :param xcom: What it has pushed, its result included.
    """

    case: Case
    arguments: Arguments
    outcome: str = ""
    tries: int = 1
    strikes: list[list[str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    heard: bool = False
    xcom: dict[str, Any] = field(default_factory=dict)

    @property
    def left(self) -> list[Kill]:
        """The kills that are still to come; those before one that has come are over."""
        kills = list(self.case.kills)
        for step, how in self.strikes:
            kills = kills[kills.index(Kill(step, how)) + 1 :]
        return kills

    @property
    def was_spared(self) -> bool:
        """Whether its one kill has not come."""
        return len(self.case.kills) == 1 and not self.strikes

    @classmethod
    def load(cls, plain: dict[str, Any]) -> Life:
        """The inverse of ``dataclasses.asdict``, after JSON."""
        return cls(**{**plain, "case": Case.load(plain["case"])})


@dataclass
class Lane:
    """
    The tasks of one operator in one account.

    :param title: Operation.
    :param account: Account.
    :param url: Where the emulator is.
    :param unique: Whether it refuses a name that is in use.
    :param cases: What happens to the tasks.
    :param place: Folder for what is kept.
    """

    title: str
    account: str
    url: str
    unique: bool
    cases: list[Case]
    place: str

    @property
    def maker(self) -> Maker:
        return BY_TITLE[self.title]

    @property
    def world(self) -> World:
        emulator = RunningEmulator()
        emulator.is_shared = True
        emulator.url = self.url
        return World(emulator, self.account, self.account)

    @property
    def file(self) -> Path:
        """Where it writes what became of its tasks."""
        return Path(self.place) / f"{self.title}-{'unique' if self.unique else 'not-unique'}.json"

    def lives(self) -> list[Life]:
        """What became of its tasks."""
        return [Life.load(plain) for plain in json.loads(self.file.read_text())]

    def run(self) -> None:
        """Live all its tasks."""
        lives: list[Life] = []
        prepared = Path(f"{self.file}.arguments")
        for number, case in enumerate(self.cases):
            if number % self.maker.tasks == 0:
                ended = forked(lambda: prepared.write_text(json.dumps(self.maker.prepare(self.world))))
                assert ended == 0, f"{self.title} cannot be prepared"
            lives += self._lived(case, json.loads(prepared.read_text()))
        self.file.write_text(json.dumps([asdict(life) for life in lives]))

    def _lived(self, case: Case, arguments: Arguments) -> list[Life]:
        """A task's life, and those of other tasks with longer jobs while the machine is too slow for the step to come."""
        lives = [self._life(case, arguments)]
        while lives[-1].was_spared and len(lives) < _LIVES:
            self.world.emulator.change_settings(progress_seconds=2 ** len(lives))
            lives.append(self._life(replace(case, name=f"{case.name}-{len(lives)}"), arguments))
        return lives

    def _life(self, case: Case, arguments: Arguments) -> Life:
        environment = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.account,
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        task = Task(self.title, arguments, case, Path(f"{self.file}.sqlite"), environment)
        kept = Kept(task.kept, case.name)
        self._order(case)
        life, process = Life(case, arguments), TASK
        for _ in range(_PROCESSES):
            life.outcome = self._ended(task, kept, process, life)
            life.strikes = list(kept.all("strikes").values())
            if life.outcome == "success" or life.outcome.startswith("failed"):
                break
            if life.outcome.startswith("error"):
                life.errors.append(life.outcome)
            if process == TRIGGER and life.outcome == "killed":
                continue
            process = _NEXT.get(life.outcome, TASK)
            if process == TASK:
                # Airflow forgets these when it tries a task again.
                kept.forget("xcom", "deferral", "event")
                life.tries += 1
        life.xcom, life.heard = kept.all("xcom"), bool(kept.all("on_kill"))
        return life

    def _order(self, case: Case) -> None:
        """Order the faults."""
        operator = self.maker.operator
        names = {"create": operator.operation, "list": operator.resource.list}
        for what, kind, options in FAULTS.get(case.fault, ()):
            self.world.add_fault(operation_name(operator.service, names[what]), kind, **options)

    def _ended(self, task: Task, kept: Kept, process: str, life: Life) -> str:
        """How a process ended: as it says, or killed."""
        kept.forget("outcome")
        kills = [kill for kill in life.left if kill.process == process]
        status = forked(lambda: live(task, process, life.tries, kills))
        told = kept.all("outcome").get("it")
        struck = len(kept.all("strikes")) > len(life.strikes)
        if struck and told in (None, "terminated"):
            return "killed"
        return str(told or f"error: the process ended with {status}")


def operation_name(service: str, method: str) -> str:
    """The API's name of an operation."""
    return str(find_operation(load(service), method).name)


def begin(work: Callable[[], Any]) -> int:
    """Do something in a fork; its process identifier."""
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


def forked(work: Callable[[], Any]) -> int:
    """Do something in a fork, and wait for its end; its exit code, negative for a signal."""
    _, status = os.waitpid(begin(work), 0)
    return os.waitstatus_to_exitcode(status)


def warm() -> None:
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
    """Live all tasks of a plan."""
    lanes = [
        Lane(**{**lane, "cases": [Case.load(case) for case in lane["cases"]]}) for lane in json.loads(plan.read_text())
    ]
    warm()
    running: set[int] = set()
    for lane in lanes:
        if len(running) == _AT_A_TIME:
            running.discard(os.wait()[0])
        running.add(begin(lane.run))
    for _ in running:
        os.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
