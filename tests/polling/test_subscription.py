"""Waits under adverse conditions: unavailable credentials, throttling past a deadline, closed event loops, many kills at once."""

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

#: Prints credentials that are valid for a minute, so that botocore fetches them again for each call. Fails once if a file exists.
PROCESS = """
import datetime, json, os, sys
if os.path.exists({fails!r}):
    os.remove({fails!r})
    sys.exit("the credential source does not respond")
ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=60)
print(json.dumps(dict(Version=1, AccessKeyId={key!r}, SecretAccessKey="s", SessionToken="t", Expiration=ends.isoformat())))
"""
TI: Any = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=0)


@pytest.fixture
def failure_file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path. If a test creates this file, the next fetch of the account's credentials fails."""
    world: World = request.getfixturevalue("slow_world" if "slow_world" in request.fixturenames else "world")
    failure_file = tmp_path / "fails"
    (tmp_path / "process.py").write_text(PROCESS.format(fails=str(failure_file), key=world.account))
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {sys.executable} {tmp_path / 'process.py'}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    return failure_file


class TestCredentials:
    @pytest.mark.parametrize("connected", [False, True], ids=["while connecting", "while polling"])
    def test_failed_fetch_does_not_end_wait(self, slow_world: World, failure_file: Path, connected: bool) -> None:
        wait = build_wait(start_training(slow_world), delay=0.3)

        async def run_wait() -> Any:
            if not connected:
                await asyncio.to_thread(failure_file.touch)
            task = asyncio.create_task(run_trigger(CleanRoomsMLWaitTrigger(wait=wait.to_json())))
            if connected:
                await wait_until_called(slow_world, len(slow_world.calls) + 1)
                await asyncio.to_thread(failure_file.touch)
            await asyncio.to_thread(wait_until, lambda: not failure_file.exists())
            # The training ends only now, however slow the machine is.
            await asyncio.to_thread(slow_world.emulator._control, "clock", {"advance": 1100})
            return await task

        assert asyncio.run(run_wait())["poll_result"]["status"] == "ACTIVE"

    def test_failed_fetch_does_not_end_wait_in_worker(self, world: World, failure_file: Path) -> None:
        hook, wait = CleanRoomsMLHook(), build_wait(world.train_model())
        failure_file.touch()
        poll_result = loop.poll_once(hook, wait)
        assert (poll_result.outcome, "the credential source does not respond" in poll_result.message) == (
            "pending",
            True,
        )
        assert loop.poll_once(hook, wait).status == "ACTIVE"


