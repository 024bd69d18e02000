"""
Runs triggers in the event loop of a separate process, and measures them from within.

``python -m benchmarks.triggers`` reads a load from standard input, and writes a measurement to standard output, both as JSON.
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
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

#: Seconds for which the watchdog sleeps.
_WATCHDOG_SLEEP = 0.005


@dataclass(frozen=True)
class Load:
    """
    What to run.

    :param side: ``ours``; ``peer``; ``bare`` for triggers that only await a future; or ``airflow`` for such triggers in Airflow's own
        ``TriggerRunner``, which the other sides are measured without.
    :param arns: ARNs of audience generation jobs, with a trigger for each.
    :param seconds: Maximum duration.
    :param delay: Seconds between two polls.
    :param warm: Whether slow imports are done before the measurement.
    :param at_once: Whether all triggers start in one iteration of the loop; otherwise one after the other, as in Airflow's triggerer.
    """

    side: str
    arns: list[str]
    seconds: float
    delay: int = 5
    warm: bool = True
    at_once: bool = False


@dataclass(frozen=True)
class Measurement:
    """
    What was measured.

    :param cpu: Seconds of processor time, without those of the watchdog.
    :param memory: Bytes by which the process grew.
    :param block: Longest time for which the loop did not run, in seconds.
    :param busy: Longest processor time during such a block, in seconds: the rest is time of other processes on the machine.
    :param collected: Longest garbage collection, in seconds. It stops the process, and takes longer in a larger one.
    :param collected_before: Processor time of a full garbage collection before the first wait, in seconds. It is forced.
    :param collected_after: Processor time of a forced one at the end, with all waits that have not ended.
    :param objects: Objects that the garbage collector visits, at the end less those before the first wait.
    :param events: Time of each trigger's event, in seconds since 1970.
    :param errors: Payloads of events other than success.
    """

    cpu: float
    memory: int
    block: float
    busy: float
    collected: float
    collected_before: float
    collected_after: float
    objects: int
    events: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def run(load: Load, environment: Mapping[str, str]) -> Measurement:
    """Run a load in a separate process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.triggers"],
        input=json.dumps(asdict(load)),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    # Airflow writes log lines to standard output, too; the result is the last line.
    return Measurement(**json.loads(done.stdout.splitlines()[-1]))


def _load_our_trigger(load: Load) -> Callable[[str], Any]:
    from airflow_cleanroomsml._waiting.wait import Wait
    from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger

    if load.warm:
        importlib.import_module("airflow_cleanroomsml._polling.client")
    # A wait polls more often at first. These have waited for an hour, so they poll as often as the peer's.
    now = time.time()

    def trigger(arn: str) -> Any:
        identifiers = {"audience_generation_job_arn": arn}
        wait = Wait(
            "audience generation job",
            "created",
            identifiers,
            now - 3600,
            now + 86_400,
            load.delay,
            on_kill="cancel",
            connection={"aws_conn_id": "aws_default"},
            history=(("CREATE_PENDING", now - 3600),),
            sources=(arn.replace("generation-job", "model"), f"s3://bucket/seed/{arn[-36:]}.jsonl"),
        )
        # Airflow's database holds it as JSON, so the trigger shares no object with another.
        return CleanRoomsMLWaitTrigger(**json.loads(json.dumps({"wait": wait.to_json(), "aws_conn_id": "aws_default"})))

    return trigger


def _load_peer_trigger(load: Load) -> Callable[[str], Any]:
    from benchmarks.peer import PeerTrigger

    return lambda arn: PeerTrigger(audience_generation_job_arn=arn, waiter_delay=load.delay)


def _load_bare_trigger(_: Load) -> Callable[[str], Any]:
    from airflow.triggers.base import BaseTrigger, TriggerEvent

    class BareTrigger(BaseTrigger):
        def serialize(self) -> tuple[str, dict[str, Any]]:
            return "", {}

        async def run(self) -> AsyncIterator[TriggerEvent]:
            yield TriggerEvent(await asyncio.get_running_loop().create_future())

    make: Callable[[], Any] = BareTrigger
    return lambda _: make()


def _build_runner() -> Callable[[str, Any], Coroutine[Any, Any, None]]:
    """Return a function that runs a trigger as Airflow does."""
    from airflow.jobs.triggerer_job_runner import TriggerRunner

    runner = TriggerRunner()

    def run_trigger(arn: str, trigger: Any) -> Coroutine[Any, Any, None]:
        number = len(runner.triggers)
        # As TriggerRunner.create_triggers does, but without messages of a supervisor.
        details: Any = {"task": None, "is_watcher": False, "name": arn, "events": 0}
        runner.triggers[number] = details
        return runner.run_trigger(number, trigger)

    return run_trigger


