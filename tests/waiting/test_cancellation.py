"""
What a task does with its job when it times out or is killed.

``tests/dags/test_kills.py`` has the cases that need a real Airflow.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import AirflowTaskTerminated, AirflowTaskTimeout, TaskDeferred
from airflow_cleanroomsml._resources.table import AUDIENCE_MODEL, TRAINED_MODEL
from airflow_cleanroomsml._waiting import cancellation
from airflow_cleanroomsml._waiting.cancellation import cancel, cancel_from_trigger
from airflow_cleanroomsml._waiting.wait import Wait
from airflow_cleanroomsml._xcom import DEFERRAL_KEY
from airflow_cleanroomsml.exceptions import InvalidRequestError, WaitTimeoutError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLCreateTrainedModelOperator,
    _on_kill,
)
from airflow_cleanroomsml.operators._job import CleanRoomsMLJobOperator
from tests.helpers.custom_models import Studio
from tests.support import TaskInstance, World, run
from tests.test_triggers import wait_until

pytestmark = pytest.mark.usefixtures("fast_clock")
both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
SHORT: dict[str, Any] = {"waiter_delay": 1, "waiter_max_attempts": 1}


class LastTry(TaskInstance):
    """A task without retries."""

    max_tries = 0


@pytest.fixture
def channel(slow_studio: Studio) -> str:
    """The ARN of an ACTIVE channel, in an emulator whose jobs do not end by themselves."""
    response = slow_studio.ml.create_ml_input_channel(
        **slow_studio.of,
        name="channel",
        configuredModelAlgorithmAssociations=[slow_studio.association],
        inputChannel=slow_studio.build_input_channel(),
        retentionInDays=30,
    )
    slow_studio.world.emulator._control("clock", {"advance": 1100})
    return str(response["mlInputChannelArn"])


def build_training_task(studio: Studio, channel: str, **more: Any) -> CleanRoomsMLCreateTrainedModelOperator:
    return CleanRoomsMLCreateTrainedModelOperator(**studio.build_training(channel=channel, **{**SHORT, **more}))


def run_until_timeout(operator: Any, **context: Any) -> str:
    """Run a task until it times out; return the message of its error."""
    with pytest.raises(WaitTimeoutError) as caught:
        run(operator, **context)
    return str(caught.value)


def read_model(studio: Studio) -> dict[str, Any]:
    (model,) = studio.ml.list_trained_models(**studio.of)["trainedModels"]
    return dict(model)


@both_ways
def test_time_out_cancels_job(slow_studio: Studio, channel: str, deferrable: bool) -> None:
    assert "It was cancelled." in run_until_timeout(build_training_task(slow_studio, channel, deferrable=deferrable))
    assert read_model(slow_studio)["status"] in ("CANCEL_PENDING", "CANCEL_IN_PROGRESS", "INACTIVE")


@both_ways
def test_time_out_can_leave_job(slow_studio: Studio, channel: str, deferrable: bool) -> None:
    task = build_training_task(slow_studio, channel, deferrable=deferrable, cancel_on_kill=False)
    assert "It is still running and still incurring charges." in run_until_timeout(task)
    assert read_model(slow_studio)["status"] == "CREATE_IN_PROGRESS"


def test_job_of_another_run_is_left(slow_studio: Studio, channel: str) -> None:
    run_until_timeout(build_training_task(slow_studio, channel, cancel_on_kill=False))
    assert "It is still running" in run_until_timeout(build_training_task(slow_studio, channel, if_exists="reuse"))
    assert read_model(slow_studio)["status"] == "CREATE_IN_PROGRESS"


def test_denied_cancellation_does_not_hide_time_out(
    slow_studio: Studio, channel: str, caplog: pytest.LogCaptureFixture
) -> None:
    slow_studio.world.add_fault("CancelTrainedModel", "access_denied")
    message = run_until_timeout(build_training_task(slow_studio, channel))
    assert "Could not cancel it: CancelTrainedModel failed with AccessDenied" in message
    assert "Request ID" not in message
    # The log has the complete error, once.
    (log_message,) = [text for text in caplog.messages if "CancelTrainedModel failed with AccessDenied" in text]
    assert "is still running and still incurring charges. Could not cancel it: " in log_message
    assert (
        "Check that the caller has at least these permissions: cleanrooms-ml:CancelTrainedModel, cleanrooms:PassMembership."
        in log_message
    )
    assert log_message.splitlines()[-1].startswith("  Request ID: ")


def test_throttled_cancellation_is_retried(slow_studio: Studio, channel: str) -> None:
    slow_studio.world.add_fault("CancelTrainedModel", "throttle", times=2)
    once = {"retries": {"total_max_attempts": 1}}
    assert "It was cancelled." in run_until_timeout(build_training_task(slow_studio, channel, botocore_config=once))
    assert slow_studio.world.calls.count("CancelTrainedModel") == 3


def test_ended_job_is_not_cancelled(studio: Studio) -> None:
    of = {"trained_model_arn": studio.model, "membership_identifier": studio.membership}
    wait = Wait(TRAINED_MODEL.noun, "created", of, 0.0, 0.0, 1.0, on_kill="cancel")
    assert cancel(CleanRoomsMLHook, wait) == "It was already ACTIVE."
    assert "CancelTrainedModel" not in studio.world.calls


@pytest.mark.parametrize("fault", ["throttle", "server_error", "reset", "garbled"])
@pytest.mark.parametrize("passes", [True, False])
def test_unreadable_model_is_not_deleted(
    world: World, fault: str, passes: bool, caplog: pytest.LogCaptureFixture
) -> None:
    wait = build_model_wait(world.train_model(), on_kill="delete")
    world.add_fault("GetAudienceModel", fault, times=1 if passes else 0)
    once = CleanRoomsMLHook(config={"retries": {"total_max_attempts": 1}})
    message = cancel(lambda: once, wait)
    expected = "It was already ACTIVE." if passes else "its status could not be read, so it was not deleted."
    assert expected in message
    assert "DeleteAudienceModel" not in world.calls
    # Only responses of the service have a request ID.
    has_id = not passes and fault in ("throttle", "server_error")
    assert caplog.text.count("Request ID: ") == has_id
    assert "Request ID: " not in message


def test_missing_model_may_still_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = build_model_wait(world.train_model(), on_kill="delete")
    # As when a secrets backend does not respond, and the amazon provider falls back to the credentials that boto3 finds.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", World(world.emulator).account)
    message = cancel(CleanRoomsMLHook, wait)
    assert message.startswith("It may still be running and incurring charges: its status could not be read")
    assert "ResourceNotFoundException" in message


def test_cancellation_with_lost_response_is_reported(slow_studio: Studio, channel: str) -> None:
    slow_studio.world.add_fault("CancelTrainedModel", "lose_response")
    # On a busy machine the cancellation may end before the task reads the status.
    assert re.search(
        "It was cancelled, and is (CANCEL_|INACTIVE)", run_until_timeout(build_training_task(slow_studio, channel))
    )


@pytest.mark.parametrize("delete", [False, True], ids=["not requested", "requested"])
def test_delete_on_kill_tries_to_delete_running_model(slow_world: World, delete: bool) -> None:
    arn = slow_world.create_dataset()
    task = CleanRoomsMLCreateAudienceModelOperator(
        task_id="train", name="model", training_dataset_arn=arn, delete_on_kill=delete, **SHORT
    )
    message = run_until_timeout(task)
    assert "It is still running and still incurring charges." in message
    # The emulator assumes that the service does not delete a model that is being created.
    assert ("Could not delete it: DeleteAudienceModel" in message) is delete
    assert ("to try, run CleanRoomsMLDeleteAudienceModelOperator." in message) is not delete


@pytest.mark.parametrize(
    "error", [RuntimeError("cannot schedule new futures after shutdown"), TimeoutError("timed out")]
)
def test_failed_cancellation_from_the_triggerer_says_how_to_stop_the_job(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    identifiers = {"trained_model_arn": "arn", "membership_identifier": "m"}
    wait = Wait("trained model", "created", identifiers, 0.0, 1.0, 1.0, on_kill="cancel")

    async def fail(_: object) -> None:
        raise error

    asyncio.run(cancel_from_trigger(TaskInstance(), fail, wait))
    assert f"could not be stopped ({type(error).__name__}: {error})." in caplog.text
    assert "To stop it, run CleanRoomsMLCancelTrainedModelOperator. The job: trained model arn\n" in caplog.text


def test_flag_is_not_templated(studio: Studio) -> None:
    with pytest.raises(InvalidRequestError, match="cancel_on_kill"):
        run(build_training_task(studio, studio.channel, cancel_on_kill="{{ true }}"))


def build_model_wait(arn: str, **more: Any) -> Wait:
    """Build a wait for an audience model whose deadline has passed."""
    return Wait(AUDIENCE_MODEL.noun, "created", {"audience_model_arn": arn}, 0.0, 0.0, 1.0)._replace(**more)


def raise_timeout() -> None:
    """Raise the exception of Airflow's ``execution_timeout``."""
    raise AirflowTaskTimeout


