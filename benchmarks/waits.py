"""Deferred waits in one triggerer: what they cost, how long they block it, and how late they see an end."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.table import Row, below, part
from benchmarks.triggers import Load, Seen, run
from tests.crowd import CrowdedProcess, CrowdedWorld

MIB = 2**20


@contextmanager
def _crowd() -> Iterator[CrowdedWorld]:
    process = CrowdedProcess()
    try:
        yield CrowdedWorld(process)
    finally:
        process.stop()


def measured(world: CrowdedWorld, load: Load) -> tuple[Seen, int]:
    """What was seen, and how many calls the service got."""
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
    seen = run(load, environment)
    if seen.errors:
        raise RuntimeError(Counter(seen.errors))
    return seen, len(world.calls) - before


def _blocks(what: str, ours: Seen, limit: float, peer: Seen | None = None) -> Iterator[Row]:
    yield below(f"{what}: longest block of the loop, s", ours.block, limit, peer.block if peer else None)
    yield Row(f"{what}: longest block, processor time alone, s", ours.busy, peer.busy if peer else None)
    yield Row(f"{what}: longest collection of garbage, s", ours.collected, peer.collected if peer else None)
    yield Row(f"{what}: a collection of garbage before the first wait, s", ours.collected_before)


def three_hundred() -> Iterator[Row]:
    """300 waits, a look every 5 seconds, cut off after 20 seconds."""
    with _crowd() as world:
        arns = world.jobs(300)
        ours, calls = measured(world, Load("ours", arns, 20.0))
        peer, peers = measured(world, Load("peer", arns, 20.0))
    yield part("300 waits, 20 s: CPU, s", ours.cpu, peer.cpu, 35)
    yield part("300 waits, 20 s: memory, MiB", max(ours.memory, 1) / MIB, peer.memory / MIB, 30)
    yield from _blocks("300 waits, 20 s", ours, 0.05, peer)
    yield part("300 waits, 20 s: calls", calls, peers, 40)


def three_hundred_that_end() -> Iterator[Row]:
    """300 waits from the first look to the last event: each job is read once more when it has ended."""
    found = {}
    for side in ("ours", "peer"):
        with _crowd() as world:
            found[side] = measured(world, Load(side, world.jobs(300, seconds=12), 120.0))
            missing = 300 - len(found[side][0].events)
            if missing:
                raise RuntimeError(f"{missing} of 300 waits had no event ({side})")
    (ours, calls), (peer, peers) = found["ours"], found["peer"]
    yield part("300 waits whose jobs end after 12 s: CPU until the last event, s", ours.cpu, peer.cpu, 12)
    yield from _blocks("300 waits whose jobs end after 12 s", ours, 0.05, peer)
    yield Row("300 waits whose jobs end after 12 s: calls", calls, peers)


def long_history() -> Iterator[Row]:
    """The same with 5,000 jobs in the listing that have ended."""
    with _crowd() as world:
        world.jobs(5000, seconds=-1)
        arns = world.jobs(300)
        ours, calls = measured(world, Load("ours", arns, 20.0))
        peer, peers = measured(world, Load("peer", arns, 20.0))
    yield part("300 waits among 5,000 ended: CPU, s", ours.cpu, peer.cpu, 8)
    yield from _blocks("300 waits among 5,000 ended", ours, 0.05, peer)
    yield below("300 waits among 5,000 ended: calls, of 5 looks each", calls, 5 * 300, peers)


def ten_thousand() -> Iterator[Row]:
    """10,000 waits; the peer would need ten minutes to start."""
    with _crowd() as world:
        seen, calls = measured(world, Load("ours", world.jobs(10_000), 20.0))
    yield Row("10,000 waits, 20 s: CPU, s", seen.cpu)
    yield from _blocks("10,000 waits, 20 s", seen, 0.15)
    yield below("10,000 waits, 20 s: memory, MiB", seen.memory / MIB, 60)
    yield Row("10,000 waits, 20 s: calls", calls)


def ten_thousand_that_end() -> Iterator[Row]:
    """10,000 waits whose jobs all end at the same moment, half a minute after the first wait began."""
    with _crowd() as world:
        arns, end = world.jobs(10_000, seconds=30), time.time() + 30
        seen, calls = measured(world, Load("ours", arns, 600.0))
    missing = len(arns) - len(seen.events)
    if missing:
        raise RuntimeError(f"{missing} of {len(arns)} waits had no event")
    yield below(
        "10,000 waits whose jobs end at once: seconds until the last event", max(seen.events.values()) - end, 120
    )
    yield Row("10,000 waits whose jobs end at once: CPU, s", seen.cpu)
    yield from _blocks("10,000 waits whose jobs end at once", seen, 0.15)
    yield Row("10,000 waits whose jobs end at once: calls", calls)


def thousand_at_once() -> Iterator[Row]:
    """1,000 triggers that start at once in a process that has loaded nothing yet."""
    with _crowd() as world:
        arns = world.jobs(1000)
        load = Load("ours", arns, 8.0, warm=False, at_once=True)
        seen = min((measured(world, load)[0] for _ in range(3)), key=lambda seen: seen.block)
    yield from _blocks("1,000 starts at once, boto3 not loaded, best of 3", seen, 0.05)


def detection() -> Iterator[Row]:
    """How long after its end a job's event comes."""
    found = {}
    for side in ("ours", "peer"):
        with _crowd() as world:
            begun = time.time()
            ends = {world.jobs(1, seconds=8 + number / 10)[0]: begun + 8 + number / 10 for number in range(100)}
            seen, _ = measured(world, Load(side, list(ends), 40.0))
        found[side] = [seen.events[arn] - end for arn, end in ends.items()]
    ours, peer = found["ours"], found["peer"]
    yield Row("100 jobs, looks 5 s apart: mean delay of the event, s", statistics.mean(ours), statistics.mean(peer))
    yield Row("100 jobs, looks 5 s apart: longest delay of the event, s", max(ours), max(peer))