_LOADERS: dict[str, Callable[[Load], Callable[[str], Any]]] = {
    "ours": _load_our_trigger,
    "peer": _load_peer_trigger,
    "bare": _load_bare_trigger,
    "airflow": _load_bare_trigger,
}


class _Watchdog:
    def __init__(self) -> None:
        self.longest = self.busiest = 0.0

    async def watch(self) -> None:
        while True:
            before, taken = time.perf_counter(), time.process_time()
            await asyncio.sleep(_WATCHDOG_SLEEP)
            late = time.perf_counter() - before - _WATCHDOG_SLEEP
            self.longest = max(self.longest, late)
            self.busiest = max(self.busiest, min(late, time.process_time() - taken))


def _record_collections() -> list[float]:
    """Record the duration of each garbage collection from now on."""
    started, pauses = [0.0], list[float]()

    def note(phase: str, _: Any) -> None:
        if phase == "start":
            started[0] = time.perf_counter()
        else:
            pauses.append(time.perf_counter() - started[0])

    gc.callbacks.append(note)
    return pauses


def _collect() -> float:
    """Collect all garbage; return the processor time."""
    before = time.thread_time()
    gc.collect()
    return time.thread_time() - before


def _count_objects() -> int:
    """Count the objects that the garbage collector visits."""
    # Not by gc.get_objects(): after so large a list was freed, glibc no longer gives the memory of large texts back to the system, such as
    # that of botocore's endpoints.json, and the process grows by 1.6 MiB more.
    gc.freeze()
    count = gc.get_freeze_count()
    gc.unfreeze()
    return count


async def _measure_watchdog() -> float:
    """Measure the watchdog's own processor time per second."""
    cpu, task = time.process_time(), asyncio.create_task(_Watchdog().watch())
    await asyncio.sleep(2.0)
    task.cancel()
    return (time.process_time() - cpu) / 2.0


async def _measure(load: Load, trigger: Callable[[str], Any]) -> Measurement:
    import psutil

    process, events, errors = psutil.Process(), dict[str, float](), list[str]()
    rest, all_ended = set(load.arns), asyncio.Event()

    async def listen(arn: str, trigger: Any) -> None:
        async for event in trigger.run():
            rest.discard(arn)
            if not rest:
                all_ended.set()
            events[arn] = time.time()
            result = event.payload.get("poll_result", {}).get("status") or event.payload
            if result not in ("ACTIVE", {"status": "success", "value": arn}):
                errors.append(str(result)[:300])

    # Before the measurement, because the watchdog's cost is the same without triggers.
    idle = await _measure_watchdog()
    run_trigger = _build_runner() if load.side == "airflow" else listen
    collected_before, objects_before, pauses = _collect(), _count_objects(), _record_collections()
    memory, cpu, watchdog = process.memory_info().rss, time.process_time(), _Watchdog()
    watchdog_task = asyncio.create_task(watchdog.watch())
    await asyncio.sleep(0)
    end, tasks = time.perf_counter() + load.seconds, []
    for arn in load.arns:
        tasks.append(asyncio.create_task(run_trigger(arn, trigger(arn))))
        if not load.at_once:
            # Lets the new trigger run until its first await.
            await asyncio.sleep(0)
    # asyncio.wait() would keep a context for each task.
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(all_ended.wait(), end - time.perf_counter())
    memory = process.memory_info().rss - memory
    cpu = time.process_time() - cpu - idle * (time.perf_counter() - end + load.seconds)
    collected = max(pauses, default=0.0)
    collected_after = _collect()
    measurement = Measurement(
        cpu,
        memory,
        watchdog.longest,
        watchdog.busiest,
        collected,
        collected_before,
        collected_after,
        _count_objects() - objects_before,
        events,
        errors,
    )
    for task in (watchdog_task, *tasks):
        task.cancel()
    await asyncio.gather(watchdog_task, *tasks, return_exceptions=True)
    return measurement


def main() -> None:
    """Run the load in standard input."""
    # Imports what a triggerer has imported before it runs any trigger.
    importlib.import_module("airflow.jobs.triggerer_job_runner")
    load = Load(**json.load(sys.stdin))
    measurement = asyncio.run(_measure(load, _LOADERS[load.side](load)))
    sys.stdout.write(f"\n{json.dumps(asdict(measurement))}\n")
    sys.stdout.flush()
    # Without the cleanup of hundreds of clients, which takes seconds.
    os._exit(0)


if __name__ == "__main__":
    main()