def render_and_execute(task: Any, context: Any) -> Any:
    task.render_template_fields(context)
    return task.execute(context)


class Deferred:
    """A deferred task whose deadline has passed."""

    def __init__(self, studio: Studio, channel: str) -> None:
        self.ti = LastTry()
        self.context: Any = {"ti": self.ti, "params": {}}
        self.task = build_training_task(studio, channel, deferrable=True)
        with pytest.raises(TaskDeferred):
            render_and_execute(self.task, self.context)
        note: Any = self.ti.pushed[DEFERRAL_KEY]
        note["wait"]["deadline"] = _clock.now()

    def end_deferral(self) -> Any:
        """Resume the task as Airflow does when the deferral times out, for instance because no triggerer runs."""
        return self.task.resume_execution("__fail__", {"error": "Trigger timeout"}, self.context)

    def kill_on_resume(self, new_operator: CleanRoomsMLJobOperator, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let ``execution_timeout`` be over when Airflow 2.11 resumes the task, so that it calls ``on_kill`` of a new operator."""
        new_operator.render_template_fields(self.context)
        monkeypatch.setattr(_on_kill, "get_current_context", lambda: self.context)
        try:
            raise_timeout()
        except AirflowTaskTimeout:
            new_operator.on_kill()


def test_end_of_deferral_is_time_out(slow_studio: Studio, channel: str) -> None:
    deferred = Deferred(slow_studio, channel)
    with pytest.raises(WaitTimeoutError, match=r"It was cancelled\."):
        deferred.end_deferral()


def test_job_that_ended_meanwhile_succeeds(slow_studio: Studio, channel: str) -> None:
    deferred = Deferred(slow_studio, channel)
    slow_studio.world.emulator._control("clock", {"advance": 1100})
    assert deferred.end_deferral() == read_model(slow_studio)["trainedModelArn"]


@pytest.mark.parametrize("retries", [0, 1])
def test_execution_timeout_cancels_job_on_last_try(
    slow_studio: Studio, channel: str, retries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    deferred = Deferred(slow_studio, channel)
    deferred.ti.max_tries = retries
    deferred.kill_on_resume(build_training_task(slow_studio, channel, retries=retries), monkeypatch)
    assert ("CancelTrainedModel" in slow_studio.world.calls) is (retries == 0)


class ActsAfterNote(LastTry):
    """A task instance that acts after it has stored the note of its deferral."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act = act

    def xcom_push(self, key: str, value: Any) -> None:
        super().xcom_push(key, value)
        if key == DEFERRAL_KEY:
            self._act()


@pytest.mark.parametrize("retries", [0, 1])
def test_execution_timeout_while_deferring_leaves_no_note(
    slow_studio: Studio, channel: str, retries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, ti = build_training_task(slow_studio, channel, retries=retries, deferrable=True), ActsAfterNote(raise_timeout)
    ti.max_tries = retries
    context: Any = {"ti": ti, "params": {}}
    monkeypatch.setattr(_on_kill, "get_current_context", lambda: context)
    try:
        render_and_execute(task, context)
    except AirflowTaskTimeout:
        task.on_kill()
    assert "trained_model_arn" in ti.pushed
    assert DEFERRAL_KEY not in ti.pushed
    assert ("CancelTrainedModel" in slow_studio.world.calls) is (retries == 0)


@pytest.mark.parametrize("airflow_2", [False, True], ids=["Airflow 3", "Airflow 2"])
@pytest.mark.parametrize(("state", "ends"), [("failed", True), ("restarting", False)])
def test_kill_while_deferring_cancels_job(
    slow_studio: Studio, channel: str, state: str, ends: bool, airflow_2: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill() -> None:
        task.on_kill()
        # The signal handler of Airflow 2 raises this; that of Airflow 3 raises nothing.
        if airflow_2:
            raise AirflowTaskTerminated("Task received SIGTERM signal")

    monkeypatch.setattr(cancellation, "read_task_state", lambda _: state)
    monkeypatch.setattr(_on_kill, "IS_AIRFLOW_2", airflow_2)
    monkeypatch.setattr(_clock, "sleep", lambda _: None)
    task, ti = build_training_task(slow_studio, channel, deferrable=True), ActsAfterNote(kill)
    with pytest.raises(AirflowTaskTerminated if ends or airflow_2 else TaskDeferred):
        render_and_execute(task, {"ti": ti, "params": {}})
    assert "trained_model_arn" in ti.pushed
    # The next try starts without XComs.
    assert (DEFERRAL_KEY in ti.pushed) is not ends
    assert ("CancelTrainedModel" in slow_studio.world.calls) is ends


def test_execution_timeout_before_create_does_nothing(
    slow_studio: Studio, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_on_kill, "get_current_context", lambda: {"ti": LastTry()})
    try:
        raise_timeout()
    except AirflowTaskTimeout:
        build_training_task(slow_studio, channel).on_kill()
    assert "CancelTrainedModel" not in slow_studio.world.calls


class TestInterruptedCreate:
    """The service has started the job, but the task has not received the response."""

    def run_interrupted(
        self, task: CleanRoomsMLJobOperator, studio: Studio, act: Callable[[], None], **context: Any
    ) -> None:
        """Run a task whose process gets a signal after its request was committed and before the response."""
        studio.world.add_fault("CreateTrainedModel", "slow", seconds=30)
        with handle_signal(act):
            threading.Thread(target=signal_when_created, args=(studio,), daemon=True).start()
            run(task, **context)

    @pytest.mark.parametrize("retries", [0, 1])
    def test_time_out_cancels_job_on_last_try(
        self, slow_studio: Studio, channel: str, retries: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task, ti = build_training_task(slow_studio, channel, retries=retries), LastTry()
        ti.max_tries = retries
        monkeypatch.setattr(_on_kill, "get_current_context", lambda: {"ti": ti, "params": {}})
        try:
            self.run_interrupted(task, slow_studio, raise_timeout, ti=ti)
        except AirflowTaskTimeout:
            task.on_kill()
        assert ("CancelTrainedModel" in slow_studio.world.calls) is (retries == 0)

    def test_failed_search_does_not_hide_time_out(
        self,
        slow_studio: Studio,
        channel: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        task, ti = build_training_task(slow_studio, channel), LastTry()
        monkeypatch.setattr(_on_kill, "get_current_context", lambda: {"ti": ti, "params": {}})
        try:
            self.run_interrupted(task, slow_studio, raise_timeout, ti=ti)
        except AirflowTaskTimeout:
            slow_studio.world.add_fault("ListTrainedModels", "access_denied")
            task.on_kill()
        assert "any such job keeps running: ListTrainedModels failed with AccessDenied" in caplog.text

    @pytest.mark.parametrize(("state", "ends"), [("failed", True), ("restarting", False)])
    def test_kill_by_airflow_2_cancels_job_if_task_failed(
        self, slow_studio: Studio, channel: str, state: str, ends: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cancellation, "read_task_state", lambda _: state)
        monkeypatch.setattr(_on_kill, "IS_AIRFLOW_2", True)
        task = build_training_task(slow_studio, channel)

        def kill() -> None:
            task.on_kill()
            raise AirflowTaskTerminated("Task received SIGTERM signal")

        with pytest.raises(AirflowTaskTerminated):
            self.run_interrupted(task, slow_studio, kill, ti=LastTry())
        assert ("CancelTrainedModel" in slow_studio.world.calls) is ends


def test_killed_task_logs_job_before_it_asks_airflow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Ended(BaseException):
        """The supervisor ended the process. Not an ``Exception``, so that no code under test catches it."""

    def raise_ended(_: object) -> str:
        raise Ended

    monkeypatch.setattr(cancellation, "read_task_state", raise_ended)
    with caplog.at_level(logging.INFO), pytest.raises(Ended):
        cancellation.is_killed(LastTry(), "trained model arn:aws:…")
    assert [record.getMessage() for record in caplog.records] == [
        "The task was told to stop. Asking Airflow whether another try will continue the wait: trained model arn:aws:…"
    ]


@contextmanager
def handle_signal(act: Callable[[], None]) -> Iterator[None]:
    """Let SIGUSR1 interrupt the main thread and act there."""

    def handle(number: int, frame: FrameType | None) -> None:
        act()

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def signal_when_created(studio: Studio) -> None:
    """Send SIGUSR1 to this process once the model exists."""
    wait_until(lambda: studio.ml.list_trained_models(**studio.of)["trainedModels"])
    os.kill(os.getpid(), signal.SIGUSR1)
