"""Many tasks at once without a scheduler: workers are threads, the triggerer is an event loop."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from airflow_cleanroomsml._compat import AirflowException, TaskDeferred
from tests.support import TaskInstance


@dataclass
class Task:
    """
    A task.

    :param make: Makes its operator, as every process that runs a part of it does.
    :param ti: Which task it is.
    """

    make: Callable[[], Any]
    ti: TaskInstance
    result: Any = None
    error: AirflowException | None = None
    deferrals: list[str] = field(default_factory=list)


class Fleet:
    """
    Workers and a triggerer.

    :param workers: Tasks that run at a time; a deferred one holds no worker.
    """

    def __init__(self, workers: int) -> None:
        self._workers = ThreadPoolExecutor(workers)

    def run(self, tasks: Sequence[Task]) -> None:
        """Run all tasks until they end."""
        asyncio.run(self._run_all(tasks))
        self._workers.shutdown()

    async def _run_all(self, tasks: Sequence[Task]) -> None:
        await asyncio.gather(*(self._run_one(task) for task in tasks))

    async def _run_one(self, task: Task) -> None:
        loop, step = asyncio.get_running_loop(), _run_first_step
        while True:
            deferred = await loop.run_in_executor(self._workers, step, task)
            if deferred is None:
                return
            path, keywords = deferred.trigger.serialize()
            task.deferrals.append(path.rsplit(".", 1)[1])
            trigger = _build_trigger(path, json.loads(json.dumps(keywords)))
            event = (await anext(trigger.run())).payload
            step = _Resumed(deferred.method_name, json.loads(json.dumps(event)))


def _build_trigger(path: str, keywords: dict[str, Any]) -> Any:
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)(**keywords)


def _run_step(task: Task, work: Callable[[Any, dict[str, Any]], Any]) -> Any:
    """Run one step of a task as a worker does; returns the deferral that ends it, or None."""
    operator, context = task.make(), {"ti": task.ti, "params": {}}
    try:
        operator.render_template_fields(context)
        task.result = work(operator, context)
    except TaskDeferred as deferral:
        return deferral
    except AirflowException as error:
        task.error = error
    return None


def _run_first_step(task: Task) -> Any:
    return _run_step(task, lambda operator, context: operator.execute(context))


@dataclass
class _Resumed:
    method: str
    event: dict[str, Any]

    def __call__(self, task: Task) -> Any:
        return _run_step(task, lambda operator, context: getattr(operator, self.method)(context, event=self.event))
