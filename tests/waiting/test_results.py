"""What a wait reports while it lasts and when it ends."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import pytest

from airflow_cleanroomsml import _clock, _compat
from airflow_cleanroomsml._idempotency.attempts import AttemptLog
from airflow_cleanroomsml._resources.table import Outcome
from airflow_cleanroomsml._waiting import loop
from airflow_cleanroomsml._waiting.history import StatusHistory
from airflow_cleanroomsml._waiting.results import record_metrics, report_progress
from airflow_cleanroomsml._waiting.wait import PollResult, Wait
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.operators import CleanRoomsMLStartAudienceGenerationJobOperator
from airflow_cleanroomsml.sensors import CleanRoomsMLAudienceGenerationJobSensor
from tests.support import TaskInstance, World

ARN = "arn:aws:cleanrooms-ml:us-east-1:123456789012:audience-model/x"


def build_wait(**more: Any) -> Wait:
    now = _clock.now()
    return Wait("audience model", "created", {"audience_model_arn": ARN}, now, now + 7200, 60.0, **more)


class Stats:
    """The methods of Airflow's metrics that the package uses."""

    records: ClassVar[list[tuple[Any, ...]]] = []

    @classmethod
    def timing(cls, name: str, duration: Any, *, tags: dict[str, str]) -> None:
        cls.records.append((name, round(duration.total_seconds()), tags))

    @classmethod
    def incr(cls, name: str, *, tags: dict[str, str]) -> None:
        cls.records.append((name, tags))


class BrokenStore(dict[str, Any]):
    """A state store that always fails."""

    def get(self, key: str, default: Any = None) -> Any:
        raise RuntimeError(f"no {key} today")

    def set(self, key: str, value: Any) -> None:
        raise RuntimeError(f"no {key} of {value} today")


def test_end_records_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compat, "load_stats", lambda: Stats)
    wait = build_wait()
    monkeypatch.setattr(_clock, "now", lambda: wait.started + 90)
    record_metrics(wait, PollResult("ACTIVE", Outcome.SUCCESS))
    tags = {"noun": "audience_model", "goal": "created", "status": "active", "outcome": "success"}
    assert Stats.records == [
        ("cleanroomsml.audience_model.duration", 90, tags),
        ("cleanroomsml.audience_model.active", tags),
    ]


def test_airflow_accepts_metrics() -> None:
    record_metrics(build_wait(), PollResult("CREATE_FAILED", Outcome.FAILURE))


def test_unchanged_status_is_reported_every_ten_minutes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    response = world.ml.create_audience_model(name="m", trainingDatasetArn=world.create_dataset())
    now = [_clock.now()]
    monkeypatch.setattr(_clock, "now", lambda: now[0])
    monkeypatch.setattr(_clock, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    pending = Wait(
        "audience model",
        "cancelled",  # a goal that no audience model reaches
        {"audience_model_arn": response["audienceModelArn"]},
        now[0],
        now[0] + 3000,
        60.0,
    )
    monkeypatch.setattr(loop, "poll_once", lambda *_: PollResult("CREATE_IN_PROGRESS", Outcome.PENDING))
    report_times: list[float] = []
    first = PollResult("CREATE_IN_PROGRESS", Outcome.PENDING)
    loop.poll_until_done(
        CleanRoomsMLHook(), pending, first, None, lambda _: report_times.append(now[0] - pending.started)
    )
    assert len(report_times) == 4
    assert all(600 * number <= at <= 600 * number + 300 for number, at in enumerate(report_times, 1))


def test_broken_state_store_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    context: Any = {"task_state_store": BrokenStore()}
    attempt_log = AttemptLog(context, "fingerprint", enabled=True)
    with caplog.at_level(logging.WARNING):
        assert attempt_log.recall() is None
    assert "looking in the listing for what an earlier try created" in caplog.text
    attempt_log.write(number=1, sent=0.0)
    report_progress(context, build_wait(), PollResult("ACTIVE", Outcome.SUCCESS), StatusHistory())


class TestPartialResults:
    """If thousands of waits end at once, the poller reports the status in a listing, and the task reads the rest."""

    @pytest.fixture
    def event(self, world: World) -> dict[str, Any]:
        now, identifiers = _clock.now(), {"audience_generation_job_arn": world.generate_audience()}
        wait = Wait("audience generation job", "created", identifiers, now, now + 3600, 1.0)
        result = PollResult("ACTIVE", Outcome.SUCCESS, is_partial=True)
        return {"wait": wait.to_json(), "poll_result": result.to_json()}

    @pytest.mark.parametrize("fault", [None, "throttle"])
    def test_operator_reads_the_rest(self, world: World, event: dict[str, Any], fault: str | None) -> None:
        ti = TaskInstance()
        seed: Any = world.write_seed()
        operator = CleanRoomsMLStartAudienceGenerationJobOperator(
            task_id="t",
            name="job",
            configured_audience_model_arn="arn:aws:cleanrooms-ml:us-east-1:123456789012:configured-audience-model/m",
            seed_audience=seed,
            botocore_config={"retries": {"total_max_attempts": 1}},
        )
        if fault:
            world.add_fault("GetAudienceGenerationJob", fault)
        context: Any = {"ti": ti, "params": {}}
        assert operator.execute_complete(context, event) == event["wait"]["identifiers"]["audience_generation_job_arn"]
        assert ti.pushed["metrics"]

    def test_sensor_reads_the_rest(self, event: dict[str, Any]) -> None:
        ti = TaskInstance()
        identifiers = event["wait"]["identifiers"]
        sensor = CleanRoomsMLAudienceGenerationJobSensor(task_id="t", deferrable=True, **identifiers)
        context: Any = {"ti": ti, "params": {}}
        assert sensor.execute_complete(context, event) == identifiers["audience_generation_job_arn"]
        assert ti.pushed["metrics"]
