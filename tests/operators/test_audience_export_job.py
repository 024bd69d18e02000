from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_cleanroomsml._compat import TaskDeferred
from airflow_cleanroomsml._resources.data_flow import S3Location
from airflow_cleanroomsml.exceptions import AlreadyExistsError, JobFailedError, ValidationError
from airflow_cleanroomsml.operators import CleanRoomsMLStartAudienceExportJobOperator
from tests.support import Run, TaskInstance, World, resume, run

both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
TEN_PERCENT = {"type": "PERCENTAGE", "value": 10}


def build_start(job: str, **more: Any) -> CleanRoomsMLStartAudienceExportJobOperator:
    arguments = {
        "name": "e",
        "audience_generation_job_arn": job,
        "audience_size": TEN_PERCENT,
        "waiter_delay": 1,
        **more,
    }
    return CleanRoomsMLStartAudienceExportJobOperator(task_id="t", **arguments)


def start(job: str, **more: Any) -> Run:
    return run(build_start(job, **more))


def read_users(world: World, location: str) -> list[str]:
    bucket, prefix = location.removeprefix("s3://").split("/", 1)
    s3 = world.client("s3")
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
    lines = b"".join(s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in sorted(keys)).splitlines()
    return [json.loads(line)["user_id"] for line in lines]


@both_ways
def test_start_waits_and_returns_output_location(world: World, deferrable: bool) -> None:
    job = world.generate_audience()
    task_run = start(job, deferrable=deferrable)
    location = task_run.result["output_location"]
    assert task_run.result == {"name": "e", "audience_generation_job_arn": job, "output_location": location}
    assert location.startswith(f"s3://{world.bucket}/audiences/")
    users = read_users(world, location)
    assert len(users) == len(set(users)) == 20
    # Users with an even number prefer the same items as the seed.
    assert sum(int(user[1:]) % 2 == 0 for user in users) >= 16
    seed = {f"u{index}" for index in range(0, 120, 4)}
    assert not seed & set(users)


def test_copy_that_resumes_reports_its_own_result(world: World) -> None:
    # dag.test() of Airflow 2.11 executes a copy, and resumes a copy of this copy.
    task = build_start(world.generate_audience(), deferrable=True).prepare_for_execution()
    context: Any = {"ti": TaskInstance(), "params": {}}
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    copy = task.prepare_for_execution()
    location = resume(copy, deferred.value, context)["output_location"]
    assert copy.describe_data_flow().outputs == [S3Location(location)]


def test_start_without_waiting_returns_no_location(world: World) -> None:
    assert start(world.generate_audience(), wait_for_completion=False).result["output_location"] is None


def test_reuse_finds_export_by_name_and_size(world: World) -> None:
    job = world.generate_audience()
    first = start(job)
    other = start(job, name="other", audience_size={"type": "PERCENTAGE", "value": "20"})
    reused = start(job, if_exists="reuse")
    assert reused.result == first.result
    assert other.result["output_location"] != first.result["output_location"]
    assert len(read_users(world, other.result["output_location"])) == 40


def test_name_in_use_describes_export(world: World) -> None:
    job = world.generate_audience()
    start(job)
    with pytest.raises(AlreadyExistsError, match="The existing resource: audience export job 'e'.*, ACTIVE, created "):
        start(job)


def test_size_not_in_configured_model_is_rejected(world: World) -> None:
    with pytest.raises(ValidationError, match="PERCENTAGE 5, PERCENTAGE 10, PERCENTAGE 20"):
        start(world.generate_audience(), audience_size={"type": "PERCENTAGE", "value": 7})


def test_failed_export_reports_reason(world: World) -> None:
    job = world.generate_audience()
    s3 = world.client("s3")
    for entry in s3.list_objects_v2(Bucket=world.bucket)["Contents"]:
        s3.delete_object(Bucket=world.bucket, Key=entry["Key"])
    s3.delete_bucket(Bucket=world.bucket)
    with pytest.raises(JobFailedError, match=world.bucket):
        start(job)
