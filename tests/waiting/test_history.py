"""The status history: each status once, with times of one clock, the same in the worker and after a deferral."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import AirflowSkipException, TaskDeferred
from airflow_cleanroomsml._resources.table import Outcome
from airflow_cleanroomsml._waiting.history import StatusHistory
from airflow_cleanroomsml._waiting.results import format_outputs
from airflow_cleanroomsml._waiting.wait import PollResult, Wait
from airflow_cleanroomsml.exceptions import JobFailedError, WaitTimeoutError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLDeleteAudienceModelOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)
from airflow_cleanroomsml.sensors import CleanRoomsMLAudienceGenerationJobSensor, CleanRoomsMLAudienceModelSensor
from airflow_cleanroomsml.sensors._errors import SensorTimeoutError
from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger
from tests.support import EmulatorProcess, TaskInstance, World, resume, run

both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
CREATED = ["CREATE_PENDING", "CREATE_IN_PROGRESS", "ACTIVE"]


class SteppedWorld(World):
    """An account in which each pause advances the clocks of emulator and package, so that a slow machine misses no status."""

    offset = 0.0

    def advance(self, seconds: float) -> None:
        """Advance both clocks."""
        self.offset += seconds
        self.emulator._control("clock", {"advance": seconds})

    def wait(self, arn: str) -> dict[str, Any]:
        self.advance(300)
        return super().wait(arn)

    def pause(self, event: threading.Event, seconds: float) -> bool:
        """Advance both clocks unless the event is set."""
        if event.wait(0.01):
            return True
        self.advance(seconds)
        return False


@pytest.fixture(scope="module")
def stepped_emulator() -> Iterator[EmulatorProcess]:
    """An emulator whose jobs stay in each status for 100 s."""
    options = ("--scale", "0.001", "--pending-seconds", "100", "--progress-seconds", "100", "--delete-seconds", "100")
    process = EmulatorProcess(*options)
    yield process
    process.stop()


@pytest.fixture
def world(stepped_emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> SteppedWorld:
    """An account that boto3 and the ``aws_default`` connection use; the package's clock agrees with the emulator's."""
    world = SteppedWorld(stepped_emulator)
    monkeypatch.setenv("AWS_ENDPOINT_URL", stepped_emulator.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", world.account)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    # The clock of an emulator that served another test is ahead.
    world.offset = stepped_emulator.read_lead()
    monkeypatch.setattr(_clock, "now", lambda: time.time() + world.offset)
    monkeypatch.setattr(_clock, "sleep", world.advance)
    monkeypatch.setattr(_clock, "wait", world.pause)
    world.build()
    return world


class StateStore(dict[str, Any]):
    """Airflow's task state store, with a record of all progress written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.progress: list[dict[str, Any]] = []

    def set(self, key: str, value: Any) -> None:
        self[key] = value
        if key == "progress":
            self.progress.append(value)


