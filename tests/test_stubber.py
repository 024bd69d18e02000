"""Hook and operators with botocore's Stubber, which checks requests against the service model without the emulator."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from airflow_cleanroomsml.exceptions import AlreadyExistsError, JobFailedError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLCreateConfiguredAudienceModelOperator,
    CleanRoomsMLDeleteAudienceModelOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
)
from airflow_cleanroomsml.request_types import AudienceSize, ConfiguredAudienceModelOutputConfig
from tests.support import TaskInstance

PREFIX = "arn:aws:cleanrooms-ml:us-east-1:123456789012"
MODEL, DATASET, CONFIGURED, JOB = (
    f"{PREFIX}:{kind}/x"
    for kind in ("audience-model", "training-dataset", "configured-audience-model", "audience-generation-job")
)
BEGIN = datetime(2026, 11, 1, 6, tzinfo=timezone.utc)
ROLE = "arn:aws:iam::123456789012:role/r"
#: Without retries the hook has one client for everything, so that one Stubber sees all requests.
ONCE = {"retries": {"total_max_attempts": 1}}

RunWithResponses = Callable[..., tuple[Any, dict[str, Any]]]


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(time, "sleep", lambda _: None)


@pytest.fixture
def run_with_responses() -> RunWithResponses:
    """Run a task with a Stubber's responses, all of which it must request."""

    def execute(task: Any, *responses: tuple[str, Any, Any]) -> tuple[Any, dict[str, Any]]:
        ti = TaskInstance()
        with Stubber(task.hook.conn) as stub:
            for operation, response, expected in responses:
                if isinstance(response, str):
                    stub.add_client_error(operation, response, "no", http_status_code=409, expected_params=expected)
                else:
                    stub.add_response(operation, response, expected)
            result = task.execute({"ti": ti})
            stub.assert_no_pending_responses()
        return result, ti.pushed

    return execute


def build_model(status: str, **more: Any) -> dict[str, Any]:
    defaults = {
        "createTime": BEGIN,
        "updateTime": BEGIN,
        "name": "m",
        "trainingDatasetArn": DATASET,
        "audienceModelArn": MODEL,
    }
    return {**defaults, "status": status, **more}


def build_task(**more: Any) -> CleanRoomsMLCreateAudienceModelOperator:
    return CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="m", training_dataset_arn=DATASET, botocore_config=ONCE, durable=False, **more
    )


def test_create_and_wait(run_with_responses: RunWithResponses) -> None:
    result, _ = run_with_responses(
        build_task(training_data_start_time="2026-01-01"),
        (
            "create_audience_model",
            {"audienceModelArn": MODEL},
            {"name": "m", "trainingDatasetArn": DATASET, "trainingDataStartTime": ANY},
        ),
        ("get_audience_model", build_model("CREATE_PENDING"), {"audienceModelArn": MODEL}),
        ("get_audience_model", build_model("CREATE_IN_PROGRESS"), {"audienceModelArn": MODEL}),
        ("get_audience_model", build_model("ACTIVE"), {"audienceModelArn": MODEL}),
    )
    assert result == MODEL


def test_create_and_fail(run_with_responses: RunWithResponses) -> None:
    details = {"statusCode": "C", "message": "too few users"}
    with pytest.raises(JobFailedError, match="(?s)is CREATE_FAILED.*C: too few users"):
        run_with_responses(
            build_task(),
            ("create_audience_model", {"audienceModelArn": MODEL}, None),
            ("get_audience_model", build_model("CREATE_FAILED", statusDetails=details), None),
        )


def test_conflict_describes_existing_resource(run_with_responses: RunWithResponses) -> None:
    listing = {"audienceModels": [build_model("ACTIVE"), build_model("ACTIVE", name="other")]}
    with pytest.raises(
        AlreadyExistsError,
        match=f"The existing resource: audience model {MODEL}, ACTIVE, created 2026-11-01 06:00:00 UTC",
    ):
        run_with_responses(
            build_task(),
            ("create_audience_model", "ConflictException", None),
            ("list_audience_models", listing, {}),
        )


