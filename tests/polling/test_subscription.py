"""Waits in trouble: credentials that cannot be had, throttling after a deadline, loops that are gone, kills by the hundred."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._polling import poller, run_with_client, subscribe, subscription
from airflow_cleanroomsml._polling.registry import registry
from airflow_cleanroomsml._polling.subscription import Subscription
from airflow_cleanroomsml._waiting import cancellation, loop
from airflow_cleanroomsml._waiting.wait import PollResult
from airflow_cleanroomsml.exceptions import WaitTimeoutError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.operators import CleanRoomsMLCreateAudienceModelOperator
from airflow_cleanroomsml.operators._wait import Waiter
from airflow_cleanroomsml.triggers import CleanRoomsMLTurnTrigger, CleanRoomsMLWaitTrigger
from tests.helpers.hanging_secrets import hanging_secrets
from tests.support import World, run
from tests.test_triggers import build_wait, run_trigger, start_training, wait_until, wait_until_called

#: Prints credentials that are good for a minute, so that botocore fetches them anew for each call, unless it is told to fail once.
PROCESS = """
import datetime, json, os, sys
if os.path.exists({fails!r}):
    os.remove({fails!r})
    sys.exit("no answer from where credentials come from")
ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=60)
print(json.dumps(dict(Version=1, AccessKeyId={key!r}, SecretAccessKey="s", SessionToken="t", Expiration=ends.isoformat())))
"""
TI: Any = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=0)


@pytest.fixture
def fails(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file: once it is created, fetching the credentials of the test's account fails once."""
    world: World = request.getfixturevalue("slow_world" if "slow_world" in request.fixturenames else "world")
    fails = tmp_path / "fails"
    (tmp_path / "process.py").write_text(PROCESS.format(fails=str(fails), key=world.account))
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {sys.executable} {tmp_path / 'process.py'}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    return fails


class TestCredentials:
    @pytest.mark.parametrize("looked", [False, True], ids=["while connecting", "while polling"])
    def test_one_failure_to_fetch_them_is_no_end(self, slow_world: World, fails: Path, looked: bool) -> None:
        wait = build_wait(start_training(slow_world), delay=0.3)

        async def waited() -> Any:
            if not looked:
                await asyncio.to_thread(fails.touch)
            task = asyncio.create_task(run_trigger(CleanRoomsMLWaitTrigger(wait=wait.to_json())))
            if looked:
                await wait_until_called(slow_world, len(slow_world.calls) + 1)
                await asyncio.to_thread(fails.touch)
            await asyncio.to_thread(wait_until, lambda: not fails.exists())
            # Only now does the training end, however slow the machine is.
            await asyncio.to_thread(slow_world.emulator._control, "clock", {"advance": 1100})
            return await task

        assert asyncio.run(waited())["poll_result"]["status"] == "ACTIVE"

    def test_nor_in_the_worker(self, world: World, fails: Path) -> None:
        hook, wait = CleanRoomsMLHook(), build_wait(world.train_model())
        fails.touch()
        seen = loop.poll_once(hook, wait)
        assert (seen.outcome, "no answer from where credentials come from" in seen.message) == ("pending", True)
        assert loop.poll_once(hook, wait).status == "ACTIVE"


