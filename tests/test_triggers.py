"""The triggers, with the emulator; ``tests/polling`` tests what is read, and when."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_cleanroomsml._polling import renewal, start_queue
from airflow_cleanroomsml._polling.client import PollingHook
from airflow_cleanroomsml._polling.registry import registry
from airflow_cleanroomsml._polling.subscription import Subscription
from airflow_cleanroomsml._waiting.wait import Wait
from airflow_cleanroomsml.triggers import CleanRoomsMLNewJobsTrigger, CleanRoomsMLTurnTrigger, CleanRoomsMLWaitTrigger
from tests.support import World

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.json"))


def load_trigger(path: str, keywords: dict[str, Any]) -> Any:
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)(**keywords)


async def run_trigger(trigger: Any) -> Any:
    return json.loads(json.dumps((await anext(trigger.run())).payload))


def run_wait(wait: Wait, **keywords: Any) -> Any:
    return asyncio.run(run_trigger(CleanRoomsMLWaitTrigger(wait=wait.to_json(), **keywords)))


def build_wait(arn: str, goal: str = "created", timeout: float = 60.0, delay: float = 1.0) -> Wait:
    now = time.time()
    return Wait("audience model", goal, {"audience_model_arn": arn}, now, now + timeout, delay)


def start_training(world: World, name: str = "m") -> str:
    return str(
        world.ml.create_audience_model(name=name, trainingDatasetArn=world.create_dataset(name))["audienceModelArn"]
    )


def contains(value: Any, expected: Any) -> bool:
    """Return whether a value contains all that is expected, at any depth; later releases may add keys."""
    if isinstance(expected, dict):
        return all(key in value and contains(value[key], each) for key, each in expected.items())
    return bool(value == expected)


class BareTrigger(BaseTrigger):
    """Waits for a future that never completes."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent(await asyncio.get_running_loop().create_future())


def list_pollers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "cleanroomsml-poller"]


def list_subscriptions() -> list[Subscription]:
    return [each for each in gc.get_objects() if type(each) is Subscription]


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(condition)


async def wait_until_called(world: World, times: int) -> None:
    await asyncio.to_thread(wait_until, lambda: len(world.calls) >= times)


class TestSerialised:
    @pytest.mark.parametrize("path", SAMPLES, ids=[path.stem for path in SAMPLES])
    def test_trigger_serialised_by_a_release_still_runs(self, empty_world: World, path: Path) -> None:
        sample = json.loads(path.read_text())
        trigger = load_trigger(sample["trigger"], sample["keywords"])
        path_now, keywords = trigger.serialize()
        assert path_now == sample["trigger"]
        assert contains(keywords, sample["keywords"])
        # A watcher's trigger does not end.
        if "says" in sample:
            assert contains(asyncio.run(run_trigger(trigger)), sample["says"])

    def test_every_trigger_has_a_sample(self) -> None:
        triggers = importlib.import_module("airflow_cleanroomsml.triggers")
        paths = {f"{triggers.__name__}.{name}" for name in triggers.__all__}
        assert {json.loads(path.read_text())["trigger"] for path in SAMPLES} == paths


