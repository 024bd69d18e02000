from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger
from airflow_cleanroomsml.waiting import Wait
from tests.support import World

# As the first release wrote it: later ones must still read it.
RECORDED: tuple[str, dict[str, Any]] = (
    "airflow_cleanroomsml.triggers.CleanRoomsMLWaitTrigger",
    {
        "wait": {
            "noun": "audience model",
            "goal": "created",
            "identifiers": {"audience_model_arn": "arn:aws:cleanrooms-ml:us-east-1:123456789012:audience-model/m"},
            "started": 1000.0,
            "deadline": 2000.0,
            "delay": 60.0,
        },
        "aws_conn_id": "aws_default",
        "region_name": None,
        "verify": None,
        "botocore_config": None,
    },
)


def event_of(wait: Wait, **keywords: Any) -> Any:
    async def first() -> Any:
        return (await anext(CleanRoomsMLWaitTrigger(wait=wait.plain(), **keywords).run())).payload

    return json.loads(json.dumps(asyncio.run(first())))


def wait_for(arn: str, goal: str = "created", timeout: float = 60.0) -> Wait:
    now = time.time()
    return Wait("audience model", goal, {"audience_model_arn": arn}, now, now + timeout, 1.0)


def test_what_was_serialised_once_is_read_and_written_again() -> None:
    assert CleanRoomsMLWaitTrigger(**RECORDED[1]).serialize() == RECORDED
    assert Wait(**RECORDED[1]["wait"]).resource.get == "get_audience_model"


def test_it_waits_for_success(world: World) -> None:
    made = world.ml.create_audience_model(name="m", trainingDatasetArn=world.dataset())["audienceModelArn"]
    assert event_of(wait_for(made))["observation"]["status"] == "ACTIVE"


def test_it_gives_up_at_the_deadline(slow_world: World) -> None:
    world = slow_world
    made = world.ml.create_audience_model(name="m", trainingDatasetArn=world.dataset())["audienceModelArn"]
    seen = event_of(wait_for(made, timeout=0.0))["observation"]
    assert (seen["status"], seen["outcome"]) == ("CREATE_IN_PROGRESS", "again")


def test_what_it_cannot_look_at_is_told(empty_world: World) -> None:
    empty_world.fault("GetAudienceModel", "access_denied")
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{empty_world.account}:audience-model/m"
    assert event_of(wait_for(arn))["error"].startswith("AccessDeniedError: GetAudienceModel")


def test_credentials_that_cannot_be_fetched_now_are_no_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = world.model()
    assumed = {"conn_type": "aws", "login": world.account, "password": "s", "extra": {"role_arn": world.role}}
    monkeypatch.setenv("AIRFLOW_CONN_ASSUMED", json.dumps(assumed))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    seen = event_of(wait_for(arn, timeout=2.0), aws_conn_id="assumed")["observation"]
    assert seen["outcome"] == "again"
    assert "EndpointConnectionError" in seen["message"]


def test_region_and_connection_reach_the_client(world: World) -> None:
    arn = world.model().replace("us-east-1", "eu-west-1")
    seen = event_of(wait_for(arn, goal="deleted"), region_name="eu-west-1", botocore_config={"read_timeout": 5})
    assert seen["observation"]["outcome"] == "success"
