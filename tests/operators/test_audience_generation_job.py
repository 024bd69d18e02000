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
    given = {
        "name": "j",
        "configured_audience_model_arn": configured,
        "seed_audience": world.write_seed(),
        "waiter_delay": 1,
        **more,
    }
    return run(CleanRoomsMLStartAudienceGenerationJobOperator(task_id="t", **given))


@both_ways
def test_start_waits_returns_the_arn_and_pushes_the_metrics(world: World, deferrable: bool) -> None:
    done = start(world, world.create_configured_model(), deferrable=deferrable, include_seed_in_output="true")
    found = world.ml.get_audience_generation_job(audienceGenerationJobArn=done.result)
    assert found["status"] == "ACTIVE"
    assert found["includeSeedInOutput"] is True
    assert done.pushed.pop("status_history")[-1]["status"] == "ACTIVE"
    assert done.pushed == {"audience_generation_job_arn": done.result, "metrics": found["metrics"]}
    sizes = [entry["audienceSize"]["value"] for entry in done.pushed["metrics"]["relevanceMetrics"]]
    assert sizes == [5, 10, 20]


def test_without_waiting_nothing_but_the_arn_is_known(world: World) -> None:
    done = start(world, world.create_configured_model(), wait_for_completion=False)
    assert ":audience-generation-job/" in done.result
    assert done.pushed == {"audience_generation_job_arn": done.result}


@both_ways
def test_a_missing_seed_fails_the_task_with_the_services_reason(world: World, deferrable: bool) -> None:
    seed = {"dataSource": {"s3Uri": "s3://no-such-bucket-at-all/seed.jsonl"}, "roleArn": world.role}
    with pytest.raises(JobFailedError, match="no-such-bucket-at-all"):
        start(world, world.create_configured_model(), seed_audience=seed, deferrable=deferrable)


def test_tags_of_the_configured_model_are_inherited_where_it_says_so(world: World) -> None:
    configured = world.create_configured_model(
        childResourceTagOnCreatePolicy="FROM_PARENT_RESOURCE", tags={"a": "1", "b": "1"}
    )
    done = start(world, configured, tags={"b": "2"})
    assert remove_claim(world.ml.list_tags_for_resource(resourceArn=done.result)["tags"]) == {"a": "1", "b": "2"}


@both_ways
def test_delete_waits_until_it_is_gone(world: World, deferrable: bool) -> None:
    arn = world.generate_audience()
    for _ in range(2):
        run(
            CleanRoomsMLDeleteAudienceGenerationJobOperator(
                task_id="t", audience_generation_job_arn=arn, deferrable=deferrable
            )
        )
    assert world.ml.list_audience_generation_jobs()["audienceGenerationJobs"] == []
