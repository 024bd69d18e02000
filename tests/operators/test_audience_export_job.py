from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_cleanroomsml.exceptions import AlreadyExistsError, JobFailedError, ValidationError
from airflow_cleanroomsml.operators import CleanRoomsMLStartAudienceExportJobOperator
from tests.support import Run, World, run

both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
TEN = {"type": "PERCENTAGE", "value": 10}


def start(job: str, **more: Any) -> Run:
    given = {"name": "e", "audience_generation_job_arn": job, "audience_size": TEN, "waiter_delay": 1, **more}
    return run(CleanRoomsMLStartAudienceExportJobOperator(task_id="t", **given))


def users(world: World, location: str) -> list[str]:
    bucket, prefix = location.removeprefix("s3://").split("/", 1)
    s3 = world.client("s3")
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
    lines = b"".join(s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in sorted(keys)).splitlines()
    return [json.loads(line)["user_id"] for line in lines]


@both_ways
def test_start_waits_and_tells_where_the_audience_lies(world: World, deferrable: bool) -> None:
    job = world.generate_audience()
    done = start(job, deferrable=deferrable)
    location = done.result["output_location"]
    assert done.result == {"name": "e", "audience_generation_job_arn": job, "output_location": location}
    assert location.startswith(f"s3://{world.bucket}/audiences/")
    found = users(world, location)
    assert len(found) == len(set(found)) == 20
    # The seed likes what users of even number like.
    assert sum(int(user[1:]) % 2 == 0 for user in found) >= 16
    seed = {f"u{index}" for index in range(0, 120, 4)}
    assert not seed & set(found)


def test_without_waiting_the_location_is_not_known(world: World) -> None:
    assert start(world.generate_audience(), wait_for_completion=False).result["output_location"] is None


def test_it_is_found_by_name_and_size_among_others(world: World) -> None:
    job = world.generate_audience()
    first = start(job)
    other = start(job, name="other", audience_size={"type": "PERCENTAGE", "value": "20"})
    again = start(job, if_exists="reuse")
    assert again.result == first.result
    assert other.result["output_location"] != first.result["output_location"]
    assert len(users(world, other.result["output_location"])) == 40


def test_a_name_in_use_tells_what_is_there(world: World) -> None:
    job = world.generate_audience()
    start(job)
    with pytest.raises(AlreadyExistsError, match="The existing resource: audience export job 'e'.*, ACTIVE, created "):
        start(job)


def test_a_size_that_the_configured_model_does_not_have_is_refused(world: World) -> None:
    with pytest.raises(ValidationError, match="PERCENTAGE 5, PERCENTAGE 10, PERCENTAGE 20"):
        start(world.generate_audience(), audience_size={"type": "PERCENTAGE", "value": 7})


def test_an_export_that_fails_carries_the_reason(world: World) -> None:
    job = world.generate_audience()
    s3 = world.client("s3")
    for entry in s3.list_objects_v2(Bucket=world.bucket)["Contents"]:
        s3.delete_object(Bucket=world.bucket, Key=entry["Key"])
    s3.delete_bucket(Bucket=world.bucket)
    with pytest.raises(JobFailedError, match=world.bucket):
        start(job)
