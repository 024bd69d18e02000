"""A connection that is not there leads to no other account."""

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


def tasks(world: World) -> list[Any]:
    """A task of each kind that asks for a hook of its own."""
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{world.account}:audience-model/m"
    dataset = arn.replace("audience-model", "training-dataset")
    to: Any = {"task_id": "t", "aws_conn_id": "partner"}
    return [
        CleanRoomsMLCreateAudienceModelOperator(**to, name="m", training_dataset_arn=dataset),
        CleanRoomsMLCallOperator(**to, operation="list_audience_models"),
        CleanRoomsFindMembershipOperator(**to, collaboration_identifier=COLLABORATION),
        CleanRoomsMLAudienceModelSensor(**to, audience_model_arn=arn),
        CleanRoomsMLAudienceModelSensor(**to, audience_model_arn=arn, deferrable=True),
    ]


def test_a_connection_that_is_named_and_is_not_there_is_an_error(empty_world: World) -> None:
    for task in tasks(empty_world):
        with pytest.raises(CleanRoomsMLError, match=MISSING):
            run(task)
    assert empty_world.calls == []


def test_nor_does_a_trigger_go_on_without_it(empty_world: World) -> None:
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{empty_world.account}:audience-model/m"
    assert MISSING in run_wait(build_wait(arn), aws_conn_id="partner")["error"]
    assert empty_world.calls == []


@pytest.mark.parametrize("named", ["aws_default", None])
def test_who_names_none_gets_what_boto3_finds(world: World, monkeypatch: pytest.MonkeyPatch, named: str | None) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_AWS_DEFAULT")
    world.create_dataset("d")
    call = CleanRoomsMLCallOperator(
        task_id="t", operation="list_training_datasets", jmespath="trainingDatasets[].name", aws_conn_id=named
    )
    assert run(call).result == ["d"]


def test_a_connection_without_a_login_is_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PARTNER", json.dumps({"conn_type": "aws"}))
    assert run(CleanRoomsMLCallOperator(task_id="t", operation="list_audience_models", aws_conn_id="partner")).result
