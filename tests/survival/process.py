"""What happens in one process of a task: in a worker, in the triggerer, and in the worker that goes on."""

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
from tests.survival.cases import DEFERRING, RESUMED, RESUMPTION, RETURNING, TRIGGER, Case, Kill
from tests.survival.create_operators import BY_TITLE, Arguments
from tests.survival.killer import Killer, KillingStore
from tests.survival.stored_state import Kept, KeptTaskInstance

#: Pauses before each look for what may have been made, in seconds: the emulator's commits do not lag by more.
_LAG = (0.05, 0.2, 0.5)


@dataclass(frozen=True)
class Task:
    """
    A task in an account.

    :param title: Operation.
    :param arguments: Arguments of the operator, but for its name.
    :param case: What happens to it.
    :param kept: File of what outlives its processes.
    :param environment: Environment variables that lead to the account.
    """

    title: str
    arguments: Arguments
    case: Case
    kept: Path
    environment: dict[str, str]

    def operator(self) -> Any:
        """The operator, as the Dag file makes it for each process."""
        maker = BY_TITLE[self.title]
        named = {"task_id": self.case.name, maker.named: self.case.name}
        waiting = {"waiter_delay": 0.25, "deferrable": self.case.deferrable} if maker.waits else {}
        return maker.operator(**{**self.arguments, **named, **waiting})


def live(task: Task, process: str, number: int, kills: list[Kill]) -> None:
    """
    Be a process of a task: in a fork, which has to end with it.

    :param process: Its kind.
    :param number: Which try of the task it belongs to, from 1.
    :param kills: How it ends before its time, whatever comes first.
    """
    os.environ.update(task.environment)
    previous_tries.COMMIT_LAG = _LAG
    _compat.delete_xcom = _delete_xcom
    _compat.store_link = _ignore_link
    kept = Kept(task.kept, task.case.name)
    killer = Killer(kills, kept)
    operator = BY_TITLE[task.title].operator
    killer.arm(operator.service, operator.operation, operator.resource)
    if process == TRIGGER:
        _trigger(kept, killer)
    else:
        _work(task, kept, killer, number, resumed=process == RESUMPTION)


def _delete_xcom(ti: Any, key: str) -> None:
    ti.xcom_delete(key)


def _ignore_link(ti: Any, key: str, url: str) -> None:
    pass


def _trigger(kept: Kept, killer: Killer) -> None:
    deferral = kept.all("deferral")["it"]
    module, name = deferral["path"].rsplit(".", 1)
    trigger = getattr(importlib.import_module(module), name)(**deferral["keywords"])

    async def first() -> Any:
        return (await anext(trigger.run())).payload

    with contextlib.suppress(asyncio.CancelledError):
        kept.put("event", "it", asyncio.run(_until_terminated(first())))
        kept.put("outcome", "it", "triggered")


async def _until_terminated(work: Any) -> Any:
    """A triggerer that gets SIGTERM cancels what runs."""
    running = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    return await running


def _work(task: Task, kept: Kept, killer: Killer, number: int, *, resumed: bool) -> None:
    operator = task.operator()
    killer.obey(operator.on_kill)
    context: dict[str, Any] = {"params": {}, "ti": KeptTaskInstance(kept, number)}
    if task.case.remembers:
        context["task_state_store"] = KillingStore(kept, killer)
    try:
        outcome = _outcome(operator, kept, killer, context, resumed=resumed)
    except AirflowTaskTerminated:
        outcome = "terminated"
    except AirflowFailException as error:
        outcome = f"failed: {error}"
    except AirflowException as error:
        outcome = f"error: {error}"
    kept.put("outcome", "it", outcome)


def _outcome(operator: Any, kept: Kept, killer: Killer, context: dict[str, Any], *, resumed: bool) -> str:
    operator.render_template_fields(context)
    try:
        result = _resumed(operator, kept, context) if resumed else operator.execute(context)
    except TaskDeferred as deferred:
        _defer(deferred, kept, killer)
        return "deferred"
    killer.at(RESUMED if resumed else RETURNING)
    kept.put("xcom", "return_value", result)
    return "success"


def _resumed(operator: Any, kept: Kept, context: dict[str, Any]) -> Any:
    deferral, event = kept.all("deferral")["it"], kept.all("event")["it"]
    return operator.resume_execution(deferral["method"], {**deferral["kwargs"], "event": event}, context)


def _defer(deferred: Any, kept: Kept, killer: Killer) -> None:
    path, keywords = deferred.trigger.serialize()
    killer.at(DEFERRING)
    found = {"path": path, "keywords": keywords, "method": deferred.method_name, "kwargs": deferred.kwargs or {}}
    kept.put("deferral", "it", found)