class TestThrottled:
    def test_poller_does_not_spin_on_late_wait_without_result(
        self, slow_world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rounds: list[object] = []
        check = poller.Poller._check

        def count_check(self: poller.Poller, *arguments: Any, **more: Any) -> bool:
            rounds.append(None)
            return check(self, *arguments, **more)

        monkeypatch.setattr(poller.Poller, "_check", count_check)
        monkeypatch.setattr(subscription, "_FIRST_POLL_ALLOWANCE", 3.0)
        arn = start_training(slow_world)
        slow_world.add_fault("GetAudienceModel", "throttle", times=0)

        async def run_waits() -> Any:
            patient = asyncio.create_task(
                run_trigger(CleanRoomsMLWaitTrigger(wait=build_wait(arn, timeout=3600.0).to_json()))
            )
            await wait_until_called(slow_world, len(slow_world.calls) + 3)
            late = await run_trigger(CleanRoomsMLWaitTrigger(wait=build_wait(arn, timeout=-1.0).to_json()))
            patient.cancel()
            await asyncio.gather(patient, return_exceptions=True)
            return late

        assert asyncio.run(run_waits())["poll_result"]["outcome"] == "pending"
        assert len(rounds) < 200

    def test_repeated_response_is_not_reported_again(self, world: World) -> None:
        wait = build_wait(start_training(world), delay=0.3)
        world.add_fault("GetAudienceModel", "throttle", times=0)
        hook, reports = CleanRoomsMLHook(config={"retries": {"total_max_attempts": 1}}), list[PollResult]()
        first = loop.poll_once(hook, wait)
        loop.poll_until_done(hook, wait._replace(deadline=time.time() + 3.0), first, report=reports.append)
        assert world.calls.count("GetAudienceModel") > 2
        assert reports == []


class TestTimeOut:
    @pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
    def test_job_that_ended_while_polls_failed_succeeds(
        self, world: World, deferrable: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = self.build_throttled_task(world, deferrable, monkeypatch)
        finish = Waiter._finish

        def finish_late(*arguments: Any) -> Any:
            world.emulator.clear_faults(world.account)
            # On a busy machine training takes longer than the time-out.
            world.wait(world.ml.list_audience_models()["audienceModels"][0]["audienceModelArn"])
            return finish(*arguments)

        monkeypatch.setattr(Waiter, "_finish", finish_late)
        assert run(task).result == world.ml.list_audience_models()["audienceModels"][0]["audienceModelArn"]

    def test_time_out_error_has_last_status(self, slow_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        task = self.build_throttled_task(slow_world, False, monkeypatch)
        with pytest.raises(
            WaitTimeoutError, match=r"(?s)was still CREATE_\w+ after 3 s.*ThrottlingException"
        ) as caught:
            run(task)
        assert str(caught.value).count("Poll less often") == 1
        assert str(caught.value).splitlines()[-1].startswith("  Request ID: ")

    def test_trigger_time_out_has_last_status(self, slow_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        wait = build_wait(start_training(slow_world), timeout=3600)
        now = _clock.now

        async def run_throttled() -> Any:
            task = asyncio.create_task(run_trigger(CleanRoomsMLWaitTrigger(wait=wait.to_json())))
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            await asyncio.to_thread(slow_world.add_fault, "GetAudienceModel", "throttle", times=0)
            # The deadline passes only now, however slow the machine is.
            monkeypatch.setattr(_clock, "now", lambda: now() + 3600)
            return await task

        poll_result = asyncio.run(run_throttled())["poll_result"]
        assert (poll_result["status"], poll_result["outcome"]) == ("CREATE_IN_PROGRESS", "pending")
        assert "ThrottlingException" in poll_result["message"]
        assert "Poll less often" in poll_result["advice"]

    def build_throttled_task(
        self, world: World, deferrable: bool, monkeypatch: pytest.MonkeyPatch
    ) -> CleanRoomsMLCreateAudienceModelOperator:
        """Build a task whose polls are throttled after the first one."""
        poll_once = loop.poll_once

        def poll_then_throttle(*arguments: Any) -> PollResult:
            poll_result = poll_once(*arguments)
            monkeypatch.setattr(loop, "poll_once", poll_once)
            world.add_fault("GetAudienceModel", "throttle", times=0)
            return poll_result

        monkeypatch.setattr(loop, "poll_once", poll_then_throttle)
        return CleanRoomsMLCreateAudienceModelOperator(
            task_id="model",
            name="model",
            training_dataset_arn=world.create_dataset(),
            waiter_delay=1,
            waiter_max_attempts=3,
            deferrable=deferrable,
            botocore_config={"retries": {"total_max_attempts": 1}},
        )


class TestHangingConnection:
    """A connection that hangs does not affect waits with other connections."""

    @pytest.fixture
    def login_release(self, slow_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """A path. Until this file exists, the login of the connection ``hangs`` hangs; then it fails."""
        release, login = tmp_path / "over", tmp_path / "login.py"
        login.write_text(f"import os, time\nwhile not os.path.exists({str(release)!r}): time.sleep(0.1)")
        (tmp_path / "config").write_text(f"[profile hangs]\ncredential_process = {sys.executable} {login}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AIRFLOW_CONN_HANGS", '{"conn_type": "aws", "extra": {"profile_name": "hangs"}}')
        yield release
        release.touch()

    def test_login_does_not_delay_kill(
        self, slow_world: World, login_release: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cancellation, "read_task_state", lambda _: "failed")
        wait = build_wait(start_training(slow_world), timeout=3600)._replace(on_kill="delete").to_json()

        async def kill(connection: str) -> None:
            trigger = CleanRoomsMLWaitTrigger(wait=wait, aws_conn_id=connection)
            trigger.task_instance = TI
            await trigger.on_kill()

        async def kill_both() -> None:
            hung = asyncio.create_task(kill("hangs"))
            await asyncio.sleep(1)
            await kill("aws_default")
            assert not hung.done()
            await asyncio.to_thread(login_release.touch)
            await hung

        asyncio.run(kill_both())
        assert "DeleteAudienceModel" in slow_world.calls

    def test_hanging_login_ends_with_deadline_of_wait(self, slow_world: World, login_release: Path) -> None:
        wait = build_wait(start_training(slow_world), timeout=1).to_json()

        async def run_wait() -> Any:
            trigger = CleanRoomsMLWaitTrigger(wait=wait, aws_conn_id="hangs")
            try:
                return await asyncio.wait_for(run_trigger(trigger), 30)
            finally:
                await asyncio.to_thread(login_release.touch)

        assert asyncio.run(run_wait())["poll_result"]

    def test_secrets_backend_does_not_delay_wait(self, slow_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_HANGS", '{"conn_type": "aws"}')
        wait = build_wait(start_training(slow_world), timeout=0).to_json()

        async def run_waits() -> Any:
            with hanging_secrets("hangs", monkeypatch) as secrets:
                hung = asyncio.create_task(run_trigger(CleanRoomsMLWaitTrigger(wait=wait, aws_conn_id="hangs")))
                await asyncio.to_thread(secrets.asked.wait, 120)
                event = await run_trigger(CleanRoomsMLWaitTrigger(wait=wait))
                assert not hung.done()
            hung.cancel()
            return event

        assert asyncio.run(run_waits())["poll_result"]["status"] == "CREATE_IN_PROGRESS"


class TestLoops:
    def test_closed_wait_takes_no_lock(self, slow_world: World) -> None:
        """The garbage collector may run in a thread that holds the lock, and close the trigger of a closed event loop there."""
        trigger = CleanRoomsMLWaitTrigger(wait=build_wait(start_training(slow_world), timeout=3600).to_json())
        ended = threading.Event()

        async def start() -> Any:
            coroutine: Any = trigger._wait()
            coroutine.send(None)
            return coroutine

        coroutine = asyncio.run(start())

        def close() -> None:
            coroutine.close()
            ended.set()

        with registry.connection(trigger).lock:
            threading.Thread(target=close, daemon=True).start()
            assert ended.wait(120)
        wait_until(lambda: not registry.pollers)

    def test_closed_turn_takes_no_lock_and_frees_place(self, empty_world: World) -> None:
        ended = threading.Event()

        async def start() -> list[Any]:
            coroutines = [self.build_trigger()._wait() for _ in range(2)]
            with pytest.raises(StopIteration):
                coroutines[0].send(None)
            coroutines[1].send(None)
            return coroutines

        coroutine = asyncio.run(start())[1]

        def close() -> None:
            coroutine.close()
            ended.set()

        with registry.connection(self.build_trigger()).start_queue("audience model")._lock:
            threading.Thread(target=close, daemon=True).start()
            assert ended.wait(120)
        assert asyncio.run(run_trigger(self.build_trigger()))["turn"] is True

    def build_trigger(self) -> Any:
        return CleanRoomsMLTurnTrigger(noun="audience model", deadline=time.time() + 60)


class TestKills:
    def test_kills_share_client(self, slow_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        clients: list[object] = []
        get_client_type = CleanRoomsMLHook.get_client_type

        def count_client(self: CleanRoomsMLHook, *arguments: Any, **more: Any) -> Any:
            clients.append(None)
            return get_client_type(self, *arguments, **more)

        monkeypatch.setattr(CleanRoomsMLHook, "get_client_type", count_client)
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
    def test_kill_shares_login_of_poller_with_same_settings(
        self, slow_world: World, is_changed: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        login = {"conn_type": "aws", "login": slow_world.account, "password": "secret"}
        monkeypatch.setenv("AIRFLOW_CONN_PROD", json.dumps(login))
        trigger = CleanRoomsMLWaitTrigger(
            wait=build_wait(start_training(slow_world), timeout=3600).to_json(), aws_conn_id="prod"
        )
        hooks = []

        def list_models(build_hook: Callable[[], CleanRoomsMLHook]) -> None:
            hooks.append(build_hook())
            hooks[0].call("list_audience_models")

        async def check_is_shared() -> bool:
            task = asyncio.create_task(run_trigger(trigger))
            await wait_until_called(slow_world, len(slow_world.calls) + 1)
            if is_changed:
                monkeypatch.setenv("AIRFLOW_CONN_PROD", json.dumps({**login, "password": "another"}))
            await run_with_client(trigger, list_models)
            (poller,) = registry.pollers
            assert poller.hook is not None
            is_shared = hooks[0]._session is poller.hook._session
            task.cancel()
            return is_shared

        assert asyncio.run(check_is_shared()) is not is_changed

    def test_next_kill_uses_changed_connection(self, slow_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cancellation, "read_task_state", lambda _: "failed")
        wait = build_wait(start_training(slow_world), timeout=3600)._replace(on_kill="delete").to_json()
        delete_counts = []
        for key in ("000000000001", slow_world.account):
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
            trigger = CleanRoomsMLWaitTrigger(wait=wait)
            trigger.task_instance = TI
            asyncio.run(trigger.on_kill())
            delete_counts.append(slow_world.calls.count("DeleteAudienceModel"))
        assert delete_counts == [0, 1]

    def test_queued_kills_complete_after_trigger_timeout(
        self, slow_world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        released = threading.Event()

        def read_state_when_released(_: object) -> str:
            released.wait(120)
            return "failed"

        monkeypatch.setattr(cancellation, "read_task_state", read_state_when_released)
        monkeypatch.setattr(cancellation, "_TRIGGER_TIMEOUT", 0.2)
        slow_world.emulator.change_settings(models_in_progress=100)
        models = [start_training(slow_world, f"m{number}") for number in range(40)]
        waits = [build_wait(model, timeout=3600)._replace(on_kill="delete") for model in models]
        triggers = [CleanRoomsMLWaitTrigger(wait=wait.to_json()) for wait in waits]
        for trigger in triggers:
            trigger.task_instance = TI

        async def kill() -> None:
            await asyncio.gather(*(trigger.on_kill() for trigger in triggers))
            released.set()
            await asyncio.to_thread(wait_until, lambda: slow_world.calls.count("DeleteAudienceModel") >= len(models))

        asyncio.run(kill())
        assert "its job could not be stopped (no answer within 0.2 s)." in caplog.text


def test_subscription_ends_with_block(slow_world: World) -> None:
    async def subscribe_briefly() -> Subscription:
        wait = build_wait(start_training(slow_world), timeout=3600)
        with subscribe(CleanRoomsMLWaitTrigger(wait=wait.to_json()), wait) as wait_subscription:
            assert not wait_subscription.is_finished
        return wait_subscription

    assert asyncio.run(subscribe_briefly()).is_finished
    wait_until(lambda: not registry.pollers)
