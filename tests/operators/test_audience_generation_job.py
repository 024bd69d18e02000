from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml.exceptions import JobFailedError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLDeleteAudienceGenerationJobOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)
from tests.support import Run, World, remove_claim, run

both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])


def start(world: World, configured: str, **more: Any) -> Run:
    arguments = {
        "name": "j",
        "configured_audience_model_arn": configured,
        "seed_audience": world.write_seed(),
        "waiter_delay": 1,
        **more,
    }
    return run(CleanRoomsMLStartAudienceGenerationJobOperator(task_id="t", **arguments))


@both_ways
def test_start_waits_returns_arn_and_pushes_metrics(world: World, deferrable: bool) -> None:
    task_run = start(world, world.create_configured_model(), deferrable=deferrable, include_seed_in_output="true")
    job = world.ml.get_audience_generation_job(audienceGenerationJobArn=task_run.result)
    assert job["status"] == "ACTIVE"
    assert job["includeSeedInOutput"] is True
    assert task_run.pushed.pop("status_history")[-1]["status"] == "ACTIVE"
    assert task_run.pushed == {"audience_generation_job_arn": task_run.result, "metrics": job["metrics"]}
    sizes = [entry["audienceSize"]["value"] for entry in task_run.pushed["metrics"]["relevanceMetrics"]]
    assert sizes == [5, 10, 20]


def test_start_without_waiting_pushes_only_arn(world: World) -> None:
    task_run = start(world, world.create_configured_model(), wait_for_completion=False)
    assert ":audience-generation-job/" in task_run.result
    assert task_run.pushed == {"audience_generation_job_arn": task_run.result}


@both_ways
def test_missing_seed_fails_with_reason_from_service(world: World, deferrable: bool) -> None:
    seed = {"dataSource": {"s3Uri": "s3://no-such-bucket-at-all/seed.jsonl"}, "roleArn": world.role}
    with pytest.raises(JobFailedError, match="no-such-bucket-at-all"):
        start(world, world.create_configured_model(), seed_audience=seed, deferrable=deferrable)


def test_job_inherits_tags_if_configured_model_says_so(world: World) -> None:
    configured = world.create_configured_model(
        childResourceTagOnCreatePolicy="FROM_PARENT_RESOURCE", tags={"a": "1", "b": "1"}
    )
    task_run = start(world, configured, tags={"b": "2"})
    assert remove_claim(world.ml.list_tags_for_resource(resourceArn=task_run.result)["tags"]) == {"a": "1", "b": "2"}


@both_ways
def test_delete_waits_for_deletion(world: World, deferrable: bool) -> None:
    arn = world.generate_audience()
    for _ in range(2):
        run(
            CleanRoomsMLDeleteAudienceGenerationJobOperator(
                task_id="t", audience_generation_job_arn=arn, deferrable=deferrable
            )
        )
    assert world.ml.list_audience_generation_jobs()["audienceGenerationJobs"] == []
