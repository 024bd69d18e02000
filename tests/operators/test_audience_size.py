from __future__ import annotations

import logging
import math
from typing import Any

import pytest

from airflow_cleanroomsml._compat import AirflowFailException, AirflowSkipException
from airflow_cleanroomsml.exceptions import CleanRoomsMLError, InvalidRequestError, JobFailedError, ResultError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLChooseAudienceSizeOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
)
from tests.support import EmulatorProcess, World, run

CURVE = {1: 0.573, 5: -0.15, 20: -0.357}
METRICS = {
    "relevanceMetrics": [
        {"audienceSize": {"type": "PERCENTAGE", "value": value}, "score": score} for value, score in CURVE.items()
    ],
    "recallMetric": 0.87,
}
RANDOM = {**METRICS, "recallMetric": 0.2}
DEFAULT = {"type": "PERCENTAGE", "value": 5}


def choose(**arguments: Any) -> Any:
    return run(CleanRoomsMLChooseAudienceSizeOperator(task_id="t", **arguments)).result


def build_percentage(value: int) -> dict[str, Any]:
    return {"type": "PERCENTAGE", "value": value}


def test_export_accepts_chosen_size(world: World) -> None:
    job = world.generate_audience()
    size = choose(audience_generation_job_arn=job, min_relevance=-1)
    assert size == build_percentage(20)
    export = CleanRoomsMLStartAudienceExportJobOperator(
        task_id="export", name="export", audience_generation_job_arn=job, audience_size=size
    )
    assert run(export).result["name"] == "export"


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ({}, 1),
        ({"min_relevance": "-0.2"}, 5),
        ({"policy": "knee"}, 5),
        ({"policy": "users", "users": 180_000, "training_users": "1000000"}, 20),
    ],
)
@pytest.mark.parametrize("metrics", [METRICS, str(METRICS)], ids=["mapping", "text"])
def test_metrics_argument_needs_no_calls(world: World, metrics: Any, arguments: dict[str, Any], value: int) -> None:
    assert choose(metrics=metrics, **arguments) == build_percentage(value)
    assert world.calls == []


def test_metrics_are_logged(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.INFO):
        choose(metrics=METRICS)
    line = "recall 0.87 (random 0.20); relevance 0.57 at 1 %, -0.15 at 5 %, -0.36 at 20 %."
    assert line in caplog.text + capsys.readouterr().out


class TestUnsuitable:
    """Random recall, metrics that are not shared, and relevance that is too low."""

    UNSUITABLE = pytest.mark.parametrize(
        ("arguments", "why"),
        [
            ({"metrics": RANDOM}, "recall 0.20 is no better than a random selection"),
            ({"metrics": METRICS, "min_recall": 0.9}, "recall 0.87 is no better than min_recall"),
            ({"metrics": None}, "the metrics are not shared"),
            ({"metrics": METRICS, "min_relevance": 0.6}, "no size has a relevance of 0.6 or more"),
        ],
    )

    @UNSUITABLE
    def test_fail_does_not_retry(self, arguments: dict[str, Any], why: str) -> None:
        with pytest.raises(ResultError, match=why):
            choose(**arguments)

    @UNSUITABLE
    def test_skip(self, arguments: dict[str, Any], why: str) -> None:
        with pytest.raises(AirflowSkipException, match=why):
            choose(if_unsuitable="skip", **arguments)

    @pytest.mark.parametrize("arguments", [{"metrics": None}, {"metrics": METRICS, "min_relevance": 0.6}])
    def test_pass_returns_default_if_no_size_is_suitable(self, arguments: dict[str, Any]) -> None:
        assert choose(if_unsuitable="pass", default_size=DEFAULT, **arguments) == DEFAULT
        with pytest.raises(ResultError):
            choose(if_unsuitable="pass", **arguments)

    def test_pass_chooses_size_despite_random_recall(self) -> None:
        assert choose(if_unsuitable="pass", default_size=DEFAULT, metrics=RANDOM) == build_percentage(1)


