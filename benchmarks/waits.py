"""Benchmarks of deferred waits in one triggerer: their cost, how long they block it, and how late they detect the end of a job."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.table import Row, build_limit_row, build_ratio_row
from benchmarks.triggers import Load, Measurement, run
from tests.helpers.many_jobs import CrowdedProcess, CrowdedWorld

MIB = 2**20
#: Sides of a load without any work, in words.
_BARE = {"bare": "triggers that only await a future", "airflow": "the same in Airflow's TriggerRunner"}


@contextmanager
def _run_crowd() -> Iterator[CrowdedWorld]:
    process = CrowdedProcess()
    try:
        yield CrowdedWorld(process)
    finally:
        process.stop()


def measure(world: CrowdedWorld, load: Load) -> tuple[Measurement, int]:
    """Measure a load, and count its calls to the service."""
    before = len(world.calls)
    environment = {
        "AWS_ENDPOINT_URL": world.emulator.url,
        "AWS_ACCESS_KEY_ID": world.account,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AIRFLOW_CONN_AWS_DEFAULT": '{"conn_type": "aws"}',
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
    }
    measurement = run(load, environment)
    if measurement.errors:
        raise RuntimeError(Counter(measurement.errors))
    return measurement, len(world.calls) - before


def _build_block_rows(name: str, ours: Measurement, limit: float, peer: Measurement | None = None) -> Iterator[Row]:
    yield build_limit_row(f"{name}: longest block of the loop, s", ours.block, limit, peer.block if peer else None)
    yield Row(f"{name}: longest block, processor time alone, s", ours.busy, peer.busy if peer else None)
    yield Row(f"{name}: longest collection of garbage, s", ours.collected, peer.collected if peer else None)
    yield Row(f"{name}: a full collection before the first wait, processor time, s", ours.collected_before)


def _build_objects_row(name: str, waits: int, ours: Measurement, peer: Measurement | None = None) -> Row:
    what = f"{name}: objects that the garbage collector visits, for each wait"
    return Row(what, ours.objects / waits, peer.objects / waits if peer else None)


def measure_300_waits() -> Iterator[Row]:
    """Measure 300 waits that poll every 5 seconds, for 20 seconds."""
    with _run_crowd() as world:
        arns = world.add_jobs(300)
        ours, calls = measure(world, Load("ours", arns, 20.0))
        peer, peers = measure(world, Load("peer", arns, 20.0))
    yield build_ratio_row("300 waits, 20 s: CPU, s", ours.cpu, peer.cpu, 35)
    yield build_ratio_row("300 waits, 20 s: memory, MiB", max(ours.memory, 1) / MIB, peer.memory / MIB, 30)
    yield from _build_block_rows("300 waits, 20 s", ours, 0.05, peer)
    yield _build_objects_row("300 waits, 20 s", 300, ours, peer)
    yield build_ratio_row("300 waits, 20 s: calls", calls, peers, 40)


def measure_ending_waits() -> Iterator[Row]:
    """Measure 300 waits from the first poll to the last event, including the final read of each job."""
    results = {}
    for side in ("ours", "peer"):
        with _run_crowd() as world:
            results[side] = measure(world, Load(side, world.add_jobs(300, seconds=12), 120.0))
            missing = 300 - len(results[side][0].events)
            if missing:
                raise RuntimeError(f"{missing} of 300 waits had no event ({side})")
    (ours, calls), (peer, peers) = results["ours"], results["peer"]
    yield build_ratio_row("300 waits whose jobs end after 12 s: CPU until the last event, s", ours.cpu, peer.cpu, 12)
    yield from _build_block_rows("300 waits whose jobs end after 12 s", ours, 0.05, peer)
    yield Row("300 waits whose jobs end after 12 s: calls", calls, peers)


def measure_long_history() -> Iterator[Row]:
    """Measure 300 waits whose listing also has 5,000 jobs that have ended."""
    with _run_crowd() as world:
        world.add_jobs(5000, seconds=-1)
        arns = world.add_jobs(300)
        ours, calls = measure(world, Load("ours", arns, 20.0))
        peer, peers = measure(world, Load("peer", arns, 20.0))
    yield build_ratio_row("300 waits among 5,000 ended: CPU, s", ours.cpu, peer.cpu, 8)
    yield from _build_block_rows("300 waits among 5,000 ended", ours, 0.05, peer)
    yield build_limit_row("300 waits among 5,000 ended: calls, of 5 polls each", calls, 5 * 300, peers)


def measure_10000_waits() -> Iterator[Row]:
    """Measure 10,000 waits, without the peer, whose start would take ten minutes."""
    with _run_crowd() as world:
        arns = world.add_jobs(10_000)
        ours, calls = measure(world, Load("ours", arns, 20.0))
        floors = {side: measure(world, Load(side, arns, 20.0))[0] for side in _BARE}
    yield Row("10,000 waits, 20 s: CPU, s", ours.cpu)
    yield from _build_block_rows("10,000 waits, 20 s", ours, 0.15)
    # The longest block is a full collection. This is what it takes without anything of ours.
    for side, floor in floors.items():
        name = f"10,000 waits, 20 s (peer: {_BARE[side]})"
        yield Row(f"{name}: a full collection, processor time, s", ours.collected_after, floor.collected_after)
        yield _build_objects_row(name, 10_000, ours, floor)
    yield build_limit_row("10,000 waits, 20 s: memory, MiB", ours.memory / MIB, 60)
    yield Row("10,000 waits, 20 s: calls", calls)


def measure_10000_ends() -> Iterator[Row]:
    """Measure 10,000 waits whose jobs all end at the same moment, half a minute after the first wait began."""
    with _run_crowd() as world:
        arns, end = world.add_jobs(10_000, seconds=30), time.time() + 30
        ours, calls = measure(world, Load("ours", arns, 600.0))
    missing = len(arns) - len(ours.events)
    if missing:
        raise RuntimeError(f"{missing} of {len(arns)} waits had no event")
    yield build_limit_row(
        "10,000 waits whose jobs end at once: seconds until the last event", max(ours.events.values()) - end, 120
    )
    yield Row("10,000 waits whose jobs end at once: CPU, s", ours.cpu)
    yield from _build_block_rows("10,000 waits whose jobs end at once", ours, 0.15)
    yield Row("10,000 waits whose jobs end at once: calls", calls)


def measure_1000_starts() -> Iterator[Row]:
    """Measure 1,000 triggers that start at once in a process that has not imported boto3."""
    with _run_crowd() as world:
        arns = world.add_jobs(1000)
        load = Load("ours", arns, 8.0, warm=False, at_once=True)
        # The best of three, because other processes on the machine also delay the loop.
        best = min((measure(world, load)[0] for _ in range(3)), key=lambda measurement: measurement.block)
    yield from _build_block_rows("1,000 starts at once, boto3 not loaded, best of 3", best, 0.05)


def measure_detection() -> Iterator[Row]:
    """Measure the delay between the end of a job and the event of its trigger."""
    delays = {}
    for side in ("ours", "peer"):
        with _run_crowd() as world:
            start = time.time()
            ends = {world.add_jobs(1, seconds=8 + number / 10)[0]: start + 8 + number / 10 for number in range(100)}
            measurement, _ = measure(world, Load(side, list(ends), 40.0))
        delays[side] = [measurement.events[arn] - end for arn, end in ends.items()]
    ours, peer = delays["ours"], delays["peer"]
    yield Row("100 jobs, polled every 5 s: mean delay of the event, s", statistics.mean(ours), statistics.mean(peer))
    yield Row("100 jobs, polled every 5 s: longest delay of the event, s", max(ours), max(peer))
