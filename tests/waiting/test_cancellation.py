"""What becomes of what a task has started when its time is over; ``tests/dags/test_kills.py`` has what only a real Airflow can show."""

from __future__ import annotations

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
from airflow_cleanroomsml._waiting.cancellation import cancel
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


class Kept(TaskInstance):
    """A task without retries."""

    max_tries = 0


@pytest.fixture
def channel(slow_studio: Studio) -> str:
    """A channel that is ACTIVE, where nothing else ends."""
    made = slow_studio.ml.create_ml_input_channel(
        **slow_studio.of,
        name="channel",
        configuredModelAlgorithmAssociations=[slow_studio.association],
        inputChannel=slow_studio.build_input_channel(),
        retentionInDays=30,
    )
    slow_studio.world.emulator._control("clock", {"advance": 1100})
    return str(made["mlInputChannelArn"])


def trains(studio: Studio, channel: str, **more: Any) -> CleanRoomsMLCreateTrainedModelOperator:
    return CleanRoomsMLCreateTrainedModelOperator(**studio.build_training(channel=channel, **{**SHORT, **more}))


def timed_out(operator: Any, **context: Any) -> str:
    """What the task says when its time is over."""
    with pytest.raises(WaitTimeoutError) as caught:
        run(operator, **context)
    return str(caught.value)


def model(studio: Studio) -> dict[str, Any]:
    (found,) = studio.ml.list_trained_models(**studio.of)["trainedModels"]
    return dict(found)


@both_ways
def test_what_is_not_done_in_time_is_cancelled(slow_studio: Studio, channel: str, deferrable: bool) -> None:
    assert "It was cancelled." in timed_out(trains(slow_studio, channel, deferrable=deferrable))
    assert model(slow_studio)["status"] in ("CANCEL_PENDING", "CANCEL_IN_PROGRESS", "INACTIVE")


@both_ways
def test_unless_that_is_not_wanted(slow_studio: Studio, channel: str, deferrable: bool) -> None:
    task = trains(slow_studio, channel, deferrable=deferrable, cancel_on_kill=False)
    assert "It is still running and still incurring charges." in timed_out(task)
    assert model(slow_studio)["status"] == "CREATE_IN_PROGRESS"


def test_what_another_run_has_made_is_left(slow_studio: Studio, channel: str) -> None:
    timed_out(trains(slow_studio, channel, cancel_on_kill=False))
    assert "It is still running" in timed_out(trains(slow_studio, channel, if_exists="reuse"))
    assert model(slow_studio)["status"] == "CREATE_IN_PROGRESS"


def test_a_cancellation_that_is_refused_does_not_hide_the_time_out(
    slow_studio: Studio, channel: str, caplog: pytest.LogCaptureFixture
) -> None:
    slow_studio.world.add_fault("CancelTrainedModel", "access_denied")
    told = timed_out(trains(slow_studio, channel))
    assert "Could not cancel it: CancelTrainedModel failed with AccessDenied" in told
    assert "Request ID" not in told
    # The log has the whole error, once.
    (logged,) = [text for text in caplog.messages if "CancelTrainedModel failed with AccessDenied" in text]
    assert "is still running and still incurring charges. Could not cancel it: " in logged
    assert "Check that the caller has permission" in logged
    assert logged.splitlines()[-1].startswith("  Request ID: ")


def test_a_cancellation_that_is_throttled_is_sent_again(slow_studio: Studio, channel: str) -> None:
    slow_studio.world.add_fault("CancelTrainedModel", "throttle", times=2)
    once = {"retries": {"total_max_attempts": 1}}
    assert "It was cancelled." in timed_out(trains(slow_studio, channel, botocore_config=once))
    assert slow_studio.world.calls.count("CancelTrainedModel") == 3


