"""What the poller leaves in the memory of the triggerer, and what it makes its searches for garbage hold."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from airflow_cleanroomsml._polling.client import connected
from airflow_cleanroomsml._polling.subscription import Subscription
from airflow_cleanroomsml._waiting.wait import Wait
from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger
from tests.support import World
from tests.test_triggers import event, in_training, until_called, wait_for

MIB = 2**20


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def kept() -> bool:
    return gc.get_freeze_count() > 0


async def begun(world: World, wait: Wait, **connection: str) -> asyncio.Task[object]:
    """A wait that has had a look."""
    before = len(world.calls)
    task = asyncio.create_task(event(CleanRoomsMLWaitTrigger(wait=wait.to_json(), **connection)))
    await until_called(world, before + 1)
    return task


async def end(task: asyncio.Task[object]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class TestClient:
    def test_it_is_small(self, empty_world: World) -> None:
        # With the table of all endpoints it is over 8 MiB. The first one loads modules as well.
        arguments = {"aws_conn_id": "aws_default", "botocore_config": None}
        connected(arguments)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            hook = connected(arguments)
            taken = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert taken < 4 * MIB
        assert hook.call("list_audience_models", {})["audienceModels"] == []

    def test_another_service_has_its_client_over_the_same_session(self, empty_world: World) -> None:
        hook = connected({"aws_conn_id": "aws_default", "botocore_config": None})
        assert hook.of("cleanrooms").call("list_collaborations", {})["collaborationList"] == []
        assert hook.of("cleanrooms")._session is hook._session


class TestGarbage:
    def test_what_is_loaded_is_not_searched_while_something_is_waited_for(self, slow_world: World) -> None:
        wait = wait_for(in_training(slow_world), timeout=3600)

        async def some() -> list[bool]:
            seen = [kept()]
            first = await begun(slow_world, wait)
            seen.append(kept())
            second = await begun(slow_world, wait, region_name="us-east-1")
            await end(first)
            seen.append(kept())
            await end(second)
            return [*seen, kept()]

        assert asyncio.run(some()) == [False, True, True, False]

    def test_garbage_does_not_add_up_as_connections_come_and_go(self, slow_world: World) -> None:
        wait = wait_for(in_training(slow_world), timeout=3600)

        async def several() -> list[int]:
            first = await begun(slow_world, wait)
            counts = [gc.get_freeze_count()]
            for _ in range(2):
                await end(await begun(slow_world, wait, region_name="us-east-1"))
                counts.append(gc.get_freeze_count())
            await end(first)
            return counts

        counts = asyncio.run(several())
        assert counts == sorted(counts, reverse=True)

    def test_what_the_process_has_arranged_is_left(self, slow_world: World) -> None:
        wait = wait_for(in_training(slow_world), timeout=3600)
        gc.freeze()

        async def one() -> bool:
            await end(await begun(slow_world, wait))
            return kept()

        assert asyncio.run(one())

    def test_waits_that_began_before_leave_nothing(self, slow_world: World) -> None:
        wait = wait_for(in_training(slow_world), timeout=3600)

        async def many() -> None:
            tasks = [await begun(slow_world, wait) for _ in range(3)]
            for task in tasks:
                await end(task)

        asyncio.run(many())
        gc.collect()
        assert not [each for each in gc.get_objects() if type(each) is Subscription]
