"""Waits over a connection that is changed, or cannot be read, while others wait over it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._polling import poller
from airflow_cleanroomsml._polling.connecting import connect
from airflow_cleanroomsml._polling.origin import Origin
from airflow_cleanroomsml._polling.subscription import Subscription
from airflow_cleanroomsml._waiting.wait import Wait
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger
from tests.support import World
from tests.test_triggers import event, in_training, pollers, until, until_called, wait_for

NAME = "prod"
VARIABLE = "AIRFLOW_CONN_PROD"


def leads_to(world: World) -> str:
    """A connection to an account."""
    return json.dumps({"conn_type": "aws", "login": world.account, "password": "secret"})


def watched(wait: Wait, name: str = NAME) -> asyncio.Task[Any]:
    return asyncio.create_task(event(CleanRoomsMLWaitTrigger(wait=wait.to_json(), aws_conn_id=name)))


class TestChanged:
    @pytest.fixture
    def other(self, slow_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
        """Another account; the connection leads to the first one."""
        monkeypatch.setenv(VARIABLE, leads_to(slow_world))
        return World(slow_world.emulator).build()

    @pytest.mark.parametrize("goal", ["created", "deleted"])
    def test_who_begins_then_is_looked_for_by_what_it_says_then(
        self, slow_world: World, other: World, goal: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = wait_for(in_training(slow_world), timeout=3600)
        after = wait_for(in_training(other), goal=goal, timeout=2)._replace(lag=0.0)

        async def both() -> Any:
            first = watched(before)
            await until_called(slow_world, len(slow_world.calls) + 1)
            monkeypatch.setenv(VARIABLE, leads_to(other))
            seen = await watched(after)
            calls = len(slow_world.calls)
            await until_called(slow_world, calls + 1)
            assert not first.done()
            first.cancel()
            return seen

        seen = asyncio.run(both())["poll_result"]
        assert (seen["outcome"], seen["status"]) == ("pending", "CREATE_IN_PROGRESS")
        until(lambda: poller._process.pollers == {})

    def test_who_leaves_while_it_is_read_leaves_no_poller_behind(
        self, slow_world: World, other: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arn, hand_over = in_training(slow_world), poller.Poller._hand_over
        left = threading.Event()

        def too_late(self: poller.Poller, strangers: list[Subscription]) -> None:
            for watch in strangers:
                self.remove(watch)
            hand_over(self, strangers)
            left.set()

        async def three() -> Any:
            first = watched(wait_for(arn, timeout=3600))
            await until_called(slow_world, len(slow_world.calls) + 1)
            monkeypatch.setattr(poller.Poller, "_hand_over", too_late)
            monkeypatch.setenv(VARIABLE, leads_to(other))
            second = watched(wait_for(arn, timeout=3600))
            await asyncio.to_thread(left.wait, 60)
            monkeypatch.setattr(poller.Poller, "_hand_over", hand_over)
            monkeypatch.setenv(VARIABLE, leads_to(slow_world))
            seen = await watched(wait_for(arn, timeout=0))
            first.cancel()
            second.cancel()
            return seen

        assert asyncio.run(three())["poll_result"]["status"] == "CREATE_IN_PROGRESS"

    def test_one_that_changes_each_time_has_few_pollers(
        self, slow_world: World, other: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As of a secrets backend that makes new keys whenever it is asked."""
        arn = in_training(slow_world)

        async def many() -> int:
            waits = []
            for number in range(6):
                login = {"conn_type": "aws", "login": slow_world.account, "password": f"secret-{number}"}
                monkeypatch.setenv(VARIABLE, json.dumps(login))
                waits.append(watched(wait_for(arn, timeout=3600)))
                await until_called(slow_world, len(slow_world.calls) + 1)
                await asyncio.sleep(0.5)
            threads = len(pollers())
            for wait in waits:
                wait.cancel()
            return threads

        assert asyncio.run(many()) == 3
        until(lambda: not poller._process.alive)

    def test_its_heir_takes_no_other_credentials_either(
        self, slow_world: World, other: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        triggerers_own = World(slow_world.emulator)
        before, after = (wait_for(in_training(world), timeout=3600)._replace(lag=0.0) for world in (slow_world, other))
        asked = threading.Event()

        def unreadable(*given: Any, **more: Any) -> Any:
            monkeypatch.delenv(VARIABLE)
            monkeypatch.setattr(poller, "connect", connect)
            asked.set()
            return connect(*given, **more)

        async def both() -> None:
            first = watched(before)
            await until_called(slow_world, len(slow_world.calls) + 1)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", triggerers_own.account)
            monkeypatch.setenv(VARIABLE, leads_to(other))
            monkeypatch.setattr(poller, "connect", unreadable)
            second, calls = watched(after), len(other.calls)
            await asyncio.to_thread(asked.wait, 60)
            await asyncio.sleep(2)
            assert not second.done()
            monkeypatch.setenv(VARIABLE, leads_to(other))
            await until_called(other, calls + 1)
            first.cancel()
            second.cancel()

        asyncio.run(both())
        assert triggerers_own.calls == []

    def test_while_it_is_read_those_of_before_go_on(
        self, slow_world: World, other: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arn = in_training(slow_world)
        hangs, answers = threading.Event(), threading.Event()

        async def both() -> Any:
            first = watched(wait_for(arn, timeout=3600))
            await until_called(slow_world, len(slow_world.calls) + 1)
            monkeypatch.setattr(CleanRoomsMLHook, "get_connection", staticmethod(hanging(hangs, answers)))
            second = watched(wait_for(arn, timeout=0))
            await asyncio.to_thread(hangs.wait, 60)
            await until_called(slow_world, len(slow_world.calls) + 2)
            assert not second.done()
            answers.set()
            seen = await second
            first.cancel()
            return seen

        assert asyncio.run(both())["poll_result"]["status"] == "CREATE_IN_PROGRESS"


def hanging(hangs: threading.Event, answers: threading.Event) -> Callable[[str], Any]:
    """A secrets backend that does not answer until it is told to."""
    get = CleanRoomsMLHook.get_connection

    def slowly(name: str) -> Any:
        hangs.set()
        answers.wait(60)
        return get(name)

    return slowly


@pytest.mark.parametrize(("name", "goal"), [("aws_default", "created"), ("aws_default", "deleted"), (NAME, "created")])
def test_one_that_cannot_be_read_leaves_nothing_to_other_credentials(
    slow_world: World, name: str, goal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's secrets backend tells a fault from a connection that is gone nowhere, and the amazon provider goes on without one."""
    variable, login = f"AIRFLOW_CONN_{name.upper()}", leads_to(slow_world)
    wait = wait_for(in_training(slow_world), goal=goal, timeout=3600)._replace(lag=0.0)
    triggerers_own = World(slow_world.emulator)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", triggerers_own.account)
    monkeypatch.setenv(variable, login)

    async def renewed() -> None:
        task = watched(wait, name)
        await until_called(slow_world, len(slow_world.calls) + 1)
        monkeypatch.delenv(variable)
        await asyncio.to_thread(slow_world.fault, "GetAudienceModel", "expired_credentials")
        await asyncio.to_thread(until, lambda: slow_world.emulator.faults(slow_world.account) == [])
        await asyncio.sleep(2)
        monkeypatch.setenv(variable, login)
        await until_called(slow_world, len(slow_world.calls) + 1)
        assert not task.done()
        task.cancel()

    asyncio.run(renewed())
    assert triggerers_own.calls == []


def test_one_whose_read_hangs_is_not_waited_for_without_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now, hangs, answers = 2_000_000_000.0, threading.Event(), threading.Event()
    monkeypatch.setattr(_clock, "now", lambda: now)
    monkeypatch.setattr(CleanRoomsMLHook, "get_connection", staticmethod(hanging(hangs, answers)))
    monkeypatch.setenv(VARIABLE, '{"conn_type": "aws"}')
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    origin = Origin({"aws_conn_id": NAME})
    origin.made("what it said", read=now)
    now += 1
    stranger: Any = SimpleNamespace(begun=now)
    try:
        assert origin.strangers([stranger]) == [stranger]
        assert origin.has_changed(loop, lambda: None) is None
        assert hangs.wait(60)
        now += 19
        assert origin.has_changed(loop, lambda: None) is None
        now += 1
        # Whoever waits is served by the client that is there, and the connection is read again a minute later.
        assert origin.has_changed(loop, lambda: None) is False
        assert origin.strangers([stranger]) == []
        now += 60
        assert origin.strangers([stranger]) == [stranger]
    finally:
        answers.set()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