class TestWaiting:
    def test_it_waits_for_success(self, world: World) -> None:
        poll_result = run_wait(build_wait(start_training(world)))["poll_result"]
        assert poll_result["status"] == "ACTIVE"

    def test_it_gives_up_at_the_deadline(self, slow_world: World) -> None:
        poll_result = run_wait(build_wait(start_training(slow_world), timeout=0.0))["poll_result"]
        assert (poll_result["status"], poll_result["outcome"]) == ("CREATE_IN_PROGRESS", "pending")

    def test_region_and_connection_reach_the_client(self, world: World) -> None:
        arn = world.train_model().replace("us-east-1", "eu-west-1")
        event = run_wait(build_wait(arn, goal="deleted"), region_name="eu-west-1", botocore_config={"read_timeout": 5})
        assert event["poll_result"]["outcome"] == "success"

    def test_log_has_each_status_once(
        self, world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arn = start_training(world)
        with caplog.at_level("INFO"):
            run_wait(build_wait(arn, delay=0.1))
        # Airflow 2.11 passes the log to logging, 3.x prints it.
        text = caplog.text if arn in caplog.text else capsys.readouterr().out
        statuses = re.findall(rf"(\w+) after \d+ s: audience model {arn}", text)
        assert statuses == sorted(set(statuses), key=statuses.index)
        assert statuses[-1] == "ACTIVE"


class TestErrors:
    def test_denied_read_is_reported(self, empty_world: World) -> None:
        empty_world.add_fault("GetAudienceModel", "access_denied")
        arn = f"arn:aws:cleanrooms-ml:us-east-1:{empty_world.account}:audience-model/m"
        assert run_wait(build_wait(arn))["error"].startswith("AccessDeniedError: GetAudienceModel")

    def test_error_does_not_affect_other_waits(self, world: World) -> None:
        good, bad = build_wait(start_training(world)), build_wait("nonsense")
        triggers = [CleanRoomsMLWaitTrigger(wait=wait.to_json()) for wait in (good, bad)]

        async def run_both() -> list[Any]:
            return list(await asyncio.gather(*map(run_trigger, triggers)))

        success, failure = asyncio.run(run_both())
        assert success["poll_result"]["status"] == "ACTIVE"
        assert failure["error"].startswith("InvalidRequestError: GetAudienceModel was not sent")

    def test_unreachable_sts_does_not_end_the_wait(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        arn = world.train_model()
        assumed = {"conn_type": "aws", "login": world.account, "password": "s", "extra": {"role_arn": world.role}}
        monkeypatch.setenv("AIRFLOW_CONN_ASSUMED", json.dumps(assumed))
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
        poll_result = run_wait(build_wait(arn, timeout=2.0), aws_conn_id="assumed")["poll_result"]
        assert poll_result["outcome"] == "pending"
        assert "EndpointConnectionError" in poll_result["message"]

    @pytest.mark.parametrize("fault", ["throttle", "server_error", "reset"])
    def test_permanent_fault_ends_at_deadline(self, empty_world: World, fault: str) -> None:
        empty_world.add_fault("GetAudienceModel", fault, times=1_000_000)
        arn = f"arn:aws:cleanrooms-ml:us-east-1:{empty_world.account}:audience-model/m"
        poll_result = run_wait(build_wait(arn, timeout=5.0, delay=0.25))["poll_result"]
        assert poll_result["outcome"] == "pending"
        assert "GetAudienceModel" in poll_result["message"]
        # At most one read each quarter of a second; throttling makes the pauses ever longer.
        assert len(empty_world.calls) <= (6 if fault == "throttle" else 25)

    def test_expired_credentials_are_renewed(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def store_connection(account: str) -> None:
            connection = {"conn_type": "aws", "login": account, "password": "s"}
            monkeypatch.setenv("AIRFLOW_CONN_ROTATED", json.dumps(connection))

        old = World(world.emulator)
        old.add_fault("GetAudienceModel", "expired_credentials", times=0)
        wait = build_wait(start_training(world))
        store_connection(old.account)

        async def rotate() -> Any:
            task = asyncio.create_task(run_trigger(CleanRoomsMLWaitTrigger(wait=wait.to_json(), aws_conn_id="rotated")))
            await wait_until_called(old, 2)
            store_connection(world.account)
            return await task

        monkeypatch.setattr(renewal, "RENEWAL_PAUSES", (0.0, *[0.1] * 100))
        assert asyncio.run(rotate())["poll_result"]["status"] == "ACTIVE"

    def test_wait_ends_if_credentials_stay_bad(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(renewal, "RENEWAL_PAUSES", (0.0, 0.05, 0.05))
        wait, before = build_wait(world.train_model()), len(world.calls)
        world.add_fault("GetAudienceModel", "expired_credentials", times=0)
        error = run_wait(wait)["error"]
        assert error.startswith("CleanRoomsMLError: Credentials are still rejected after 3 refreshes")
        assert "ExpiredTokenException" in error
        assert len(world.calls) - before == 4

    def test_slow_reads_do_not_delay_other_waits(self, world: World) -> None:
        world.add_fault("GetAudienceModel", "slow", times=0, seconds=3.0)
        slow = build_wait(start_training(world), timeout=2.0)
        dataset = {"training_dataset_arn": world.create_dataset("other")}
        others = slow._replace(noun="training dataset", identifiers=dataset, goal="deleted", deadline=time.time() + 60)

        async def run_both() -> list[Any]:
            waits = [asyncio.create_task(run_trigger(self.build_impatient_trigger(wait))) for wait in (slow, others)]
            first = await waits[0]
            await asyncio.to_thread(
                world.ml.delete_training_dataset, trainingDatasetArn=dataset["training_dataset_arn"]
            )
            return [first, await waits[1]]

        first, second = asyncio.run(run_both())
        assert "ReadTimeoutError" in first["poll_result"]["message"]
        assert second["poll_result"]["outcome"] == "success"

    def build_impatient_trigger(self, wait: Wait) -> CleanRoomsMLWaitTrigger:
        return CleanRoomsMLWaitTrigger(wait=wait.to_json(), botocore_config={"read_timeout": 0.5})


class TestSharing:
    def test_many_waits_have_one_thread_and_share_their_reads(self, slow_world: World) -> None:
        arn, before = start_training(slow_world), len(slow_world.calls)
        waits = [build_wait(arn, timeout=timeout) for timeout in (3600.0, *[0.0] * 100)]

        async def run_all() -> int:
            first, *tasks = [
                asyncio.create_task(run_trigger(CleanRoomsMLWaitTrigger(wait=wait.to_json()))) for wait in waits
            ]
            await asyncio.gather(*tasks)
            threads = len(list_pollers())
            first.cancel()
            return threads

        assert asyncio.run(run_all()) == 1
        assert len(slow_world.calls) - before <= 3
        wait_until(lambda: not list_pollers())
        assert registry.pollers == []

    def test_cancelled_wait_does_not_affect_others(self, world: World) -> None:
        arns = [start_training(world, name) for name in ("one", "two")]

        async def cancel_one() -> Any:
            tasks = [
                asyncio.create_task(run_trigger(CleanRoomsMLWaitTrigger(wait=build_wait(arn).to_json())))
                for arn in arns
            ]
            await wait_until_called(world, len(world.calls) + 1)
            tasks[0].cancel()
            return await tasks[1]

        assert asyncio.run(cancel_one())["poll_result"]["status"] == "ACTIVE"
        wait_until(lambda: not list_pollers())

    def test_restarted_triggerer_continues_the_wait(self, slow_world: World) -> None:
        arn = start_training(slow_world)
        keywords = CleanRoomsMLWaitTrigger(wait=build_wait(arn, timeout=3600).to_json()).serialize()[1]

        async def run_and_cancel() -> None:
            before = len(slow_world.calls)
            task = asyncio.create_task(run_trigger(CleanRoomsMLWaitTrigger(**keywords)))
            await wait_until_called(slow_world, before + 1)
            task.cancel()

        asyncio.run(run_and_cancel())
        wait_until(lambda: not list_pollers())
        keywords["wait"]["deadline"] = time.time()
        assert (
            asyncio.run(run_trigger(CleanRoomsMLWaitTrigger(**keywords)))["poll_result"]["status"]
            == "CREATE_IN_PROGRESS"
        )

    @pytest.mark.parametrize("has_polled", [False, True], ids=["while connecting", "while polling"])
    def test_closed_loop_does_not_affect_others(self, slow_world: World, has_polled: bool) -> None:
        wait = build_wait(start_training(slow_world), timeout=3600)
        dead = asyncio.new_event_loop()
        task = dead.create_task(run_trigger(CleanRoomsMLWaitTrigger(wait=wait.to_json())))
        dead.run_until_complete(wait_until_called(slow_world, len(slow_world.calls) + has_polled))
        dead.close()
        poll_result = run_wait(wait._replace(deadline=time.time()))["poll_result"]
        assert poll_result["status"] == "CREATE_IN_PROGRESS"
        wait_until(lambda: not list_pollers())
        assert not task.done()

    def test_several_loops_share_a_poller(self, world: World) -> None:
        waits = [build_wait(start_training(world, name)) for name in ("one", "two")]
        events: list[Any] = []
        threads = [threading.Thread(target=lambda wait=wait: events.append(run_wait(wait))) for wait in waits]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(events) == 2 or len(list_pollers()) == 1)
        for thread in threads:
            thread.join()
        assert [each["poll_result"]["status"] for each in events] == ["ACTIVE"] * 2

    def test_ended_waits_leave_no_subscriptions(self, slow_world: World) -> None:
        wait = build_wait(start_training(slow_world), timeout=3600)
        # Other tests in this process may have left some.
        before = list_subscriptions()

        async def run_and_cancel() -> None:
            tasks = []
            for _ in range(3):
                tasks.append(asyncio.create_task(run_trigger(CleanRoomsMLWaitTrigger(wait=wait.to_json()))))
                await wait_until_called(slow_world, len(slow_world.calls) + 1)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run(run_and_cancel())
        wait_until(lambda: not list_pollers())
        gc.collect()
        assert [each for each in list_subscriptions() if each not in before] == []

    def test_wait_adds_few_objects_to_garbage_collection(self, slow_world: World) -> None:
        # After an hour, the second poll comes a minute after the first.
        wait = build_wait(start_training(slow_world), timeout=3600, delay=60.0)
        wait = wait._replace(started=wait.started - 3600, connection={}, history=(("CREATE_PENDING", 0.0),))
        text = json.dumps(wait.to_json())
        # Other tests in this process may have left some, which no poller reads.
        before = list_subscriptions()

        def have_results() -> bool:
            return all(each.last_result for each in list_subscriptions() if each not in before)

        async def count(make: Callable[[], BaseTrigger]) -> float:
            """Count the objects for each trigger, apart from those that the first one creates for all."""
            tasks, counts = [], []
            for triggers in (1, 100):
                tasks += [asyncio.create_task(run_trigger(make())) for _ in range(triggers)]
                await asyncio.sleep(0)
                await asyncio.to_thread(wait_until, have_results)
                # The last update still has to reach its trigger.
                await asyncio.sleep(0.5)
                gc.collect()
                counts.append(len(gc.get_objects()))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return (counts[1] - counts[0]) / 100

        async def compare() -> float:
            # In a triggerer, each trigger is built from separate JSON.
            ours = await count(lambda: CleanRoomsMLWaitTrigger(wait=json.loads(text)))
            return ours - await count(BareTrigger)

        # The wait, its subscription and its last result, a coroutine and its context manager; two dictionaries from Python 3.14 on.
        assert round(asyncio.run(compare())) <= 5 + 2

    def test_clients_of_both_services_share_a_session(self, empty_world: World) -> None:
        hook = PollingHook()
        assert hook.of("cleanrooms").call("list_collaborations", {})["collaborationList"] == []
        assert hook.of("cleanrooms")._session is hook._session

    def test_search_finds_the_job(self, world: World) -> None:
        search = {"since": 0.0, "started_by": world.account}
        trigger = CleanRoomsMLNewJobsTrigger(search=search, deadline=time.time() + 60, delay=0.1)
        job = world.generate_audience()
        assert [each["audience_generation_job_arn"] for each in asyncio.run(run_trigger(trigger))["jobs"]] == [job]
        wait_until(lambda: not list_pollers())


class TestTurns:
    @pytest.fixture(autouse=True)
    def _fast(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(start_queue, "START_INTERVAL", 0.02)
        # A queue remembers that the quota is full for longer than a test lasts.
        registry.clear()

    def build_trigger(self, timeout: float = 60.0, refused: dict[str, Any] | None = None) -> CleanRoomsMLTurnTrigger:
        return CleanRoomsMLTurnTrigger(noun="audience model", deadline=time.time() + timeout, refused=refused)

    def test_turns_come_in_order_without_a_call(self, empty_world: World) -> None:
        order: list[int] = []

        async def append_when_due(number: int) -> None:
            event = await run_trigger(self.build_trigger())
            assert event["turn"] is True
            order.append(number)

        async def run_all() -> None:
            await asyncio.gather(*map(append_when_due, range(10)))

        asyncio.run(run_all())
        assert order == list(range(10))
        assert empty_world.calls == []
        assert not list_pollers()

    def test_no_turn_comes_if_quota_is_full(self, empty_world: World) -> None:
        trigger = self.build_trigger(0.2, {"why": "quota", "quota_name": "jobs", "quota_value": 2})
        assert asyncio.run(run_trigger(trigger)) == {**trigger._build_keywords(), "turn": False}

    def test_cancelled_trigger_gives_up_place(self, empty_world: World) -> None:
        async def cancel_first() -> Any:
            first = asyncio.create_task(run_trigger(self.build_trigger(refused={"why": "throttled"})))
            await asyncio.sleep(0)
            first.cancel()
            return await run_trigger(self.build_trigger())

        assert asyncio.run(cancel_first())["turn"] is True

    def test_end_of_a_wait_frees_a_place(self, world: World) -> None:
        wait = build_wait(start_training(world), delay=0.1)

        async def record_order() -> list[str]:
            order: list[str] = []

            async def end() -> None:
                await run_trigger(CleanRoomsMLWaitTrigger(wait=wait.to_json()))
                order.append("end")

            async def start() -> None:
                event = await run_trigger(
                    self.build_trigger(refused={"why": "quota", "quota_name": "jobs", "quota_value": 1})
                )
                order.append("turn" if event["turn"] else "no turn")

            await asyncio.gather(end(), start())
            return order

        assert asyncio.run(record_order()) == ["end", "turn"]


#: Run in a separate process: which modules the event loop's thread loads after the import of the triggers.
LOADED_BY_THE_LOOP = """
import asyncio, sys, threading, time
from importlib.abc import MetaPathFinder
from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger
from airflow_cleanroomsml._waiting.wait import Wait

loaded = {True: set(), False: set()}

class Spy(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        loaded[threading.current_thread() is threading.main_thread()].add(name.split(".")[0])

sys.meta_path.insert(0, Spy())
before = set(sys.modules)
wait = Wait("audience model", "deleted", {"audience_model_arn": sys.argv[1]}, 0.0, time.time() + 60, 1.0)

async def first():
    return (await anext(CleanRoomsMLWaitTrigger(wait=wait.to_json()).run())).payload

assert asyncio.run(first())["poll_result"]["outcome"] == "success"
print("boto3" in before, "boto3" in loaded[False], sorted(loaded[True] & {"boto3", "botocore", "urllib3"}))
"""


def test_event_loop_does_not_load_slow_modules(empty_world: World) -> None:
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{empty_world.account}:audience-model/00000000-0000-4000-8000-000000000000"
    completed = subprocess.run(
        [sys.executable, "-c", LOADED_BY_THE_LOOP, arn], capture_output=True, text=True, check=True
    )
    assert completed.stdout.splitlines()[-1] == "False True []"
