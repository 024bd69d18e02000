"""Waits that use a connection that changes or becomes unreadable while other waits use it."""

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


def build_connection(world: World, password: str = "secret") -> str:
    """Build the JSON of a connection to an account."""
    return json.dumps({"conn_type": "aws", "login": world.account, "password": password})


def start_wait(wait: Wait, name: str = NAME) -> asyncio.Task[Any]:
    return asyncio.create_task(run_trigger(CleanRoomsMLWaitTrigger(wait=wait.to_json(), aws_conn_id=name)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds by which the package's clock is ahead. After more than a minute, the package reads a connection again."""
    ahead, now = [0.0], _clock.now
    monkeypatch.setattr(_clock, "now", lambda: now() + ahead[0])
    return ahead


@pytest.fixture
def other(slow_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Another account. The connection is that of the first one."""
    monkeypatch.setenv(VARIABLE, build_connection(slow_world))
    return World(slow_world.emulator).build()


class TestChangedConnection:
    @pytest.mark.parametrize("goal", ["created", "deleted"])
    def test_new_wait_uses_changed_settings(
        self, slow_world: World, other: World, goal: str, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = build_wait(start_training(slow_world), timeout=36_000)
        arn = start_training(other)

        async def run_waits() -> Any:
            first = start_wait(before)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            monkeypatch.setenv(VARIABLE, build_connection(other))
            clock[0] += 61
            after = build_wait(arn, goal=goal)._replace(deadline=_clock.now() + 2, lag=0.0)
            event = await start_wait(after)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            assert not first.done()
            first.cancel()
            return event

        poll_result = asyncio.run(run_waits())["poll_result"]
        assert (poll_result["outcome"], poll_result["status"]) == ("pending", "CREATE_IN_PROGRESS")
        wait_until(lambda: registry.pollers == [])

    def test_connection_is_cached_for_a_minute(
        self, slow_world: World, other: World, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wait = build_wait(start_training(slow_world), timeout=36_000)

        async def run_waits() -> list[int]:
            counts = []
            first = start_wait(wait)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            monkeypatch.setenv(VARIABLE, build_connection(slow_world, "another"))
            for _ in range(2):
                start_wait(wait)
                await asyncio.sleep(0.5)
                counts.append(len(registry.pollers))
                clock[0] += 61
            first.cancel()
            return counts

        assert asyncio.run(run_waits()) == [1, 2]

    def test_wait_cancelled_while_connecting_leaves_no_poller(
        self, slow_world: World, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wait = build_wait(start_training(slow_world), timeout=3600)
        monkeypatch.setenv(VARIABLE, build_connection(slow_world))

        async def run_waits() -> None:
            with hanging_secrets(NAME, monkeypatch) as secrets:
                task = start_wait(wait)
                await asyncio.to_thread(secrets.asked.wait, 60)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0.5)
            assert registry.pollers == []
            assert (await start_wait(wait._replace(deadline=0.0)))["poll_result"]["status"] == "CREATE_IN_PROGRESS"

        asyncio.run(run_waits())

    def test_ever_changing_connection_has_few_pollers(
        self, slow_world: World, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """For instance because the secrets backend creates new keys on each read."""
        wait = build_wait(start_training(slow_world), timeout=36_000)

        async def count_pollers() -> int:
            waits = []
            for number in range(6):
                monkeypatch.setenv(VARIABLE, build_connection(slow_world, f"secret-{number}"))
                waits.append(start_wait(wait))
                await wait_until_called(slow_world, len(slow_world.calls) + 1)
                clock[0] += 61
            threads = len(list_pollers())
            for each in waits:
                each.cancel()
            return threads

        assert asyncio.run(count_pollers()) == 3
        wait_until(lambda: not registry.pollers)


class TestUnreadableConnection:
    @pytest.mark.parametrize(
        ("name", "goal"), [("aws_default", "created"), ("aws_default", "deleted"), (NAME, "created")]
    )
    def test_poller_uses_no_other_credentials(
        self, slow_world: World, name: str, goal: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Airflow does not distinguish an error from a deleted connection, and the amazon provider falls back to boto3's credentials."""
        variable, login = f"AIRFLOW_CONN_{name.upper()}", build_connection(slow_world)
        wait = build_wait(start_training(slow_world), goal=goal, timeout=3600)._replace(lag=0.0)
        triggerer_account = World(slow_world.emulator)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", triggerer_account.account)
        monkeypatch.setenv(variable, login)

        async def renew_credentials() -> None:
            task = start_wait(wait, name)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            monkeypatch.delenv(variable)
            await asyncio.to_thread(slow_world.add_fault, "GetAudienceModel", "expired_credentials")
            await asyncio.to_thread(wait_until, lambda: slow_world.emulator.list_faults(slow_world.account) == [])
            await asyncio.sleep(2)
            monkeypatch.setenv(variable, login)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            assert not task.done()
            task.cancel()

        asyncio.run(renew_credentials())
        assert triggerer_account.calls == []

    def test_wait_after_change_uses_no_other_credentials(
        self, slow_world: World, other: World, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        triggerer_account = World(slow_world.emulator)
        before, after = (
            build_wait(start_training(world), timeout=36_000)._replace(lag=0.0) for world in (slow_world, other)
        )

        async def run_waits() -> None:
            first = start_wait(before)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", triggerer_account.account)
            monkeypatch.setenv(VARIABLE, build_connection(other))
            clock[0] += 61
            second = start_wait(after)
            await wait_until_called(other, len(other.calls) + 1)
            monkeypatch.delenv(VARIABLE)
            await asyncio.to_thread(other.add_fault, "GetAudienceModel", "expired_credentials")
            await asyncio.to_thread(wait_until, lambda: other.emulator.list_faults(other.account) == [])
            await asyncio.sleep(2)
            assert not second.done()
            monkeypatch.setenv(VARIABLE, build_connection(other))
            await wait_until_called(other, len(other.calls) + 1)
            first.cancel()
            second.cancel()

        asyncio.run(run_waits())
        assert triggerer_account.calls == []

    def test_new_wait_uses_settings_of_existing_waits(
        self, slow_world: World, other: World, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wait = build_wait(start_training(slow_world), timeout=36_000)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "000000000001")

        async def run_waits() -> Any:
            first = start_wait(wait)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            monkeypatch.delenv(VARIABLE)
            clock[0] += 61
            event = await start_wait(wait._replace(deadline=0.0))
            first.cancel()
            return event

        assert asyncio.run(run_waits())["poll_result"]["status"] == "CREATE_IN_PROGRESS"

    def test_hanging_secrets_backend_stops_no_existing_wait(
        self, slow_world: World, other: World, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wait = build_wait(start_training(slow_world), timeout=36_000)

        async def run_waits() -> Any:
            first = start_wait(wait)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            clock[0] += 61
            with hanging_secrets(NAME, monkeypatch) as secrets:
                second = start_wait(wait._replace(deadline=0.0))
                await asyncio.to_thread(secrets.asked.wait, 60)
                await wait_until_called(slow_world, len(slow_world.calls) + 2)
                assert not second.done()
            event = await second
            first.cancel()
            return event

        assert asyncio.run(run_waits())["poll_result"]["status"] == "CREATE_IN_PROGRESS"

    def test_wait_for_hanging_secrets_backend_is_limited(
        self, slow_world: World, other: World, clock: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wait = build_wait(start_training(slow_world), timeout=36_000)
        monkeypatch.setattr(connecting, "_READ_TIMEOUT", 0.5)

        async def run_waits() -> Any:
            first = start_wait(wait)
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            clock[0] += 61
            with hanging_secrets(NAME, monkeypatch):
                # Less than the two minutes after which the test's own backend gives up.
                event = await asyncio.wait_for(start_wait(wait._replace(deadline=0.0)), 30)
            first.cancel()
            return event

        assert asyncio.run(run_waits())["poll_result"]["status"] == "CREATE_IN_PROGRESS"