class TestThrottled:
    def test_a_wait_that_is_late_and_unseen_does_not_make_the_poller_spin(
        self, slow_world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rounds: list[object] = []
        check = poller.Poller._check

        def counted(self: poller.Poller, *given: Any, **more: Any) -> bool:
            rounds.append(None)
            return check(self, *given, **more)

        monkeypatch.setattr(poller.Poller, "_check", counted)
        monkeypatch.setattr(subscription, "_FIRST_POLL_ALLOWANCE", 3.0)
        arn = start_training(slow_world)
        slow_world.add_fault("GetAudienceModel", "throttle", times=0)

        async def both() -> Any:
            patient = asyncio.create_task(
                run_trigger(CleanRoomsMLWaitTrigger(wait=build_wait(arn, timeout=3600.0).to_json()))
            )
            await wait_until_called(slow_world, len(slow_world.calls) + 3)
            late = await run_trigger(CleanRoomsMLWaitTrigger(wait=build_wait(arn, timeout=-1.0).to_json()))
            patient.cancel()
            await asyncio.gather(patient, return_exceptions=True)
            return late

        assert asyncio.run(both())["poll_result"]["outcome"] == "pending"
        assert len(rounds) < 200

    def test_the_same_answer_again_and_again_is_told_once(self, world: World) -> None:
        wait = build_wait(start_training(world), delay=0.3)
        world.add_fault("GetAudienceModel", "throttle", times=0)
        hook, told = CleanRoomsMLHook(config={"retries": {"total_max_attempts": 1}}), list[PollResult]()
        seen = loop.poll_once(hook, wait)
        loop.poll_until_done(hook, wait._replace(deadline=time.time() + 3.0), seen, report=told.append)
        assert world.calls.count("GetAudienceModel") > 2
        assert told == []


class TestTimeOut:
    @pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
    def test_what_was_done_while_no_look_succeeded_is_a_success(
        self, world: World, deferrable: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = self.throttled_from_the_second_look(world, deferrable, monkeypatch)
        finish = Waiter._finish

        def over(*given: Any) -> Any:
            world.emulator.clear_faults(world.account)
            # On a busy machine training takes longer than the time-out.
            world.wait(world.ml.list_audience_models()["audienceModels"][0]["audienceModelArn"])
            return finish(*given)

        monkeypatch.setattr(Waiter, "_finish", over)
        assert run(task).result == world.ml.list_audience_models()["audienceModels"][0]["audienceModelArn"]

    def test_a_timeout_says_what_was_last_read(self, slow_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        task = self.throttled_from_the_second_look(slow_world, False, monkeypatch)
        with pytest.raises(
            WaitTimeoutError, match=r"(?s)was still CREATE_\w+ after 3 s.*ThrottlingException"
        ) as caught:
            run(task)
        assert str(caught.value).count("Poll less often") == 1
        assert str(caught.value).splitlines()[-1].startswith("  Request ID: ")

    def test_a_timeout_of_a_trigger_does_too(self, slow_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        wait = build_wait(start_training(slow_world), timeout=3600)
        now = _clock.now

        async def throttled_from_the_second_look() -> Any:
            task = asyncio.create_task(run_trigger(CleanRoomsMLWaitTrigger(wait=wait.to_json())))
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            await asyncio.to_thread(slow_world.add_fault, "GetAudienceModel", "throttle", times=0)
            # Only now, however long that took, is the time over.
            monkeypatch.setattr(_clock, "now", lambda: now() + 3600)
            return await task

        seen = asyncio.run(throttled_from_the_second_look())["poll_result"]
        assert (seen["status"], seen["outcome"]) == ("CREATE_IN_PROGRESS", "pending")
        assert "ThrottlingException" in seen["message"]
        assert "Poll less often" in seen["advice"]

    def throttled_from_the_second_look(
        self, world: World, deferrable: bool, monkeypatch: pytest.MonkeyPatch
    ) -> CleanRoomsMLCreateAudienceModelOperator:
        poll_once = loop.poll_once

        def first(*given: Any) -> PollResult:
            found = poll_once(*given)
            monkeypatch.setattr(loop, "poll_once", poll_once)
            world.add_fault("GetAudienceModel", "throttle", times=0)
            return found

        monkeypatch.setattr(loop, "poll_once", first)
        return CleanRoomsMLCreateAudienceModelOperator(
            task_id="model",
            name="model",
            training_dataset_arn=world.create_dataset(),
            waiter_delay=1,
            waiter_max_attempts=3,
            deferrable=deferrable,
            botocore_config={"retries": {"total_max_attempts": 1}},
        )


class TestOthers:
    """A connection that hangs is no matter of another."""

    @pytest.fixture
    def hanging(self, slow_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """A file; until it is made, the login of the connection ``hangs`` goes on, and then it fails."""
        over, login = tmp_path / "over", tmp_path / "login.py"
        login.write_text(f"import os, time\nwhile not os.path.exists({str(over)!r}): time.sleep(0.1)")
        (tmp_path / "config").write_text(f"[profile hangs]\ncredential_process = {sys.executable} {login}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AIRFLOW_CONN_HANGS", '{"conn_type": "aws", "extra": {"profile_name": "hangs"}}')
        yield over
        over.touch()

    def test_a_login_holds_up_no_kill(self, slow_world: World, hanging: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cancellation, "read_task_state", lambda _: "failed")
        wait = build_wait(start_training(slow_world), timeout=3600)._replace(on_kill="delete").to_json()

        async def kill(connection: str) -> None:
            trigger = CleanRoomsMLWaitTrigger(wait=wait, aws_conn_id=connection)
            trigger.task_instance = TI
            await trigger.on_kill()

        async def both() -> None:
            hung = asyncio.create_task(kill("hangs"))
            await asyncio.sleep(1)
            await kill("aws_default")
            assert not hung.done()
            await asyncio.to_thread(hanging.touch)
            await hung

        asyncio.run(both())
        assert "DeleteAudienceModel" in slow_world.calls

    def test_a_login_that_hangs_ends_no_later_than_its_waits(self, slow_world: World, hanging: Path) -> None:
        wait = build_wait(start_training(slow_world), timeout=1).to_json()

        async def end() -> Any:
            trigger = CleanRoomsMLWaitTrigger(wait=wait, aws_conn_id="hangs")
            try:
                return await asyncio.wait_for(run_trigger(trigger), 30)
            finally:
                await asyncio.to_thread(hanging.touch)

        assert asyncio.run(end())["poll_result"]

    def test_a_secrets_backend_holds_up_no_wait(self, slow_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_HANGS", '{"conn_type": "aws"}')
        wait = build_wait(start_training(slow_world), timeout=0).to_json()

        async def both() -> Any:
            with hanging_secrets("hangs", monkeypatch) as secrets:
                hung = asyncio.create_task(run_trigger(CleanRoomsMLWaitTrigger(wait=wait, aws_conn_id="hangs")))
                await asyncio.to_thread(secrets.asked.wait, 120)
                seen = await run_trigger(CleanRoomsMLWaitTrigger(wait=wait))
                assert not hung.done()
            hung.cancel()
            return seen

        assert asyncio.run(both())["poll_result"]["status"] == "CREATE_IN_PROGRESS"


class TestLoops:
    def test_a_wait_that_is_thrown_away_takes_no_lock(self, slow_world: World) -> None:
        """A search for garbage may begin in a thread that holds the lock, and end a trigger of a loop that is gone."""
        trigger = CleanRoomsMLWaitTrigger(wait=build_wait(start_training(slow_world), timeout=3600).to_json())
        ended = threading.Event()

        async def begun() -> Any:
            coroutine: Any = trigger._wait()
            coroutine.send(None)
            return coroutine

        coroutine = asyncio.run(begun())

        def throw_away() -> None:
            coroutine.close()
            ended.set()

        with registry.connection(trigger).lock:
            threading.Thread(target=throw_away, daemon=True).start()
            assert ended.wait(120)
        wait_until(lambda: not registry.pollers)

    def test_nor_does_a_turn_and_its_place_is_free(self, empty_world: World) -> None:
        ended = threading.Event()

        async def begun() -> list[Any]:
            coroutines = [self.turn()._wait() for _ in range(2)]
            with pytest.raises(StopIteration):
                coroutines[0].send(None)
            coroutines[1].send(None)
            return coroutines

        thrown_away = asyncio.run(begun())[1]

        def throw_away() -> None:
            thrown_away.close()
            ended.set()

        with registry.connection(self.turn()).start_queue("audience model")._lock:
            threading.Thread(target=throw_away, daemon=True).start()
            assert ended.wait(120)
        assert asyncio.run(run_trigger(self.turn()))["turn"] is True

    def turn(self) -> Any:
        return CleanRoomsMLTurnTrigger(noun="audience model", deadline=time.time() + 60)


class TestKills:
    def test_many_at_once_share_a_client(self, slow_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        clients: list[object] = []
        make = CleanRoomsMLHook.get_client_type

        def counted(self: CleanRoomsMLHook, *given: Any, **more: Any) -> Any:
            clients.append(None)
            return make(self, *given, **more)

        monkeypatch.setattr(CleanRoomsMLHook, "get_client_type", counted)
        monkeypatch.setattr(cancellation, "read_task_state", lambda _: "failed")
        wait = build_wait(start_training(slow_world), timeout=3600)._replace(on_kill="delete").to_json()
        triggers = [CleanRoomsMLWaitTrigger(wait=wait) for _ in range(30)]
        for trigger in triggers:
            trigger.task_instance = TI

        async def kill() -> None:
            await asyncio.gather(*(trigger.on_kill() for trigger in triggers))

        asyncio.run(kill())
        assert slow_world.calls.count("DeleteAudienceModel") >= 1
        assert slow_world.calls.count("GetAudienceModel") >= 30
        assert len(clients) == 1

    @pytest.mark.parametrize("is_changed", [False, True])
    def test_they_share_the_login_of_a_poller_with_the_same_settings(
        self, slow_world: World, is_changed: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        login = {"conn_type": "aws", "login": slow_world.account, "password": "secret"}
        monkeypatch.setenv("AIRFLOW_CONN_PROD", json.dumps(login))
        trigger = CleanRoomsMLWaitTrigger(
            wait=build_wait(start_training(slow_world), timeout=3600).to_json(), aws_conn_id="prod"
        )
        used = []

        def use(hook: Callable[[], CleanRoomsMLHook]) -> None:
            used.append(hook())
            used[0].call("list_audience_models")

        async def one() -> bool:
            task = asyncio.create_task(run_trigger(trigger))
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            if is_changed:
                monkeypatch.setenv("AIRFLOW_CONN_PROD", json.dumps({**login, "password": "another"}))
            await run_with_client(trigger, use)
            (poller,) = registry.pollers
            assert poller.hook is not None
            is_shared = used[0]._session is poller.hook._session
            task.cancel()
            return is_shared

        assert asyncio.run(one()) is not is_changed

    def test_the_next_sees_what_the_connection_says_then(
        self, slow_world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cancellation, "read_task_state", lambda _: "failed")
        wait = build_wait(start_training(slow_world), timeout=3600)._replace(on_kill="delete").to_json()
        deleted = []
        for key in ("000000000001", slow_world.account):
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
            trigger = CleanRoomsMLWaitTrigger(wait=wait)
            trigger.task_instance = TI
            asyncio.run(trigger.on_kill())
            deleted.append(slow_world.calls.count("DeleteAudienceModel"))
        assert deleted == [0, 1]

    def test_what_has_to_queue_for_longer_than_anybody_waits_has_its_turn(
        self, slow_world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        go_on = threading.Event()

        def over(_: object) -> str:
            go_on.wait(120)
            return "failed"

        monkeypatch.setattr(cancellation, "read_task_state", over)
        monkeypatch.setattr(cancellation, "_TRIGGER_TIMEOUT", 0.2)
        slow_world.emulator.change_settings(models_in_progress=100)
        models = [start_training(slow_world, f"m{number}") for number in range(40)]
        waits = [build_wait(model, timeout=3600)._replace(on_kill="delete") for model in models]
        triggers = [CleanRoomsMLWaitTrigger(wait=wait.to_json()) for wait in waits]
        for trigger in triggers:
            trigger.task_instance = TI

        async def kill() -> None:
            await asyncio.gather(*(trigger.on_kill() for trigger in triggers))
            go_on.set()
            await asyncio.to_thread(wait_until, lambda: slow_world.calls.count("DeleteAudienceModel") >= len(models))

        asyncio.run(kill())


def test_a_subscription_ends_with_its_block(slow_world: World) -> None:
    async def one() -> Subscription:
        subject = build_wait(start_training(slow_world), timeout=3600)
        with subscribe(CleanRoomsMLWaitTrigger(wait=subject.to_json()), subject) as subscribed:
            assert not subscribed.is_finished
        return subscribed

    assert asyncio.run(one()).is_finished
    wait_until(lambda: not registry.pollers)
