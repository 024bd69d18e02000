"""Partners' finished jobs: the sensor reports each once across runs, and the watcher once across restarts."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from typing import Any

import pytest

from airflow_cleanroomsml.exceptions import InvalidRequestError, WaitTimeoutError
from airflow_cleanroomsml.sensors import CleanRoomsMLNewAudienceGenerationJobsSensor
from airflow_cleanroomsml.triggers import CleanRoomsMLAudienceGenerationJobFinishedTrigger
from tests.helpers.offer import Offer
from tests.support import EmulatorProcess, World, run

#: How long a long job takes, in seconds of the emulator's clock.
LONG = 1000


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    """A separate emulator, because the tests move its clock."""
    process = EmulatorProcess("--scale", "0.001", "--pending-seconds", "0", "--progress-seconds", "0.1")
    yield process
    process.stop()


@pytest.fixture
def offer(world: World, emulator: EmulatorProcess) -> Offer:
    return Offer(world, World(emulator).build())


def finish(offer: Offer, name: str) -> str:
    """Let the partner start a job, and wait for its end; return the owner's name for it."""
    arn = offer.start_job(offer.partner, name)
    assert offer.partner.wait(arn)["status"] in {"ACTIVE", "CREATE_FAILED"}
    return f"{offer.partner.account}-{name}"


def start_long(offer: Offer, name: str) -> str:
    """Let the partner start a job that ends when the clock is moved; return the owner's name for it."""
    before = offer.owner.emulator.change_settings(progress_seconds=LONG)
    offer.start_job(offer.partner, name)
    offer.owner.emulator.change_settings(progress_seconds=before["progress_seconds"])
    return f"{offer.partner.account}-{name}"


def list_names(jobs: list[dict[str, Any]]) -> list[str]:
    return [job["name"] for job in jobs]


@pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferred"])
def test_sensor_continues_where_previous_run_stopped(offer: Offer, deferrable: bool) -> None:
    def sense(**more: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "task_id": "t",
            "poke_interval": 0.5,
            "timeout": 600,
            "deferrable": deferrable,
            **more,
        }
        model: dict[str, Any] = {"configured_audience_model_arn": offer.model, "finished": True}
        return run(CleanRoomsMLNewAudienceGenerationJobsSensor(**model, **arguments)).pushed

    begin = time.time() - 86_400
    long = start_long(offer, "long")
    with pytest.raises(WaitTimeoutError, match="No audience generation job finished within 1 s"):
        sense(since=begin, timeout=1)
    short = finish(offer, "short")
    first = sense(since=begin, after="None")
    assert list_names(first["jobs"]) == [short]
    with pytest.raises(WaitTimeoutError):
        sense(since=begin, after=first["bookmark"], timeout=1)
    offer.owner.emulator.advance(LONG)
    # The job was created before this run's ``since``, which a bookmark overrides.
    assert list_names(sense(since=time.time() + 3 * LONG, after=first["bookmark"])["jobs"]) == [long]


