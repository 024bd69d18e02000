"""One try of a task as Airflow runs it: in a worker and, while it is deferred, with the events of a triggerer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
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
from tests.properties.kill_points import Kill, Killed
from tests.properties.observed_emulator import Creator, Laboratory
from tests.properties.operator_cases import Kind
from tests.support import TaskInstance

#: Seconds that a deferred task waits for its turn to start a job.
_TURN_SECONDS = 300.0
#: ``retries`` of each task: more than the tries of an example.
RETRIES = 100


class StateStore:
    """
    The methods of Airflow's task state store that tasks use.

    :param laboratory: Registers the writes, at which the worker may be killed.
    """

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory
        self._values: dict[str, str] = {}
        #: Number of writes that it still accepts; None for any number.
        self.accepts: int | None = None
        #: Whether all writes succeeded.
        self.is_complete = True

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self._values[key]) if key in self._values else default

    def set(self, key: str, value: Any) -> None:
        self._laboratory.visit("before a state write")
        if self.accepts == 0:
            self.is_complete = False
            raise ConnectionError("the API server does not answer")
        if self.accepts is not None:
            self.accepts -= 1
        self._values[key] = json.dumps(value)
        self._laboratory.visit("after a state write")


@dataclass
class Task:
    """
    A task in a run.

    :param run_id: The Dag run.
    :param map_index: Number of the mapped task.
    :param store: Keeps its state between tries; None before Airflow 3.3.
    """

    run_id: str
    map_index: int
    store: StateStore | None
    tries: int = 0
    variant: int = 0
    if_exists: str = "fail"
    #: Set as Airflow does when it creates the task instance, and when a user clears it.
    max_tries: int = RETRIES
    #: Number of the current sequence: a first try and its retries.
    sequence: int = 0
    #: Whether the task is done: Airflow does not retry it, and the next try follows a clear.
    done: bool = False
    #: Whether its arguments have rendered to different values in this sequence.
    unstable: bool = False
    #: Numbers of the records that tries of this sequence reused.
    reused: set[int] = field(default_factory=set)
    #: Numbers of the records without an ARN that match what tries of this sequence waited for, whoever created them.
    waited_for: set[int] = field(default_factory=set)

    @property
    def creator(self) -> Creator:
        """The creator of what its current arguments request."""
        return Creator(f"{self.run_id}/{self.map_index}", self.variant, self.sequence)

    def clear(self) -> None:
        """Begin a new sequence with the next try, as when a user clears the task."""
        self.max_tries = self.tries + RETRIES
        self.sequence += 1
        self.done = self.unstable = False
        self.reused, self.waited_for = set(), set()


@dataclass
class Outcome:
    """
    How a try ended.

    :param result: The task's return value; None if it did not return.
    :param error: The exception that it raised.
    :param killed: Whether the worker was killed.
    :param waited_for: Identifiers of the resource that it waited for, as far as the operator knew them.
    :param pushed: The XComs that it pushed.
    :param calls: URLs that it called.
    """

    result: Any = None
    error: Exception | None = None
    killed: bool = False
    waited_for: Mapping[str, Any] = field(default_factory=dict)
    pushed: dict[str, Any] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)


def attempt(
    laboratory: Laboratory,
    kind: Kind,
    task: Task,
    arguments: Mapping[str, Any],
    kill: Kill | None,
    *faults: Fault,
    turns: Iterable[tuple[int, Mapping[str, Any]]] = (),
) -> Outcome:
    """
    Run one try of a task.

    :param arguments: The operator's arguments.
    :param kill: The point at which the worker is killed; None if it is not killed.
    :param turns: The variants to which the arguments render each time the try is resumed to send its request again, and these arguments.
    :param faults: Faults that the emulator injects into the calls.
    """
    if task.done:
        task.clear()
    task.tries += 1
    ti = TaskInstance(task.run_id, task.tries)
    ti.map_index, ti.max_tries = task.map_index, task.max_tries
    run = SimpleNamespace(start_date=datetime.fromtimestamp(laboratory.started_at, timezone.utc))
    context: dict[str, Any] = {"params": {}, "ti": ti, "dag_run": run}
    if task.store is not None:
        context["task_state_store"] = task.store
    laboratory.set_faults(*faults)
    laboratory.kill, laboratory.creator, laboratory.calls = kill, task.creator, []
    outcome = Outcome(pushed=ti.pushed, calls=laboratory.calls)
    try:
        executed = _execute(laboratory, kind, task, arguments, context, outcome, iter(turns))
        outcome.result = json.loads(json.dumps(executed))
        task.done = True
    except Killed:
        outcome.killed = True
    except AirflowException as error:
        outcome.error = error
        task.done = isinstance(error, AirflowFailException)
    finally:
        laboratory.kill, laboratory.creator = None, None
        laboratory.set_faults()
    return outcome


def _execute(
    laboratory: Laboratory,
    kind: Kind,
    task: Task,
    arguments: Mapping[str, Any],
    context: dict[str, Any],
    outcome: Outcome,
    turns: Iterator[tuple[int, Mapping[str, Any]]],
) -> Any:
    """Execute a task until it returns; each time it is deferred, a new operator resumes it."""

    def build_operator() -> Any:
        operator = kind.operator(task_id="task", retries=RETRIES, **arguments)
        # All tries share one hook, because a new hook reads the service's data files again.
        vars(operator)["hook"] = laboratory.hook
        return operator

    method, more = "execute", dict[str, Any]()
    while True:
        operator = build_operator()
        try:
            return getattr(operator, method)(context, **more)
        except TaskDeferred as deferred:
            method, more = (
                deferred.method_name,
                {"event": _build_event(laboratory, deferred.trigger), **(deferred.kwargs or {})},
            )
            if "turn" in more["event"] and (turn := next(turns, None)):
                (task.variant, arguments), task.unstable = turn, True
                laboratory.creator = task.creator
        finally:
            if isinstance(operator, CleanRoomsMLJobOperator) and (wait := operator._canceller.wait):
                outcome.waited_for = wait.identifiers


def _build_event(laboratory: Laboratory, trigger: Any) -> dict[str, Any]:
    """
    Build the event of a trigger.

    The triggerer's threads do not run here. This function polls in their place, on the laboratory's clock.
    """
    _, keywords = trigger.serialize()
    keywords = json.loads(json.dumps(keywords))
    if "wait" not in keywords:
        _clock.sleep(_TURN_SECONDS)
        return {"turn": True, **keywords}
    wait = Wait.from_json(keywords["wait"])
    poll_result = loop.poll_until_done(laboratory.hook, wait, loop.poll_once(laboratory.hook, wait))
    return {"wait": keywords["wait"], "poll_result": json.loads(json.dumps(poll_result.to_json()))}