def test_missing_or_incomparable_recall_is_accepted() -> None:
    assert choose(metrics={"relevanceMetrics": METRICS["relevanceMetrics"]}) == build_percentage(1)
    absolute = [{"audienceSize": {"type": "ABSOLUTE", "value": 10_000}, "score": 0.5}]
    size = {"type": "ABSOLUTE", "value": 10_000}
    assert choose(metrics={"relevanceMetrics": absolute, "recallMetric": 0.01}) == size
    with pytest.raises(ResultError, match="no better than a random selection"):
        choose(metrics={"relevanceMetrics": absolute, "recallMetric": 0.01}, training_users=100_000)


def test_job_without_shared_metrics_is_skipped(world: World, emulator: EmulatorProcess) -> None:
    owner = World(emulator).build()
    configured = owner.create_configured_model(metrics=["NONE"])
    owner.allow_jobs(configured, world.account)
    response = world.ml.start_audience_generation_job(
        name="segment", configuredAudienceModelArn=configured, seedAudience=world.write_seed()
    )
    job = response["audienceGenerationJobArn"]
    assert world.wait(job)["status"] == "ACTIVE"
    with pytest.raises(AirflowSkipException, match="the metrics are not shared"):
        choose(audience_generation_job_arn=job, if_unsuitable="skip")


def test_pending_job_is_retried_and_failed_job_is_not(world: World) -> None:
    configured = world.create_configured_model()

    def start(name: str) -> str:
        response = world.ml.start_audience_generation_job(
            name=name, configuredAudienceModelArn=configured, seedAudience=world.write_seed()
        )
        return str(response["audienceGenerationJobArn"])

    before = world.emulator.change_settings(progress_seconds=1000)
    try:
        in_progress = start("in-progress")
    finally:
        world.emulator.change_settings(progress_seconds=before["progress_seconds"])
    with pytest.raises(CleanRoomsMLError, match="has no metrics yet") as caught:
        choose(audience_generation_job_arn=in_progress)
    assert not isinstance(caught.value, AirflowFailException)
    world.add_fault("StartAudienceGenerationJob", "fail_job")
    failed = start("failed")
    world.wait(failed)
    with pytest.raises(JobFailedError, match="CREATE_FAILED"):
        choose(audience_generation_job_arn=failed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy": "best"}, "policy: 'best' is unknown; allowed: relevance, users, knee"),
        ({"policy": "users"}, 'users: missing; required with policy="users"'),
        ({"min_relevance": 2}, "min_relevance: 2 is out of range; allowed: -1 to 1"),
        ({"min_recall": "much"}, "min_recall: 'much' is a string; must be a number"),
        ({"if_unsuitable": "stop"}, "if_unsuitable: 'stop' is unknown; allowed: fail, skip, pass"),
        ({"default_size": {"type": "PERCENTAGE"}}, "default_size.value: missing; required"),
        ({"audience_generation_job_arn": "x"}, "audience_generation_job_arn: "),
        *(
            ({"metrics": METRICS, name: "{{ none }}"}, f"{name}: None, although the Dag sets it")
            for name in ("audience_generation_job_arn", "users", "training_users", "min_recall", "default_size")
        ),
        ({"metrics": {"recall": 1}}, "metrics: relevanceMetrics is missing"),
        ({"metrics": "good"}, "metrics: relevanceMetrics is missing"),
        (
            {"metrics": {"relevanceMetrics": [{"audienceSize": {"type": "ABSOLUTE", "value": math.inf}}]}},
            "metrics: relevanceMetrics is missing",
        ),
        ({"metrics": {**METRICS, "recallMetric": 10**400}}, "metrics: relevanceMetrics is missing"),
        ({"policy": "users", "users": 1, "metrics": METRICS}, "training_users: missing"),
    ],
)
def test_invalid_arguments_are_rejected_before_calls(world: World, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        choose(**arguments)
    assert world.calls == []


def test_array_of_metrics_is_rejected() -> None:
    numpy = pytest.importorskip("numpy")
    with pytest.raises(InvalidRequestError, match="metrics: relevanceMetrics is missing"):
        choose(metrics=numpy.array([1, 2]))
