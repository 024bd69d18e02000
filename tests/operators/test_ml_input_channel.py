from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml.exceptions import JobFailedError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateMLInputChannelOperator,
    CleanRoomsMLDeleteMLInputChannelDataOperator,
)
from tests.helpers.custom_models import Studio
from tests.support import run

deferred_or_not = pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])


def build_operator(studio: Studio, **more: Any) -> CleanRoomsMLCreateMLInputChannelOperator:
    arguments: dict[str, Any] = {
        "task_id": "t",
        **studio.soon,
        "name": "channel",
        "configured_model_algorithm_associations": [studio.association],
        "input_channel": studio.build_input_channel(),
        "retention_in_days": 1,
        **more,
    }
    return CleanRoomsMLCreateMLInputChannelOperator(**arguments)


@deferred_or_not
def test_create_waits_and_pushes_query(studio: Studio, deferrable: bool) -> None:
    task_run = run(build_operator(studio, deferrable=deferrable))
    channel = studio.ml.get_ml_input_channel(**studio.of, mlInputChannelArn=task_run.result)
    assert channel["status"] == "ACTIVE"
    assert task_run.pushed["protected_query_identifier"] == channel["protectedQueryIdentifier"]


@deferred_or_not
def test_delete_removes_data_and_keeps_channel(studio: Studio, deferrable: bool) -> None:
    delete = CleanRoomsMLDeleteMLInputChannelDataOperator(
        task_id="t", **studio.soon, ml_input_channel_arn=studio.channel, deferrable=deferrable
    )
    for _ in range(2):
        assert run(delete).result is None
        channel = studio.ml.get_ml_input_channel(**studio.of, mlInputChannelArn=studio.channel)
        assert channel["status"] == "INACTIVE"


@deferred_or_not
def test_failure_quotes_error_of_query(studio: Studio, deferrable: bool) -> None:
    studio.world.add_fault("CreateMLInputChannel", "fail_job", code="QUERY_FAILED", message="the query failed")
    with pytest.raises(JobFailedError, match="QUERY_FAILED: the query failed") as caught:
        run(build_operator(studio, deferrable=deferrable))
    assert "protected query" in str(caught.value)
    assert studio.world.calls.count("GetProtectedQuery") == 1


def test_unreadable_query_does_not_hide_failure(studio: Studio) -> None:
    studio.world.add_fault("CreateMLInputChannel", "fail_job", code="QUERY_FAILED", message="the query failed")
    studio.world.add_fault("GetProtectedQuery", "access_denied")
    with pytest.raises(JobFailedError, match="QUERY_FAILED: the query failed"):
        run(build_operator(studio))