def test_what_has_ended_is_left_as_it_is(studio: Studio) -> None:
    of = {"trained_model_arn": studio.model, "membership_identifier": studio.membership}
    wait = Wait(TRAINED_MODEL.noun, "created", of, 0.0, 0.0, 1.0, on_kill="cancel")
    assert cancel(CleanRoomsMLHook, wait) == "It had already ended (ACTIVE)."
    assert "CancelTrainedModel" not in studio.world.calls


@pytest.mark.parametrize("fault", ["throttle", "server_error", "reset", "garbled"])
@pytest.mark.parametrize("passes", [True, False])
def test_nothing_is_deleted_that_cannot_be_read(
    world: World, fault: str, passes: bool, caplog: pytest.LogCaptureFixture
) -> None:
    wait = model_wait(world.train_model(), on_kill="delete")
    world.add_fault("GetAudienceModel", fault, times=1 if passes else 0)
    once = CleanRoomsMLHook(config={"retries": {"total_max_attempts": 1}})
    told = cancel(lambda: once, wait)
    expected = "It had already ended (ACTIVE)." if passes else "its status could not be read, so it was not deleted."
    assert expected in told
    assert "DeleteAudienceModel" not in world.calls
    # Only answers of the service have an ID.
    has_id = not passes and fault in ("throttle", "server_error")
    assert caplog.text.count("Request ID: ") == has_id
    assert "Request ID: " not in told


def test_what_is_not_found_has_not_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = model_wait(world.train_model(), on_kill="delete")
    # As where a secrets backend does not answer, and the amazon provider takes the credentials that boto3 finds.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", World(world.emulator).account)
    told = cancel(CleanRoomsMLHook, wait)
    assert told.startswith("It may still be running and incurring charges: its status could not be read")
    assert "ResourceNotFoundException" in told


def test_a_cancellation_whose_answer_was_lost_is_told_as_one(slow_studio: Studio, channel: str) -> None:
    slow_studio.world.add_fault("CancelTrainedModel", "lose_response")
    # A busy machine lets the cancellation end before it is looked at.
    assert re.search("It was cancelled, and is (CANCEL_|INACTIVE)", timed_out(trains(slow_studio, channel)))


@pytest.mark.parametrize("delete", [False, True], ids=["not asked for", "asked for"])
def test_what_cannot_be_cancelled_is_deleted_where_that_is_asked_for(slow_world: World, delete: bool) -> None:
    arn = slow_world.create_dataset()
    task = CleanRoomsMLCreateAudienceModelOperator(
        task_id="train", name="model", training_dataset_arn=arn, delete_on_kill=delete, **SHORT
    )
    told = timed_out(task)
    assert "It is still running and still incurring charges." in told
    # The emulator takes it that nothing is deleted that is being made.
    assert ("Could not delete it: DeleteAudienceModel" in told) is delete
    assert ("The service cannot cancel it." in told) is not delete


def test_a_flag_is_no_template(studio: Studio) -> None:
    with pytest.raises(InvalidRequestError, match="cancel_on_kill"):
        run(trains(studio, studio.channel, cancel_on_kill="{{ true }}"))


def model_wait(arn: str, **more: Any) -> Wait:
    """A wait for an audience model, which has lasted."""
    return Wait(AUDIENCE_MODEL.noun, "created", {"audience_model_arn": arn}, 0.0, 0.0, 1.0)._replace(**more)


def ring() -> None:
    """Airflow's alarm for ``execution_timeout``."""
    raise AirflowTaskTimeout


def executed(task: Any, context: Any) -> Any:
    task.render_template_fields(context)
    return task.execute(context)