def test_reuse_searches_all_pages(run_with_responses: RunWithResponses) -> None:
    result, _ = run_with_responses(
        build_task(if_exists="reuse"),
        ("list_audience_models", {"audienceModels": [build_model("ACTIVE", name="other")], "nextToken": "2"}, {}),
        ("list_audience_models", {"audienceModels": [build_model("ACTIVE")]}, {"nextToken": "2"}),
        ("get_audience_model", build_model("ACTIVE"), None),
        ("get_audience_model", build_model("ACTIVE"), None),
    )
    assert result == MODEL


def test_create_configured(run_with_responses: RunWithResponses) -> None:
    output: ConfiguredAudienceModelOutputConfig = {
        "destination": {"s3Destination": {"s3Uri": "s3://b/p"}},
        "roleArn": ROLE,
    }
    task = CleanRoomsMLCreateConfiguredAudienceModelOperator(
        task_id="t",
        name="c",
        audience_model_arn=MODEL,
        output_config=output,
        shared_audience_metrics=["ALL"],
        min_matching_seed_size="500",
        botocore_config=ONCE,
        durable=False,
    )
    expected = {
        "name": "c",
        "audienceModelArn": MODEL,
        "outputConfig": output,
        "sharedAudienceMetrics": ["ALL"],
        "minMatchingSeedSize": 500,
    }
    response = {"configuredAudienceModelArn": CONFIGURED}
    outcome = run_with_responses(task, ("create_configured_audience_model", response, expected))
    assert outcome == (CONFIGURED, {"configured_audience_model_arn": CONFIGURED})


def test_export(run_with_responses: RunWithResponses) -> None:
    size: AudienceSize = {"type": "PERCENTAGE", "value": 10}
    now = datetime.now(tz=timezone.utc)
    entry = {
        "createTime": now,
        "updateTime": now,
        "name": "e",
        "audienceGenerationJobArn": JOB,
        "audienceSize": size,
    }
    older = {**entry, "status": "CREATE_FAILED"}
    newer = {**entry, "createTime": now + timedelta(seconds=9), "status": "ACTIVE", "outputLocation": "s3://b/p/9"}
    other = {**newer, "createTime": now + timedelta(seconds=10), "audienceSize": {"type": "PERCENTAGE", "value": 20}}
    task = CleanRoomsMLStartAudienceExportJobOperator(
        task_id="t", name="e", audience_generation_job_arn=JOB, audience_size=size, botocore_config=ONCE, durable=False
    )
    start = {"name": "e", "audienceGenerationJobArn": JOB, "audienceSize": size}
    result, pushed = run_with_responses(
        task,
        ("start_audience_export_job", {}, start),
        # A stale listing shows only an export that was started long before.
        ("list_audience_export_jobs", {"audienceExportJobs": [{**newer, "createTime": BEGIN}]}, None),
        ("list_audience_export_jobs", {"audienceExportJobs": [older, newer, other]}, {"audienceGenerationJobArn": JOB}),
    )
    location = {"output_location": "s3://b/p/9"}
    identifiers = {"name": "e", "audience_generation_job_arn": JOB}
    assert [entry["status"] for entry in pushed.pop("status_history")] == ["ACTIVE"]
    assert (result, pushed) == (
        {**identifiers, **location},
        {"audience_export_job": {**identifiers, "audience_size": size}, **location},
    )


def test_delete_waits_until_gone(run_with_responses: RunWithResponses) -> None:
    task = CleanRoomsMLDeleteAudienceModelOperator(task_id="t", audience_model_arn=MODEL, botocore_config=ONCE)
    result, pushed = run_with_responses(
        task,
        ("delete_audience_model", {}, {"audienceModelArn": MODEL}),
        ("get_audience_model", build_model("DELETE_IN_PROGRESS"), None),
        ("get_audience_model", "ResourceNotFoundException", None),
    )
    assert (result, set(pushed)) == (None, {"status_history"})
