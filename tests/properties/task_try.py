"""One try of a task, as Airflow makes it: in a worker, and where it is deferred in what the triggerer says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._waiting import loop
from airflow_cleanroomsml._waiting.wait import Wait
from airflow_cleanroomsml.emulator.faults import Fault
from airflow_cleanroomsml.operators._job import CleanRoomsMLJobOperator
from tests.properties.kill_points import Fuse, Killed
from tests.properties.observed_emulator import Laboratory, Maker
from tests.properties.operator_cases import Kind
from tests.support import TaskInstance

#: Seconds between two looks of the triggerer for room.
_TURN = 300.0
#: ``retries`` of each task: more than an example has tries.
RETRIES = 100


class StateStore:
    """
    Airflow's task state store, as far as tasks see it.

    :param laboratory: Where a worker may be killed.
    """

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory
        self._values: dict[str, str] = {}
        self.refuses = False
        #: Whether it took all notes.
        self.complete = True

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self._values[key]) if key in self._values else default

    def set(self, key: str, value: Any) -> None:
        self._laboratory.burn("before a note")
        if self.refuses:
            self.complete = False
            raise ConnectionError("the API server does not answer")
        self._values[key] = json.dumps(value)
        self._laboratory.burn("after a note")


@dataclass
class Task:
    """
    A task in a run.

    :param run_id: Run.
    :param map_index: Which of the mapped tasks.
    :param store: What remembers between its tries; None before Airflow 3.3.
    """

    run_id: str
    map_index: int
    store: StateStore | None
    tries: int = 0
    variant: int = 0
    if_exists: str = "fail"
    #: As Airflow sets it when the task instance is created, and when somebody clears it.
    max_tries: int = RETRIES
    #: Number of the present sequence of a first try and its retries.
    sequence: int = 0
    #: Whether Airflow would not try it again by itself.
    over: bool = False
    #: Whether its arguments have rendered differently in this sequence.
    unstable: bool = False
    #: Numbers of the records that tries of this sequence have gone on with.
    gone_on_with: set[int] = field(default_factory=set)

    @property
    def maker(self) -> Maker:
        """Who makes what it asks for now."""
        return Maker(f"{self.run_id}/{self.map_index}", self.variant, self.sequence)

    def clear(self) -> None:
        """Let the next try begin a new sequence, as when somebody clears the task."""
        self.max_tries = self.tries + RETRIES
        self.sequence += 1
        self.over = self.unstable = False
        self.gone_on_with = set()


@dataclass
class Outcome:
    """
    How a try ended.

    :param result: What the task returned; None where it did not.
    :param error: What it raised.
    :param killed: Whether the worker was killed.
    :param waited_for: What identifies what was waited for, as far as the operator knew.
    :param calls: URLs that were called.
    """

    result: Any = None
    error: Exception | None = None
    killed: bool = False
    waited_for: Mapping[str, Any] = field(default_factory=dict)
    pushed: dict[str, Any] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)


def attempt(
    laboratory: Laboratory, kind: Kind, task: Task, given: Mapping[str, Any], fuse: Fuse | None, *faults: Fault
) -> Outcome:
    """
    Try a task once.

    :param given: The operator's arguments.
    :param fuse: Where the worker is killed; None lets it live.
    :param faults: What its calls meet.
    """
    if task.over:
        task.clear()
    task.tries += 1
    ti = TaskInstance(task.run_id, task.tries)
    ti.map_index, ti.max_tries = task.map_index, task.max_tries
    run = SimpleNamespace(start_date=datetime.fromtimestamp(laboratory.began, timezone.utc))
    context: dict[str, Any] = {"params": {}, "ti": ti, "dag_run": run}
    if task.store is not None:
        context["task_state_store"] = task.store
    laboratory.order(*faults)
    laboratory.fuse, laboratory.maker, laboratory.calls = fuse, task.maker, []
    outcome = Outcome(pushed=ti.pushed, calls=laboratory.calls)
    try:
        outcome.result = json.loads(json.dumps(_executed(laboratory, kind, given, context, outcome)))
        task.over = True
    except Killed:
        outcome.killed = True
    except AirflowException as error:
        outcome.error = error
        task.over = isinstance(error, AirflowFailException)
    finally:
        laboratory.fuse, laboratory.maker = None, None
        laboratory.order()
    return outcome


def _executed(
    laboratory: Laboratory, kind: Kind, given: Mapping[str, Any], context: dict[str, Any], outcome: Outcome
) -> Any:
    def operator() -> Any:
        made = kind.operator(task_id="task", retries=RETRIES, **given)
        # One for all tries: a hook reads the service's data files when it is made.
        vars(made)["hook"] = laboratory.hook
        return made

    method, more = "execute", dict[str, Any]()
    while True:
        task = operator()
        try:
            return getattr(task, method)(context, **more)
        except TaskDeferred as deferred:
            method, more = (
                deferred.method_name,
                {"event": _said(laboratory, deferred.trigger), **(deferred.kwargs or {})},
            )
        finally:
            if isinstance(task, CleanRoomsMLJobOperator) and (wait := task._canceller.wait):
                outcome.waited_for = wait.identifiers


def _said(laboratory: Laboratory, trigger: Any) -> dict[str, Any]:
    """
    The event of a trigger.

    The triggerer's threads are not in this; what they would look at is looked at here, on the clock that stands.
    """
    _, keywords = trigger.serialize()
    keywords = json.loads(json.dumps(keywords))
    if "wait" not in keywords:
        _clock.sleep(_TURN)
        return {"turn": True, **keywords}
    wait = Wait.from_json(keywords["wait"])
    poll_result = loop.poll_until_done(laboratory.hook, wait, loop.poll_once(laboratory.hook, wait))
    return {"wait": keywords["wait"], "poll_result": json.loads(json.dumps(poll_result.to_json()))}