class Deferred:
    """A task that was deferred, and whose time is over."""

    def __init__(self, studio: Studio, channel: str) -> None:
        self.ti = Kept()
        self.context: Any = {"ti": self.ti, "params": {}}
        self.task = trains(studio, channel, deferrable=True)
        with pytest.raises(TaskDeferred):
            executed(self.task, self.context)
        note: Any = self.ti.pushed[DEFERRAL_KEY]
        note["wait"]["deadline"] = _clock.now()

    def times_out(self) -> Any:
        """Airflow ends the deferral, for no triggerer was there."""
        return self.task.resume_execution("__fail__", {"error": "Trigger timeout"}, self.context)

    def alarms(self, fresh: CleanRoomsMLJobOperator, monkeypatch: pytest.MonkeyPatch) -> None:
        """Airflow 2.11 finds ``execution_timeout`` over when it goes on, and tells an operator that knows nothing."""
        fresh.render_template_fields(self.context)
        monkeypatch.setattr(_on_kill, "get_current_context", lambda: self.context)
        try:
            ring()
        except AirflowTaskTimeout:
            fresh.on_kill()


def test_a_deferral_that_airflow_ends_is_a_time_out(slow_studio: Studio, channel: str) -> None:
    deferred = Deferred(slow_studio, channel)
    with pytest.raises(WaitTimeoutError, match=r"It was cancelled\."):
        deferred.times_out()


def test_what_was_done_meanwhile_is_a_success(slow_studio: Studio, channel: str) -> None:
    deferred = Deferred(slow_studio, channel)
    slow_studio.world.emulator._control("clock", {"advance": 1100})
    assert deferred.times_out() == model(slow_studio)["trainedModelArn"]


