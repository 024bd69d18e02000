"""Waits over a connection that is changed, or cannot be read, while others wait over it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._polling import connecting
from airflow_cleanroomsml._polling.registry import registry
from airflow_cleanroomsml._waiting.wait import Wait
from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger
from tests.helpers.hanging_secrets import hanging_secrets
from tests.support import World
from tests.test_triggers import build_wait, list_pollers, run_trigger, start_training, wait_until, wait_until_called

NAME = "prod"
VARIABLE = "AIRFLOW_CONN_PROD"


def leads_to(world: World, password: str = "secret") -> str:
    """A connection to an account."""
    return json.dumps({"conn_type": "aws", "login": world.account, "password": password})


def begin(wait: Wait, name: str = NAME) -> asyncio.Task[Any]:
    return asyncio.create_task(run_trigger(CleanRoomsMLWaitTrigger(wait=wait.to_json(), aws_conn_id=name)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the package's clock is ahead, in seconds: more than a minute lets it read a connection again."""
    ahead, now = [0.0], _clock.now
    monkeypatch.setattr(_clock, "now", lambda: now() + ahead[0])
    return ahead


@pytest.fixture
def other(slow_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Another account; the connection leads to the first one."""
    monkeypatch.setenv(VARIABLE, leads_to(slow_world))
    return World(slow_world.emulator).build()


class TestChanged:
    @pytest.mark.parametrize("goal", ["created", "deleted"])
    def test_a_wait_that_begins_then_uses_the_settings_of_then(
        self, slow_world: World, other: World, goal: str, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = build_wait(start_training(slow_world), timeout=36_000)
        arn = start_training(other)

        async def both() -> Any:
            first = begin(before)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            monkeypatch.setenv(VARIABLE, leads_to(other))
            clock[0] += 61
            after = build_wait(arn, goal=goal)._replace(deadline=_clock.now() + 2, lag=0.0)
            seen = await begin(after)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            assert not first.done()
            first.cancel()
            return seen

        seen = asyncio.run(both())["poll_result"]
        assert (seen["outcome"], seen["status"]) == ("pending", "CREATE_IN_PROGRESS")
        wait_until(lambda: registry.pollers == [])

    def test_for_a_minute_it_is_not_read_again(
        self, slow_world: World, other: World, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wait = build_wait(start_training(slow_world), timeout=36_000)

        async def both() -> list[int]:
            counts = []
            first = begin(wait)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            monkeypatch.setenv(VARIABLE, leads_to(slow_world, "another"))
            for _ in range(2):
                begin(wait)
                await asyncio.sleep(0.5)
                counts.append(len(registry.pollers))
                clock[0] += 61
            first.cancel()
            return counts

        assert asyncio.run(both()) == [1, 2]

    def test_a_wait_that_ends_while_it_is_read_leaves_no_poller_behind(
        self, slow_world: World, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wait = build_wait(start_training(slow_world), timeout=3600)
        monkeypatch.setenv(VARIABLE, leads_to(slow_world))

        async def one() -> None:
            with hanging_secrets(NAME, monkeypatch) as secrets:
                task = begin(wait)
                await asyncio.to_thread(secrets.asked.wait, 60)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0.5)
            assert registry.pollers == []
            assert (await begin(wait._replace(deadline=0.0)))["poll_result"]["status"] == "CREATE_IN_PROGRESS"

        asyncio.run(one())

    def test_one_that_changes_each_time_has_few_pollers(
        self, slow_world: World, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As of a secrets backend that makes new keys whenever it is asked."""
        wait = build_wait(start_training(slow_world), timeout=36_000)

        async def many() -> int:
            waits = []
            for number in range(6):
                monkeypatch.setenv(VARIABLE, leads_to(slow_world, f"secret-{number}"))
                waits.append(begin(wait))
                await wait_until_called(slow_world, len(slow_world.calls) + 1)
                clock[0] += 61
            threads = len(list_pollers())
            for each in waits:
                each.cancel()
            return threads

        assert asyncio.run(many()) == 3
        wait_until(lambda: not registry.pollers)


class TestUnreadable:
    @pytest.mark.parametrize(
        ("name", "goal"), [("aws_default", "created"), ("aws_default", "deleted"), (NAME, "created")]
    )
    def test_nothing_is_polled_with_other_credentials(
        self, slow_world: World, name: str, goal: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Airflow does not distinguish a fault from a connection that is gone, and the amazon provider goes on without one."""
        variable, login = f"AIRFLOW_CONN_{name.upper()}", leads_to(slow_world)
        wait = build_wait(start_training(slow_world), goal=goal, timeout=3600)._replace(lag=0.0)
        triggerers_own = World(slow_world.emulator)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", triggerers_own.account)
        monkeypatch.setenv(variable, login)

        async def renewed() -> None:
            task = begin(wait, name)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            monkeypatch.delenv(variable)
            await asyncio.to_thread(slow_world.add_fault, "GetAudienceModel", "expired_credentials")
            await asyncio.to_thread(wait_until, lambda: slow_world.emulator.list_faults(slow_world.account) == [])
            await asyncio.sleep(2)
            monkeypatch.setenv(variable, login)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            assert not task.done()
            task.cancel()

        asyncio.run(renewed())
        assert triggerers_own.calls == []

    def test_not_by_a_wait_that_begins_after_a_change_either(
        self, slow_world: World, other: World, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        triggerers_own = World(slow_world.emulator)
        before, after = (
            build_wait(start_training(world), timeout=36_000)._replace(lag=0.0) for world in (slow_world, other)
        )

        async def both() -> None:
            first = begin(before)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", triggerers_own.account)
            monkeypatch.setenv(VARIABLE, leads_to(other))
            clock[0] += 61
            second = begin(after)
            await wait_until_called(other, len(other.calls) + 1)
            monkeypatch.delenv(VARIABLE)
            await asyncio.to_thread(other.add_fault, "GetAudienceModel", "expired_credentials")
            await asyncio.to_thread(wait_until, lambda: other.emulator.list_faults(other.account) == [])
            await asyncio.sleep(2)
            assert not second.done()
            monkeypatch.setenv(VARIABLE, leads_to(other))
            await wait_until_called(other, len(other.calls) + 1)
            first.cancel()
            second.cancel()

        asyncio.run(both())
        assert triggerers_own.calls == []

    def test_a_wait_that_begins_then_uses_the_settings_of_the_others(
        self, slow_world: World, other: World, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wait = build_wait(start_training(slow_world), timeout=36_000)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "000000000001")

        async def both() -> Any:
            first = begin(wait)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            monkeypatch.delenv(VARIABLE)
            clock[0] += 61
            seen = await begin(wait._replace(deadline=0.0))
            first.cancel()
            return seen

        assert asyncio.run(both())["poll_result"]["status"] == "CREATE_IN_PROGRESS"

    def test_while_the_secrets_backend_hangs_the_others_are_polled(
        self, slow_world: World, other: World, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wait = build_wait(start_training(slow_world), timeout=36_000)

        async def both() -> Any:
            first = begin(wait)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            clock[0] += 61
            with hanging_secrets(NAME, monkeypatch) as secrets:
                second = begin(wait._replace(deadline=0.0))
                await asyncio.to_thread(secrets.asked.wait, 60)
                await wait_until_called(slow_world, len(slow_world.calls) + 2)
                assert not second.done()
            seen = await second
            first.cancel()
            return seen

        assert asyncio.run(both())["poll_result"]["status"] == "CREATE_IN_PROGRESS"

    def test_a_secrets_backend_that_hangs_is_not_waited_for_without_limit(
        self, slow_world: World, other: World, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wait = build_wait(start_training(slow_world), timeout=36_000)
        monkeypatch.setattr(connecting, "_READ_TIMEOUT", 0.5)

        async def both() -> Any:
            first = begin(wait)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            clock[0] += 61
            with hanging_secrets(NAME, monkeypatch):
                # The backend of the test gives up after two minutes, with which this must not be confused.
                seen = await asyncio.wait_for(begin(wait._replace(deadline=0.0)), 30)
            first.cancel()
            return seen

        assert asyncio.run(both())["poll_result"]["status"] == "CREATE_IN_PROGRESS"