@pytest.fixture
def read_log(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """A function that returns the log. The triggers of Airflow 3 print theirs; all other loggers are the standard library's."""
    caplog.set_level("INFO")
    return lambda: capsys.readouterr().out + caplog.text


def build_training_task(world: World, **more: Any) -> CleanRoomsMLCreateAudienceModelOperator:
    return CleanRoomsMLCreateAudienceModelOperator(
        task_id="task", name="model", training_dataset_arn=world.create_dataset(), **{"waiter_delay": 20, **more}
    )


def list_statuses(pushed: dict[str, Any]) -> list[str]:
    times = [datetime.fromisoformat(entry["since"]) for entry in pushed["status_history"]]
    assert times == sorted(times)
    assert all(time.utcoffset() is not None for time in times)
    return [entry["status"] for entry in pushed["status_history"]]


@both_ways
class TestOperators:
    def test_task_pushes_each_status_once(self, world: World, deferrable: bool) -> None:
        assert list_statuses(run(build_training_task(world, deferrable=deferrable)).pushed) == CREATED

    def test_failed_task_pushes_statuses(self, world: World, deferrable: bool) -> None:
        world.add_fault("CreateAudienceModel", "fail_job")
        ti = TaskInstance()
        with pytest.raises(JobFailedError):
            run(build_training_task(world, deferrable=deferrable), ti=ti)
        assert list_statuses(ti.pushed)[-1] == "CREATE_FAILED"

    def test_timed_out_task_pushes_statuses(self, world: World, deferrable: bool) -> None:
        ti = TaskInstance()
        with pytest.raises(WaitTimeoutError):
            run(build_training_task(world, deferrable=deferrable, waiter_max_attempts=2), ti=ti)
        assert list_statuses(ti.pushed) == ["CREATE_PENDING"]

    def test_deletion_ends_with_gone(self, world: World, deferrable: bool) -> None:
        delete = CleanRoomsMLDeleteAudienceModelOperator(
            task_id="task", audience_model_arn=world.train_model(), waiter_delay=20, deferrable=deferrable
        )
        assert list_statuses(run(delete).pushed)[-1] == "gone"

    def test_log_has_each_status_with_one_duration(
        self, world: SteppedWorld, deferrable: bool, read_log: Callable[[], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        operator, ti = build_training_task(world, deferrable=deferrable), TaskInstance()
        finish = operator._waiter._finish

        def finish_late(*arguments: Any) -> Any:
            # The worker resumes a deferred task some time after the triggerer saw the end.
            if deferrable:
                world.advance(1000)
            return finish(*arguments)

        monkeypatch.setattr(operator._waiter, "_finish", finish_late)
        run(operator, ti=ti)
        # Lines that repeat a status start with "Still".
        lines = re.findall(r"(?<!Still )\b([A-Z_]+) after (\d+) s", read_log())
        assert dict(lines).keys() == set(CREATED)
        assert len(set(lines)) == len(CREATED)
        assert list_statuses(ti.pushed) == CREATED

    def test_log_says_how_long_each_status_lasted(
        self, world: World, deferrable: bool, read_log: Callable[[], str]
    ) -> None:
        arn = run(build_training_task(world, deferrable=deferrable)).result
        durations = r"\(CREATE_PENDING for \d\d+ s, CREATE_IN_PROGRESS for \d\d+ s\)"
        assert re.search(rf"ACTIVE after \d+ s {durations}: audience model {arn}\n", read_log())

    def test_log_and_state_store_have_readable_metrics(
        self, world: World, deferrable: bool, read_log: Callable[[], str]
    ) -> None:
        seed: Any = world.write_seed()
        operator = CleanRoomsMLStartAudienceGenerationJobOperator(
            task_id="task",
            name="job",
            configured_audience_model_arn=world.create_configured_model(),
            seed_audience=seed,
            waiter_delay=20,
            deferrable=deferrable,
        )
        store = StateStore()
        run(operator, task_state_store=store)
        line = store["progress"]["metrics"]
        assert re.fullmatch(r"recall \d\.\d\d \(random 0\.20\); relevance \S+ at 5 %, \S+ at 10 %, \S+ at 20 %", line)
        assert f"Metrics: {line}" in read_log()

    def test_log_and_state_store_have_output_location(
        self, world: World, deferrable: bool, read_log: Callable[[], str]
    ) -> None:
        export = CleanRoomsMLStartAudienceExportJobOperator(
            task_id="task",
            name="export",
            audience_generation_job_arn=world.generate_audience(),
            audience_size={"type": "PERCENTAGE", "value": 5},
            waiter_delay=20,
            deferrable=deferrable,
        )
        store = StateStore()
        location = run(export, task_state_store=store).result["output_location"]
        assert location.startswith("s3://")
        assert store["progress"]["output_location"] == location
        log = read_log()
        assert f"Output location: {location}" in log
        # A full stop would be copied with the URI.
        assert f"{location}." not in log


class TestDeferral:
    def test_state_store_has_start_of_deferral(self, world: World) -> None:
        store = StateStore()
        run(build_training_task(world, deferrable=True), task_state_store=store)
        deferred = [state for state in store.progress if "deferred_since" in state]
        assert [state["status"] for state in deferred] == ["CREATE_PENDING"]
        assert "deferred_since" not in store["progress"]
        assert store["progress"]["status"] == "ACTIVE"

    def test_event_without_history_is_read(self, world: World) -> None:
        operator, ti = build_training_task(world, deferrable=True), TaskInstance()
        context: Any = {"ti": ti, "params": {}}
        with pytest.raises(TaskDeferred) as raised:
            operator.execute(context)
        deferred: Any = raised.value
        keywords = deferred.trigger.serialize()[1]
        del keywords["wait"]["history"]
        deferred.trigger = CleanRoomsMLWaitTrigger(**keywords)
        resume(operator, deferred, context)
        assert list_statuses(ti.pushed)[-1] == "ACTIVE"

    def test_wait_without_history_is_read(self) -> None:
        values = Wait("audience model", "created", {}, 0.0, 1.0, 1.0).to_json()
        del values["history"]
        assert StatusHistory(Wait.from_json(values).history).to_xcom() == []


class TestSensors:
    def build_sensor(self, world: World, **more: Any) -> CleanRoomsMLAudienceModelSensor:
        response = world.ml.create_audience_model(name="m", trainingDatasetArn=world.create_dataset())
        return CleanRoomsMLAudienceModelSensor(task_id="task", audience_model_arn=response["audienceModelArn"], **more)

    def test_sensor_pushes_each_status_once(self, world: SteppedWorld) -> None:
        sensor, ti = self.build_sensor(world), TaskInstance()
        context: Any = {"ti": ti, "params": {}}
        while not sensor.poke(context):
            world.advance(20)
        assert list_statuses(ti.pushed) == CREATED

    def test_deferred_sensor_pushes_statuses(self, world: SteppedWorld) -> None:
        assert list_statuses(run(self.build_sensor(world, deferrable=True, poke_interval=20)).pushed) == CREATED

    @pytest.mark.parametrize("soft_fail", [False, True], ids=["fails", "skipped"])
    @both_ways
    def test_timed_out_sensor_pushes_status(self, world: SteppedWorld, deferrable: bool, soft_fail: bool) -> None:
        sensor, ti = (
            self.build_sensor(world, deferrable=deferrable, timeout=1, poke_interval=0.2, soft_fail=soft_fail),
            TaskInstance(),
        )
        with pytest.raises(AirflowSkipException if soft_fail else SensorTimeoutError):
            run(sensor, ti=ti)
        assert list_statuses(ti.pushed) == ["CREATE_PENDING"]

    def test_skipped_sensor_logs_failure_once(self, world: SteppedWorld, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO")
        world.add_fault("CreateAudienceModel", "fail_job")
        sensor, ti = self.build_sensor(world, soft_fail=True), TaskInstance()
        world.advance(300)
        with pytest.raises(AirflowSkipException):
            run(sensor, ti=ti)
        assert list_statuses(ti.pushed) == ["CREATE_FAILED"]
        assert caplog.text.count("CREATE_FAILED: audience model") == 1

    def test_state_store_has_each_status(self, world: SteppedWorld) -> None:
        sensor, store = self.build_sensor(world), StateStore()
        context: Any = {"ti": TaskInstance(), "params": {}, "task_state_store": store}
        while not sensor.poke(context):
            world.advance(20)
        assert [state["status"] for state in store.progress] == CREATED
        elapsed = [state["elapsed_seconds"] for state in store.progress]
        assert elapsed == sorted(elapsed)
        assert elapsed[-1] > 100

    def test_unchanged_status_is_written_every_ten_minutes(self, world: SteppedWorld) -> None:
        # The model is never deleted, so the sensor never succeeds.
        sensor = CleanRoomsMLAudienceModelSensor(task_id="task", audience_model_arn=world.train_model(), goal="deleted")
        store = StateStore()
        context: Any = {"ti": TaskInstance(), "params": {}, "task_state_store": store}
        for _ in range(9):
            assert not sensor.poke(context)
            world.advance(150)
        assert [state["status"] for state in store.progress] == ["ACTIVE"] * 3

    def test_state_store_has_start_of_sensor_deferral(self, world: SteppedWorld) -> None:
        store = StateStore()
        run(self.build_sensor(world, deferrable=True, poke_interval=20), task_state_store=store)
        assert [state["status"] for state in store.progress if "deferred_since" in state] == ["CREATE_PENDING"]
        assert "deferred_since" not in store["progress"]
        assert store["progress"]["status"] == "ACTIVE"

    def test_state_store_has_no_deferral_after_time_out(self, world: SteppedWorld) -> None:
        store = StateStore()
        with pytest.raises(SensorTimeoutError):
            run(self.build_sensor(world, deferrable=True, poke_interval=20, timeout=60), task_state_store=store)
        assert "deferred_since" not in store["progress"]
        assert store["progress"]["status"] == "CREATE_PENDING"

    def test_elapsed_time_counts_from_first_reschedule(self, world: SteppedWorld) -> None:
        class Rescheduled(TaskInstance):
            def get_first_reschedule_date(self, _: Any) -> datetime:
                return datetime.fromtimestamp(_clock.now() - 1000, tz=timezone.utc)

        store = StateStore()
        context: Any = {"ti": Rescheduled(), "params": {}, "task_state_store": store}
        self.build_sensor(world, mode="reschedule").poke(context)
        assert 1000 <= store["progress"]["elapsed_seconds"] < 1100

    @both_ways
    def test_state_store_has_metrics_of_job(self, world: SteppedWorld, deferrable: bool) -> None:
        store = StateStore()
        sensor = CleanRoomsMLAudienceGenerationJobSensor(
            task_id="task", audience_generation_job_arn=world.generate_audience(), deferrable=deferrable
        )
        run(sensor, task_state_store=store)
        assert store["progress"]["metrics"].startswith("recall ")


class TestRecords:
    def test_failed_poll_changes_nothing(self) -> None:
        history = StatusHistory((("CREATE_PENDING", 10.0),))
        assert not history.record(PollResult("", Outcome.PENDING, message="throttled"), 12.0)
        assert not history.record(PollResult("CREATE_PENDING", Outcome.PENDING), 13.0)
        assert history.statuses == (("CREATE_PENDING", 10.0),)

    def test_durations_run_between_first_polls_of_statuses(self) -> None:
        history = StatusHistory((("CREATE_PENDING", 10.0), ("CREATE_IN_PROGRESS", 14.0), ("ACTIVE", 40.0)))
        assert (
            history.describe_durations(started=9.0)
            == "after 31 s (CREATE_PENDING for 4 s, CREATE_IN_PROGRESS for 26 s)"
        )

    def test_malformed_metrics_are_left_out(self) -> None:
        assert format_outputs({"metrics": {"recallMetric": 0.5}, "logs_status": "PUBLISH_FAILED"}) == {
            "logs_status": "PUBLISH_FAILED"
        }