@pytest.mark.parametrize("retries", [0, 1])
def test_an_alarm_cancels_what_no_retry_goes_on_with(
    slow_studio: Studio, channel: str, retries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    deferred = Deferred(slow_studio, channel)
    deferred.ti.max_tries = retries
    deferred.alarms(trains(slow_studio, channel, retries=retries), monkeypatch)
    assert ("CancelTrainedModel" in slow_studio.world.calls) is (retries == 0)


class WhileNoted(Kept):
    """A task to which something happens when it has kept the note of its deferral."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act = act

    def xcom_push(self, key: str, value: Any) -> None:
        super().xcom_push(key, value)
        if key == DEFERRAL_KEY:
            self._act()


@pytest.mark.parametrize("retries", [0, 1])
def test_an_alarm_that_breaks_off_a_deferral_leaves_no_note(
    slow_studio: Studio, channel: str, retries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, ti = trains(slow_studio, channel, retries=retries, deferrable=True), WhileNoted(ring)
    ti.max_tries = retries
    context: Any = {"ti": ti, "params": {}}
    monkeypatch.setattr(_on_kill, "get_current_context", lambda: context)
    try:
        executed(task, context)
    except AirflowTaskTimeout:
        task.on_kill()
    assert "trained_model_arn" in ti.pushed
    assert DEFERRAL_KEY not in ti.pushed
    assert ("CancelTrainedModel" in slow_studio.world.calls) is (retries == 0)


@pytest.mark.parametrize("airflow_2", [False, True], ids=["Airflow 3", "Airflow 2"])
@pytest.mark.parametrize(("state", "ends"), [("failed", True), ("restarting", False)])
def test_a_kill_that_breaks_off_a_deferral_ends_its_job(
    slow_studio: Studio, channel: str, state: str, ends: bool, airflow_2: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill() -> None:
        task.on_kill()
        # The signal handler of Airflow 2 raises this, that of Airflow 3 nothing.
        if airflow_2:
            raise AirflowTaskTerminated("Task received SIGTERM signal")

    monkeypatch.setattr(cancellation, "read_task_state", lambda _: state)
    monkeypatch.setattr(_on_kill, "IS_AIRFLOW_2", airflow_2)
    monkeypatch.setattr(_clock, "sleep", lambda _: None)
    task, ti = trains(slow_studio, channel, deferrable=True), WhileNoted(kill)
    with pytest.raises(AirflowTaskTerminated if ends or airflow_2 else TaskDeferred):
        executed(task, {"ti": ti, "params": {}})
    assert "trained_model_arn" in ti.pushed
    # The next try begins without XComs.
    assert (DEFERRAL_KEY in ti.pushed) is not ends
    assert ("CancelTrainedModel" in slow_studio.world.calls) is ends


def test_an_alarm_before_anything_was_made_does_nothing(
    slow_studio: Studio, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_on_kill, "get_current_context", lambda: {"ti": Kept()})
    try:
        ring()
    except AirflowTaskTimeout:
        trains(slow_studio, channel).on_kill()
    assert "CancelTrainedModel" not in slow_studio.world.calls


class TestWhileItsRequestIsAnswered:
    """The service has started it, and the task does not know yet."""

    def interrupted(
        self, task: CleanRoomsMLJobOperator, studio: Studio, signalled: Callable[[], None], **context: Any
    ) -> None:
        """Run a task whose process gets a signal when its request was carried out, and whose answer comes never."""
        studio.world.add_fault("CreateTrainedModel", "slow", seconds=30)
        with signalling(signalled):
            threading.Thread(target=signal_after, args=(studio,), daemon=True).start()
            run(task, **context)

    @pytest.mark.parametrize("retries", [0, 1])
    def test_a_time_out_ends_it_unless_a_retry_goes_on_with_it(
        self, slow_studio: Studio, channel: str, retries: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task, ti = trains(slow_studio, channel, retries=retries), Kept()
        ti.max_tries = retries
        monkeypatch.setattr(_on_kill, "get_current_context", lambda: {"ti": ti, "params": {}})
        try:
            self.interrupted(task, slow_studio, ring, ti=ti)
        except AirflowTaskTimeout:
            task.on_kill()
        assert ("CancelTrainedModel" in slow_studio.world.calls) is (retries == 0)

    def test_what_cannot_be_looked_for_hides_no_time_out(
        self,
        slow_studio: Studio,
        channel: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        task, ti = trains(slow_studio, channel), Kept()
        monkeypatch.setattr(_on_kill, "get_current_context", lambda: {"ti": ti, "params": {}})
        try:
            self.interrupted(task, slow_studio, ring, ti=ti)
        except AirflowTaskTimeout:
            slow_studio.world.add_fault("ListTrainedModels", "access_denied")
            task.on_kill()
        assert "any such job keeps running: ListTrainedModels failed with AccessDenied" in caplog.text

    @pytest.mark.parametrize(("state", "ends"), [("failed", True), ("restarting", False)])
    def test_a_kill_by_airflow_2_ends_it_if_the_task_is_over(
        self, slow_studio: Studio, channel: str, state: str, ends: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cancellation, "read_task_state", lambda _: state)
        monkeypatch.setattr(_on_kill, "IS_AIRFLOW_2", True)
        task = trains(slow_studio, channel)

        def terminated() -> None:
            task.on_kill()
            raise AirflowTaskTerminated("Task received SIGTERM signal")

        with pytest.raises(AirflowTaskTerminated):
            self.interrupted(task, slow_studio, terminated, ti=Kept())
        assert ("CancelTrainedModel" in slow_studio.world.calls) is ends


def test_a_task_that_cannot_ask_airflow_any_more_has_named_its_job(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Ended(BaseException):
        """The supervisor ends the process, which no ``except Exception`` notices."""

    def end(_: object) -> str:
        raise Ended

    monkeypatch.setattr(cancellation, "read_task_state", end)
    with caplog.at_level(logging.INFO), pytest.raises(Ended):
        cancellation.is_killed(Kept(), "trained model arn:aws:…")
    assert [record.getMessage() for record in caplog.records] == [
        "The task was told to stop. Asking Airflow whether another try will continue the wait: trained model arn:aws:…."
    ]


@contextmanager
def signalling(act: Callable[[], None]) -> Iterator[None]:
    """Let a signal interrupt the main thread, wherever it is."""

    def heed(number: int, frame: FrameType | None) -> None:
        act()

    before = signal.signal(signal.SIGUSR1, heed)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def signal_after(studio: Studio) -> None:
    """Send it when the model is there."""
    wait_until(lambda: studio.ml.list_trained_models(**studio.of)["trainedModels"])
    os.kill(os.getpid(), signal.SIGUSR1)
