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


def choose(**given: Any) -> Any:
    return run(CleanRoomsMLChooseAudienceSizeOperator(task_id="t", **given)).result


def percent(value: int) -> dict[str, Any]:
    return {"type": "PERCENTAGE", "value": value}


def test_what_it_returns_goes_into_an_export_as_it_is(world: World) -> None:
    job = world.generate_audience()
    size = choose(audience_generation_job_arn=job, min_relevance=-1)
    assert size == percent(20)
    export = CleanRoomsMLStartAudienceExportJobOperator(
        task_id="export", name="export", audience_generation_job_arn=job, audience_size=size
    )
    assert run(export).result["name"] == "export"


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({}, 1),
        ({"min_relevance": "-0.2"}, 5),
        ({"policy": "knee"}, 5),
        ({"policy": "users", "users": 180_000, "training_users": "1000000"}, 20),
    ],
)
@pytest.mark.parametrize("metrics", [METRICS, str(METRICS)], ids=["a mapping", "its text"])
def test_metrics_suffice_and_nothing_is_read(world: World, metrics: Any, given: dict[str, Any], value: int) -> None:
    assert choose(metrics=metrics, **given) == percent(value)
    assert world.calls == []


def test_one_line_tells_a_person(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.INFO):
        choose(metrics=METRICS)
    told = "recall 0.87 (random 0.20); relevance 0.57 at 1 %, -0.15 at 5 %, -0.36 at 20 %."
    assert told in caplog.text + capsys.readouterr().out


class TestUnsuitable:
    """A recall that is random, metrics that are not shared, and a curve that is too low."""

    SITUATIONS = pytest.mark.parametrize(
        ("given", "why"),
        [
            ({"metrics": RANDOM}, "recall 0.20 is no better than a random selection"),
            ({"metrics": METRICS, "min_recall": 0.9}, "recall 0.87 is no better than min_recall"),
            ({"metrics": None}, "the metrics are not shared"),
            ({"metrics": METRICS, "min_relevance": 0.6}, "no size has a relevance of 0.6 or more"),
        ],
    )

    @SITUATIONS
    def test_it_fails_without_a_retry(self, given: dict[str, Any], why: str) -> None:
        with pytest.raises(ResultError, match=why):
            choose(**given)

    @SITUATIONS
    def test_it_skips(self, given: dict[str, Any], why: str) -> None:
        with pytest.raises(AirflowSkipException, match=why):
            choose(if_unsuitable="skip", **given)

    @pytest.mark.parametrize("given", [{"metrics": None}, {"metrics": METRICS, "min_relevance": 0.6}])
    def test_it_passes_a_default_where_nothing_can_be_chosen(self, given: dict[str, Any]) -> None:
        assert choose(if_unsuitable="pass", default_size=DEFAULT, **given) == DEFAULT
        with pytest.raises(ResultError):
            choose(if_unsuitable="pass", **given)

    def test_it_passes_on_with_a_recall_that_is_random(self) -> None:
        assert choose(if_unsuitable="pass", default_size=DEFAULT, metrics=RANDOM) == percent(1)


def test_a_recall_that_is_missing_or_cannot_be_compared_is_no_reason() -> None:
    assert choose(metrics={"relevanceMetrics": METRICS["relevanceMetrics"]}) == percent(1)
    absolute = [{"audienceSize": {"type": "ABSOLUTE", "value": 10_000}, "score": 0.5}]
    size = {"type": "ABSOLUTE", "value": 10_000}
    assert choose(metrics={"relevanceMetrics": absolute, "recallMetric": 0.01}) == size
    with pytest.raises(ResultError, match="no better than a random selection"):
        choose(metrics={"relevanceMetrics": absolute, "recallMetric": 0.01}, training_users=100_000)


def test_metrics_that_a_partner_does_not_share_are_not_there(world: World, emulator: EmulatorProcess) -> None:
    owner = World(emulator).build()
    terms = owner.create_configured_model(metrics=["NONE"])
    owner.allow_jobs(terms, world.account)
    made = world.ml.start_audience_generation_job(
        name="segment", configuredAudienceModelArn=terms, seedAudience=world.write_seed()
    )
    job = made["audienceGenerationJobArn"]
    assert world.wait(job)["status"] == "ACTIVE"
    with pytest.raises(AirflowSkipException, match="the metrics are not shared"):
        choose(audience_generation_job_arn=job, if_unsuitable="skip")


def test_a_job_that_is_under_way_is_retried_and_one_that_failed_is_not(world: World) -> None:
    terms = world.create_configured_model()

    def start(name: str) -> str:
        made = world.ml.start_audience_generation_job(
            name=name, configuredAudienceModelArn=terms, seedAudience=world.write_seed()
        )
        return str(made["audienceGenerationJobArn"])

    before = world.emulator.change_settings(progress_seconds=1000)
    try:
        under_way = start("under-way")
    finally:
        world.emulator.change_settings(progress_seconds=before["progress_seconds"])
    with pytest.raises(CleanRoomsMLError, match="has no metrics yet") as caught:
        choose(audience_generation_job_arn=under_way)
    assert not isinstance(caught.value, AirflowFailException)
    world.add_fault("StartAudienceGenerationJob", "fail_job")
    failed = start("failed")
    world.wait(failed)
    with pytest.raises(JobFailedError, match="CREATE_FAILED"):
        choose(audience_generation_job_arn=failed)


@pytest.mark.parametrize(
    ("given", "message"),
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
def test_arguments_are_refused_before_anything_is_sent(world: World, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        choose(**given)
    assert world.calls == []


def test_metrics_that_are_an_array_are_refused() -> None:
    numpy = pytest.importorskip("numpy")
    with pytest.raises(InvalidRequestError, match="metrics: relevanceMetrics is missing"):
        choose(metrics=numpy.array([1, 2]))
