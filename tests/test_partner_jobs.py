"""Partners' jobs that are finished: each is reported once, by the sensor from run to run and by the watcher from start to start."""

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
    """An emulator of its own: its clock is pushed."""
    process = EmulatorProcess("--scale", "0.001", "--pending-seconds", "0", "--progress-seconds", "0.1")
    yield process
    process.stop()


@pytest.fixture
def offer(world: World, emulator: EmulatorProcess) -> Offer:
    return Offer(world, World(emulator).build())


def finish(offer: Offer, name: str) -> str:
    """Let the partner start a job, and wait for its end; the owner's name of it."""
    arn = offer.start_job(offer.partner, name)
    assert offer.partner.wait(arn)["status"] in {"ACTIVE", "CREATE_FAILED"}
    return f"{offer.partner.account}-{name}"


def start_long(offer: Offer, name: str) -> str:
    """Let the partner start a job that ends when the clock is pushed; the owner's name of it."""
    before = offer.owner.emulator.change_settings(progress_seconds=LONG)
    offer.start_job(offer.partner, name)
    offer.owner.emulator.change_settings(progress_seconds=before["progress_seconds"])
    return f"{offer.partner.account}-{name}"


def names(jobs: list[dict[str, Any]]) -> list[str]:
    return [job["name"] for job in jobs]


@pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferred"])
def test_a_sensor_goes_on_where_the_run_before_has_stopped(offer: Offer, deferrable: bool) -> None:
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
    assert names(first["jobs"]) == [short]
    with pytest.raises(WaitTimeoutError):
        sense(since=begin, after=first["bookmark"], timeout=1)
    offer.owner.emulator.advance(LONG)
    # It was created before the time of this run, which does not matter once there is a bookmark.
    assert names(sense(since=time.time() + 3 * LONG, after=first["bookmark"])["jobs"]) == [long]


class AssetState(dict[str, str]):
    """Stands in for the state of an asset, which only a running triggerer has; ``tests/dags/test_partner_jobs.py`` has one."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    async def aget(self, key: str) -> str | None:
        return self.get(key)

    async def aset(self, key: str, value: str) -> None:
        self[key] = value
        self.written.set()


class Watcher:
    """A trigger of an asset watcher, from one start of the triggerer to its end."""

    def __init__(self, offer: Offer, state: AssetState | None = None, **more: Any) -> None:
        self._owner = offer.owner
        made = CleanRoomsMLAudienceGenerationJobFinishedTrigger(
            configured_audience_model_arn=offer.model, **{"waiter_delay": 0.5, **more}
        )
        _, keywords = made.serialize()
        self.trigger = CleanRoomsMLAudienceGenerationJobFinishedTrigger(**json.loads(json.dumps(keywords)))
        if state is not None:
            vars(self.trigger)["asset_state_store"] = state

    async def events(self, number: int, *, act: Any = None) -> list[dict[str, Any]]:
        """
        Its first events.

        :param act: What is done once it has read the listing.
        """
        found: list[dict[str, Any]] = []
        async with aclosing(self._run()) as running:
            if act is not None:
                pending = asyncio.ensure_future(anext(running))
                await asyncio.to_thread(self._until_it_has_read)
                await asyncio.to_thread(act)
                found.append(await asyncio.wait_for(pending, 300))
            while len(found) < number:
                found.append(await asyncio.wait_for(anext(running), 300))
            # Whatever is reported twice comes with the next listing.
            with suppress(asyncio.TimeoutError):
                found.append(await asyncio.wait_for(anext(running), 2))
        return found

    def _until_it_has_read(self) -> None:
        """Two listings are answered after the first was evaluated."""
        listings = self._count() + 2
        while self._count() < listings:
            time.sleep(0.1)

    def _count(self) -> int:
        return self._owner.calls.count("ListAudienceGenerationJobs")

    async def _run(self) -> AsyncGenerator[dict[str, Any], None]:
        async for event in self.trigger.run():
            yield json.loads(json.dumps(event.payload))


def events(watcher: Watcher, number: int, act: Any = None) -> list[str]:
    return names(asyncio.run(watcher.events(number, act=act)))


def test_the_first_start_reports_what_finishes_from_then_on(offer: Offer) -> None:
    finish(offer, "old")
    long = start_long(offer, "long")
    assert events(Watcher(offer), 1, lambda: offer.owner.emulator.advance(LONG)) == [long]


def test_an_event_has_what_an_export_needs_and_nothing_of_the_seed(offer: Offer) -> None:
    finish(offer, "job")
    (event,) = asyncio.run(Watcher(offer, since=0x10000000).events(1))
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


def test_with_a_state_a_restart_reports_what_finished_meanwhile_and_nothing_again(offer: Offer) -> None:
    state = AssetState()
    long = start_long(offer, "long")
    first = events(Watcher(offer, state), 1, lambda: finish(offer, "first"))
    second = finish(offer, "second")
    offer.owner.emulator.advance(LONG)
    assert first == [f"{offer.partner.account}-first"]
    assert sorted(events(Watcher(offer, state), 2)) == sorted([second, long])
    assert events(Watcher(offer, state), 0) == []


def test_without_a_state_a_restart_is_a_first_start(offer: Offer) -> None:
    finish(offer, "job")
    assert events(Watcher(offer), 0) == []
    for _ in range(2):
        assert len(events(Watcher(offer, since=0x10000000), 1)) == 1


def test_a_job_that_failed_is_reported_too(offer: Offer) -> None:
    offer.partner.add_fault("StartAudienceGenerationJob", "fail_job")
    finish(offer, "job")
    (event,) = asyncio.run(Watcher(offer, since=0x10000000).events(1))
    assert event["status"] == "CREATE_FAILED"


def test_a_listing_that_is_refused_does_not_end_the_watch(offer: Offer) -> None:
    finish(offer, "job")
    offer.owner.add_fault("ListAudienceGenerationJobs", "access_denied")
    assert len(events(Watcher(offer, since=0x10000000), 1)) == 1


def test_all_watchers_of_a_listing_share_a_call(offer: Offer) -> None:
    async def watch() -> None:
        watchers = [Watcher(offer, waiter_delay=3).events(0) for _ in range(20)]
        await asyncio.gather(*watchers)

    asyncio.run(watch())
    assert offer.owner.calls.count("ListAudienceGenerationJobs") == 1


def test_a_time_that_is_none_is_an_error_of_the_dag() -> None:
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
def test_an_argument_that_could_never_work_is_an_error_of_the_dag(name: str, value: Any) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(InvalidRequestError, match=f"{name}: .* is not valid; must be .*, not a template"):
        CleanRoomsMLAudienceGenerationJobFinishedTrigger(**arguments)


def test_the_state_is_written_once_airflow_has_stored_the_event(offer: Offer) -> None:
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
