"""One process of a task: in a worker, in the triggerer, or in the worker that resumes the task."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_cleanroomsml import _compat
from airflow_cleanroomsml._compat import AirflowException, AirflowFailException, AirflowTaskTerminated, TaskDeferred
from airflow_cleanroomsml._idempotency import previous_tries
from tests.survival.cases import BEFORE_DEFERRAL, BEFORE_RESUMED_RETURN, BEFORE_RETURN, RESUMPTION, TRIGGER, Case, Kill
from tests.survival.create_operators import BY_TITLE, Arguments
from tests.survival.killer import Killer, StateStore
from tests.survival.stored_state import StoredState, StoredTaskInstance

#: Pauses before each search for the resource of an earlier try, in seconds: the emulator's commits lag by less.
_LAG = (0.05, 0.2, 0.5)


@dataclass(frozen=True)
class Task:
    """
    A task in an account.

    :param title: Operation.
    :param arguments: Arguments of the operator, except the name.
    :param case: Its kills and faults.
    :param state_file: Database of its stored state.
    :param environment: Environment variables that point boto3 to the account.
    """

    title: str
    arguments: Arguments
    case: Case
    state_file: Path
    environment: dict[str, str]

    def build_operator(self) -> Any:
        """Build the operator, as each process does when it parses the Dag file."""
        setup = BY_TITLE[self.title]
        names = {"task_id": self.case.name, setup.name_argument: self.case.name}
        waiting = {"waiter_delay": 0.25, "deferrable": self.case.deferrable} if setup.waits else {}
        return setup.operator(**{**self.arguments, **names, **waiting})


def run_process(task: Task, process: str, number: int, kills: list[Kill]) -> None:
    """
    Run one process of a task, in a fork that ends afterwards.

    :param process: Kind of the process.
    :param number: Number of the try to which it belongs, from 1.
    :param kills: Its possible kills, of which the first whose step is reached takes effect.
    """
    os.environ.update(task.environment)
    previous_tries.COMMIT_LAG = _LAG
    _compat.delete_xcom = _delete_xcom
    _compat.store_link = _ignore_link
    state = StoredState(task.state_file, task.case.name)
    killer = Killer(kills, state)
    operator = BY_TITLE[task.title].operator
    killer.install_hooks(operator.service, operator.operation, operator.resource)
    if process == TRIGGER:
        _run_trigger(state, killer)
    else:
        _run_task(task, state, killer, number, is_resumed=process == RESUMPTION)


def _delete_xcom(ti: Any, key: str) -> None:
    ti.xcom_delete(key)


def _ignore_link(ti: Any, key: str, url: str) -> None:
    pass


def _run_trigger(state: StoredState, killer: Killer) -> None:
    deferral = state.read_all("deferral")["value"]
    module, name = deferral["path"].rsplit(".", 1)
    trigger = getattr(importlib.import_module(module), name)(**deferral["keywords"])

    async def read_first_event() -> Any:
        return (await anext(trigger.run())).payload

    with contextlib.suppress(asyncio.CancelledError):
        state.write("event", "value", asyncio.run(_run_until_sigterm(read_first_event())))
        state.write("outcome", "value", "triggered")


async def _run_until_sigterm(work: Any) -> Any:
    """Cancel the work on SIGTERM, as the triggerer does."""
    running = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    return await running


def _run_task(task: Task, state: StoredState, killer: Killer, number: int, *, is_resumed: bool) -> None:
    operator = task.build_operator()
    killer.handle_sigterm(operator.on_kill)
    context: dict[str, Any] = {"params": {}, "ti": StoredTaskInstance(state, number)}
    if task.case.has_state_store:
        context["task_state_store"] = StateStore(state, killer)
    try:
        outcome = _execute(operator, state, killer, context, is_resumed=is_resumed)
    except AirflowTaskTerminated:
        outcome = "terminated"
    except AirflowFailException as error:
        outcome = f"failed: {error}"
    except AirflowException as error:
        outcome = f"error: {error}"
    state.write("outcome", "value", outcome)


def _execute(operator: Any, state: StoredState, killer: Killer, context: dict[str, Any], *, is_resumed: bool) -> str:
    operator.render_template_fields(context)
    try:
        result = _resume(operator, state, context) if is_resumed else operator.execute(context)
    except TaskDeferred as deferred:
        _defer(deferred, state, killer)
        return "deferred"
    killer.reach(BEFORE_RESUMED_RETURN if is_resumed else BEFORE_RETURN)
    state.write("xcom", "return_value", result)
    return "success"


def _resume(operator: Any, state: StoredState, context: dict[str, Any]) -> Any:
    deferral, event = state.read_all("deferral")["value"], state.read_all("event")["value"]
    return operator.resume_execution(deferral["method"], {**deferral["kwargs"], "event": event}, context)


def _defer(deferred: Any, state: StoredState, killer: Killer) -> None:
    path, keywords = deferred.trigger.serialize()
    killer.reach(BEFORE_DEFERRAL)
    deferral = {"path": path, "keywords": keywords, "method": deferred.method_name, "kwargs": deferred.kwargs or {}}
    state.write("deferral", "value", deferral)
