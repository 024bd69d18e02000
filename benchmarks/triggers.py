"""
Triggers in an event loop of a process of their own, watched from inside.

``python -m benchmarks.triggers`` reads what to run from standard input and writes what it saw to standard output, both as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

_GLANCE = 0.005


@dataclass(frozen=True)
class Load:
    """
    What to run.

    :param side: ``ours`` or ``peer``.
    :param arns: Audience generation jobs, a trigger for each.
    :param seconds: How long.
    :param delay: Seconds between two looks.
    :param warm: Whether all that is slow to load is loaded before.
    :param at_once: Whether all start in one turn of the loop; else one after the other, as Airflow's triggerer starts them.
    """

    side: str
    arns: list[str]
    seconds: float
    delay: int = 5
    warm: bool = True
    at_once: bool = False


@dataclass(frozen=True)
class Seen:
    """
    What was seen.

    :param cpu: Seconds of processor time, less what watching takes.
    :param memory: Bytes by which the process has grown.
    :param block: The longest time for which the loop did not run, in seconds.
    :param busy: The most processor time that the process took in such a time: what of it is its own doing, on a machine that others use.
    :param collected: The longest collection of garbage, in seconds: it stops the whole process, for longer the larger the process is.
    :param collected_before: A full collection of garbage before the first wait, in seconds.
    :param events: When the event of each trigger came, in seconds since 1970.
    :param errors: What they say that is no success.
    """

    cpu: float
    memory: int
    block: float
    busy: float
    collected: float
    collected_before: float
    events: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def run(load: Load, environment: Mapping[str, str]) -> Seen:
    """Run it in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.triggers"],
        input=json.dumps(asdict(load)),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Seen(**json.loads(done.stdout.splitlines()[-1]))


def _ours(load: Load) -> Callable[[str], Any]:
    from airflow_cleanroomsml._waiting.wait import Wait
    from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger

    if load.warm:
        importlib.import_module("airflow_cleanroomsml._polling.client")
    # They have waited for an hour: so they are looked at as often as the peer's.
    now = time.time()

    def trigger(arn: str) -> Any:
        identifiers = {"audience_generation_job_arn": arn}
        wait = Wait("audience generation job", "created", identifiers, now - 3600, now + 86_400, load.delay)
        return CleanRoomsMLWaitTrigger(wait=wait.to_json())

    return trigger


def _peers(load: Load) -> Callable[[str], Any]:
    from benchmarks.peer import PeerTrigger

    return lambda arn: PeerTrigger(audience_generation_job_arn=arn, waiter_delay=load.delay)


class _Watchdog:
    def __init__(self) -> None:
        self.longest = self.busiest = 0.0

    async def watch(self) -> None:
        while True:
            before, taken = time.perf_counter(), time.process_time()
            await asyncio.sleep(_GLANCE)
            late = time.perf_counter() - before - _GLANCE
            self.longest = max(self.longest, late)
            self.busiest = max(self.busiest, min(late, time.process_time() - taken))


def _collections() -> list[float]:
    """The times that collections of garbage take from now on."""
    begun, pauses = [0.0], list[float]()

    def note(phase: str, _: Any) -> None:
        if phase == "start":
            begun[0] = time.perf_counter()
        else:
            pauses.append(time.perf_counter() - begun[0])

    gc.callbacks.append(note)
    return pauses


async def _cost_of_watching() -> float:
    """Processor time that the watchdog itself takes, a second."""
    cpu, watching = time.process_time(), asyncio.create_task(_Watchdog().watch())
    await asyncio.sleep(2.0)
    watching.cancel()
    return (time.process_time() - cpu) / 2.0


async def _watched(load: Load, trigger: Callable[[str], Any]) -> Seen:
    import psutil

    process, events, errors = psutil.Process(), dict[str, float](), list[str]()
    rest, all_ended = set(load.arns), asyncio.Event()

    async def listen(arn: str) -> None:
        async for event in trigger(arn).run():
            rest.discard(arn)
            if not rest:
                all_ended.set()
            events[arn] = time.time()
            told = event.payload.get("poll_result", {}).get("status") or event.payload
            if told not in ("ACTIVE", {"status": "success", "value": arn}):
                errors.append(str(told)[:300])

    idle = await _cost_of_watching()
    pauses = _collections()
    gc.collect()
    collected_before = pauses.pop()
    memory, cpu, dog = process.memory_info().rss, time.process_time(), _Watchdog()
    watching = asyncio.create_task(dog.watch())
    await asyncio.sleep(0)
    end, tasks = time.perf_counter() + load.seconds, []
    for arn in load.arns:
        tasks.append(asyncio.create_task(listen(arn)))
        if not load.at_once:
            await asyncio.sleep(0)
    # asyncio.wait() would keep a context for each task.
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(all_ended.wait(), end - time.perf_counter())
    grown = process.memory_info().rss - memory
    taken = time.process_time() - cpu - idle * (time.perf_counter() - end + load.seconds)
    seen = Seen(taken, grown, dog.longest, dog.busiest, max(pauses, default=0.0), collected_before, events, errors)
    for task in (watching, *tasks):
        task.cancel()
    await asyncio.gather(watching, *tasks, return_exceptions=True)
    return seen


def main() -> None:
    """Run what standard input says, in a process that has loaded what a triggerer has."""
    importlib.import_module("airflow.jobs.triggerer_job_runner")
    load = Load(**json.load(sys.stdin))
    trigger = (_ours if load.side == "ours" else _peers)(load)
    seen = asyncio.run(_watched(load, trigger))
    sys.stdout.write(f"\n{json.dumps(asdict(seen))}\n")
    sys.stdout.flush()
    # Hundreds of clients take their time to be taken down.
    os._exit(0)


if __name__ == "__main__":
    main()
