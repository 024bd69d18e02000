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


def create(studio: Studio, **more: Any) -> CleanRoomsMLCreateMLInputChannelOperator:
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
def test_it_is_waited_for_and_the_query_told(studio: Studio, deferrable: bool) -> None:
    done = run(create(studio, deferrable=deferrable))
    found = studio.ml.get_ml_input_channel(**studio.of, mlInputChannelArn=done.result)
    assert found["status"] == "ACTIVE"
    assert done.pushed["protected_query_identifier"] == found["protectedQueryIdentifier"]


@deferred_or_not
def test_its_data_are_deleted_and_the_description_stays(studio: Studio, deferrable: bool) -> None:
    delete = CleanRoomsMLDeleteMLInputChannelDataOperator(
        task_id="t", **studio.soon, ml_input_channel_arn=studio.channel, deferrable=deferrable
    )
    for _ in range(2):
        assert run(delete).result is None
        found = studio.ml.get_ml_input_channel(**studio.of, mlInputChannelArn=studio.channel)
        assert found["status"] == "INACTIVE"


@deferred_or_not
def test_what_the_query_says_is_part_of_the_failure(studio: Studio, deferrable: bool) -> None:
    studio.world.add_fault("CreateMLInputChannel", "fail_job", code="QUERY_FAILED", message="the query failed")
    with pytest.raises(JobFailedError, match="QUERY_FAILED: the query failed") as caught:
        run(create(studio, deferrable=deferrable))
    assert "protected query" in str(caught.value)
    assert studio.world.calls.count("GetProtectedQuery") == 1


def test_a_query_that_cannot_be_read_does_not_hide_the_failure(studio: Studio) -> None:
    studio.world.add_fault("CreateMLInputChannel", "fail_job", code="QUERY_FAILED", message="the query failed")
    studio.world.add_fault("GetProtectedQuery", "access_denied")
    with pytest.raises(JobFailedError, match="QUERY_FAILED: the query failed"):
        run(create(studio))
