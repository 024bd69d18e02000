"""Hook and operators against botocore's own Stubber: they are written to the service model, not to the emulator."""

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
#: One client for everything, so that one Stubber sees everything.
ONCE = {"retries": {"total_max_attempts": 1}}

Stubbed = Callable[..., tuple[Any, dict[str, Any]]]


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(time, "sleep", lambda _: None)


@pytest.fixture
def stubbed() -> Stubbed:
    """Execute a task while a Stubber answers for the service; every answer must be asked for."""

    def execute(task: Any, *answers: tuple[str, Any, Any]) -> tuple[Any, dict[str, Any]]:
        ti = TaskInstance()
        with Stubber(task.hook.conn) as stub:
            for operation, answer, expected in answers:
                if isinstance(answer, str):
                    stub.add_client_error(operation, answer, "said", http_status_code=409, expected_params=expected)
                else:
                    stub.add_response(operation, answer, expected)
            result = task.execute({"ti": ti})
            stub.assert_no_pending_responses()
        return result, ti.pushed

    return execute


def model(status: str, **more: Any) -> dict[str, Any]:
    known = {
        "createTime": BEGIN,
        "updateTime": BEGIN,
        "name": "m",
        "trainingDatasetArn": DATASET,
        "audienceModelArn": MODEL,
    }
    return {**known, "status": status, **more}


def create_model(**more: Any) -> CleanRoomsMLCreateAudienceModelOperator:
    return CleanRoomsMLCreateAudienceModelOperator(
        task_id="t", name="m", training_dataset_arn=DATASET, botocore_config=ONCE, durable=False, **more
    )


def test_create_and_wait(stubbed: Stubbed) -> None:
    result, _ = stubbed(
        create_model(training_data_start_time="2026-01-01"),
        (
            "create_audience_model",
            {"audienceModelArn": MODEL},
            {"name": "m", "trainingDatasetArn": DATASET, "trainingDataStartTime": ANY},
        ),
        ("get_audience_model", model("CREATE_PENDING"), {"audienceModelArn": MODEL}),
        ("get_audience_model", model("CREATE_IN_PROGRESS"), {"audienceModelArn": MODEL}),
        ("get_audience_model", model("ACTIVE"), {"audienceModelArn": MODEL}),
    )
    assert result == MODEL


def test_create_and_fail(stubbed: Stubbed) -> None:
    details = {"statusCode": "C", "message": "too few users"}
    with pytest.raises(JobFailedError, match="(?s)is CREATE_FAILED.*C: too few users"):
        stubbed(
            create_model(),
            ("create_audience_model", {"audienceModelArn": MODEL}, None),
            ("get_audience_model", model("CREATE_FAILED", statusDetails=details), None),
        )


def test_a_conflict_is_answered_with_what_is_there(stubbed: Stubbed) -> None:
    listing = {"audienceModels": [model("ACTIVE"), model("ACTIVE", name="other")]}
    with pytest.raises(
        AlreadyExistsError,
        match=f"The existing resource: audience model {MODEL}, ACTIVE, created 2026-11-01 06:00:00 UTC",
    ):
        stubbed(
            create_model(),
            ("create_audience_model", "ConflictException", None),
            ("list_audience_models", listing, {}),
        )


def test_reuse_looks_through_all_pages(stubbed: Stubbed) -> None:
    result, _ = stubbed(
        create_model(if_exists="reuse"),
        ("list_audience_models", {"audienceModels": [model("ACTIVE", name="other")], "nextToken": "2"}, {}),
        ("list_audience_models", {"audienceModels": [model("ACTIVE")]}, {"nextToken": "2"}),
        ("get_audience_model", model("ACTIVE"), None),
        ("get_audience_model", model("ACTIVE"), None),
    )
    assert result == MODEL


def test_create_configured(stubbed: Stubbed) -> None:
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
    answer = {"configuredAudienceModelArn": CONFIGURED}
    made = stubbed(task, ("create_configured_audience_model", answer, expected))
    assert made == (CONFIGURED, {"configured_audience_model_arn": CONFIGURED})


def test_export(stubbed: Stubbed) -> None:
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
    found = stubbed(
        task,
        ("start_audience_export_job", {}, start),
        # A listing that lags shows only what was made long before.
        ("list_audience_export_jobs", {"audienceExportJobs": [{**newer, "createTime": BEGIN}]}, None),
        ("list_audience_export_jobs", {"audienceExportJobs": [older, newer, other]}, {"audienceGenerationJobArn": JOB}),
    )
    location = {"output_location": "s3://b/p/9"}
    named = {"name": "e", "audience_generation_job_arn": JOB}
    result, pushed = found
    assert [entry["status"] for entry in pushed.pop("status_history")] == ["ACTIVE"]
    assert (result, pushed) == (
        {**named, **location},
        {"audience_export_job": {**named, "audience_size": size}, **location},
    )


def test_delete_ends_when_it_is_gone(stubbed: Stubbed) -> None:
    task = CleanRoomsMLDeleteAudienceModelOperator(task_id="t", audience_model_arn=MODEL, botocore_config=ONCE)
    found = stubbed(
        task,
        ("delete_audience_model", {}, {"audienceModelArn": MODEL}),
        ("get_audience_model", model("DELETE_IN_PROGRESS"), None),
        ("get_audience_model", "ResourceNotFoundException", None),
    )
    assert (found[0], set(found[1])) == (None, {"status_history"})