class AssetState(dict[str, str]):
    """A stand-in for the state of an asset, which only a running triggerer has; ``tests/dags/test_partner_jobs.py`` runs one."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    async def aget(self, key: str) -> str | None:
        return self.get(key)

    async def aset(self, key: str, value: str) -> None:
        self[key] = value
        self.written.set()


class Watcher:
    """The trigger of an asset watcher, from one start of the triggerer to its end."""

    def __init__(self, offer: Offer, state: AssetState | None = None, **more: Any) -> None:
        self._owner = offer.owner
        original = CleanRoomsMLAudienceGenerationJobFinishedTrigger(
            configured_audience_model_arn=offer.model, **{"waiter_delay": 0.5, **more}
        )
        _, keywords = original.serialize()
        self.trigger = CleanRoomsMLAudienceGenerationJobFinishedTrigger(**json.loads(json.dumps(keywords)))
        if state is not None:
            vars(self.trigger)["asset_state_store"] = state

    async def collect_events(self, number: int, *, act: Any = None) -> list[dict[str, Any]]:
        """
        Return the trigger's first events.

        :param act: Called once the trigger has read the listing.
        """
        events: list[dict[str, Any]] = []
        async with aclosing(self._run()) as running:
            if act is not None:
                pending = asyncio.ensure_future(anext(running))
                await asyncio.to_thread(self._wait_for_listings)
                await asyncio.to_thread(act)
                events.append(await asyncio.wait_for(pending, 300))
            while len(events) < number:
                events.append(await asyncio.wait_for(anext(running), 300))
            # A second event for the same job would come with the next listing.
            with suppress(asyncio.TimeoutError):
                events.append(await asyncio.wait_for(anext(running), 2))
        return events

    def _wait_for_listings(self) -> None:
        """Wait for two more listings, after which the first has been evaluated."""
        listings = self._count_listings() + 2
        while self._count_listings() < listings:
            time.sleep(0.1)

    def _count_listings(self) -> int:
        return self._owner.calls.count("ListAudienceGenerationJobs")

    async def _run(self) -> AsyncGenerator[dict[str, Any], None]:
        async for event in self.trigger.run():
            yield json.loads(json.dumps(event.payload))


def collect_names(watcher: Watcher, number: int, act: Any = None) -> list[str]:
    return list_names(asyncio.run(watcher.collect_events(number, act=act)))


def test_first_start_reports_jobs_that_finish_later(offer: Offer) -> None:
    finish(offer, "old")
    long = start_long(offer, "long")
    assert collect_names(Watcher(offer), 1, lambda: offer.owner.emulator.advance(LONG)) == [long]


def test_event_has_what_an_export_needs_but_no_seed(offer: Offer) -> None:
    finish(offer, "job")
    (event,) = asyncio.run(Watcher(offer, since=0x10000000).collect_events(1))
    (listed,) = offer.owner.ml.list_audience_generation_jobs()["audienceGenerationJobs"]
    assert event == {
        "audience_generation_job_arn": listed["audienceGenerationJobArn"],
        "name": f"{offer.partner.account}-job",
        "status": "ACTIVE",
        "started_by": offer.partner.account,
        "configured_audience_model_arn": offer.model,
        "collaboration_id": offer.collaboration.id,
        "create_time": listed["createTime"].isoformat(),
    }


def test_restart_with_state_reports_each_job_once(offer: Offer) -> None:
    state = AssetState()
    long = start_long(offer, "long")
    first = collect_names(Watcher(offer, state), 1, lambda: finish(offer, "first"))
    second = finish(offer, "second")
    offer.owner.emulator.advance(LONG)
    assert first == [f"{offer.partner.account}-first"]
    assert sorted(collect_names(Watcher(offer, state), 2)) == sorted([second, long])
    assert collect_names(Watcher(offer, state), 0) == []


def test_restart_without_state_is_a_first_start(offer: Offer) -> None:
    finish(offer, "job")
    assert collect_names(Watcher(offer), 0) == []
    for _ in range(2):
        assert len(collect_names(Watcher(offer, since=0x10000000), 1)) == 1


def test_failed_job_is_also_reported(offer: Offer) -> None:
    offer.partner.add_fault("StartAudienceGenerationJob", "fail_job")
    finish(offer, "job")
    (event,) = asyncio.run(Watcher(offer, since=0x10000000).collect_events(1))
    assert event["status"] == "CREATE_FAILED"


def test_denied_listing_does_not_end_the_watch(offer: Offer) -> None:
    finish(offer, "job")
    offer.owner.add_fault("ListAudienceGenerationJobs", "access_denied")
    assert len(collect_names(Watcher(offer, since=0x10000000), 1)) == 1


def test_all_watchers_of_a_listing_share_a_call(offer: Offer) -> None:
    async def watch() -> None:
        watchers = [Watcher(offer, waiter_delay=3).collect_events(0) for _ in range(20)]
        await asyncio.gather(*watchers)

    asyncio.run(watch())
    assert offer.owner.calls.count("ListAudienceGenerationJobs") == 1


def test_invalid_time_fails_when_the_dag_is_loaded() -> None:
    with pytest.raises(InvalidRequestError, match="since: 'yesterday' is not a time"):
        CleanRoomsMLAudienceGenerationJobFinishedTrigger(since="yesterday")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("started_by", 123456789012),
        ("started_by", "12345678901"),
        ("configured_audience_model_arn", "{{ var.value.model }}"),
        ("configured_audience_model_arn", "arn:aws:cleanrooms-ml:us-east-1:123456789012:audience-model/x"),
        ("collaboration_id", "x"),
        ("waiter_delay", 0),
        ("waiter_delay", "60"),
        ("waiter_delay", None),
        ("waiter_delay", float("nan")),
    ],
)
def test_invalid_argument_fails_when_the_dag_is_loaded(name: str, value: Any) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(InvalidRequestError, match=f"{name}: .* is not valid; must be .*, not a template"):
        CleanRoomsMLAudienceGenerationJobFinishedTrigger(**arguments)


def test_state_is_written_after_airflow_stores_the_event(offer: Offer) -> None:
    streams = pytest.importorskip("airflow.triggers.shared_stream", reason="Airflow shares streams since 3.3")
    state = AssetState()
    finish(offer, "job")
    trigger = Watcher(offer, state, since=0x10000000).trigger
    key = trigger.shared_stream_key()
    assert key is not None

    async def watch() -> None:
        manager = streams.SharedStreamManager(log=logging.getLogger(__name__))
        stream = trigger.filter_shared_stream(manager.subscribe(trigger_id=1, trigger=trigger, key=key))
        await anext(stream)
        number = manager.bind_pending_event(trigger_id=1, key=key)
        pending = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(1)
        assert state == {}
        manager.confirm_persisted([number])
        await asyncio.wait_for(state.written.wait(), 60)
        pending.cancel()
        await manager.stop_all()

    asyncio.run(asyncio.wait_for(watch(), 120))
