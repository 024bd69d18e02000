"""A connection that does not exist is an error, and no other account is used instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_cleanroomsml.exceptions import CleanRoomsMLError
from airflow_cleanroomsml.operators import (
    CleanRoomsFindMembershipOperator,
    CleanRoomsMLCallOperator,
    CleanRoomsMLCreateAudienceModelOperator,
)
from airflow_cleanroomsml.sensors import CleanRoomsMLAudienceModelSensor
from tests.support import World, run
from tests.test_triggers import build_wait, run_wait

COLLABORATION = "00000000-0000-4000-8000-000000000000"
MISSING = "aws_conn_id: the connection 'partner' does not exist"


def build_tasks(world: World) -> list[Any]:
    """Build one task of each kind that creates its own hook."""
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{world.account}:audience-model/m"
    dataset = arn.replace("audience-model", "training-dataset")
    common: Any = {"task_id": "t", "aws_conn_id": "partner"}
    return [
        CleanRoomsMLCreateAudienceModelOperator(**common, name="m", training_dataset_arn=dataset),
        CleanRoomsMLCallOperator(**common, operation="list_audience_models"),
        CleanRoomsFindMembershipOperator(**common, collaboration_identifier=COLLABORATION),
        CleanRoomsMLAudienceModelSensor(**common, audience_model_arn=arn),
        CleanRoomsMLAudienceModelSensor(**common, audience_model_arn=arn, deferrable=True),
    ]


def test_missing_connection_fails_the_task(empty_world: World) -> None:
    for task in build_tasks(empty_world):
        with pytest.raises(CleanRoomsMLError, match=MISSING):
            run(task)
    assert empty_world.calls == []


def test_missing_connection_fails_the_trigger(empty_world: World) -> None:
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{empty_world.account}:audience-model/m"
    assert MISSING in run_wait(build_wait(arn), aws_conn_id="partner")["error"]
    assert empty_world.calls == []


@pytest.mark.parametrize("aws_conn_id", ["aws_default", None])
def test_boto3_finds_credentials_without_a_connection(
    world: World, monkeypatch: pytest.MonkeyPatch, aws_conn_id: str | None
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_AWS_DEFAULT")
    world.create_dataset("d")
    call = CleanRoomsMLCallOperator(
        task_id="t", operation="list_training_datasets", jmespath="trainingDatasets[].name", aws_conn_id=aws_conn_id
    )
    assert run(call).result == ["d"]


def test_connection_may_lack_a_login(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PARTNER", json.dumps({"conn_type": "aws"}))
    assert run(CleanRoomsMLCallOperator(task_id="t", operation="list_audience_models", aws_conn_id="partner")).result
