"""A ``nextToken`` is good for the listing that returned it, with the same arguments, account and region."""

from __future__ import annotations

import base64
import json
from typing import Any

import boto3
import pytest

from airflow_cleanroomsml.emulator import page_tokens
from airflow_cleanroomsml.emulator.errors import ApiError
from airflow_cleanroomsml.emulator.store import Caller
from tests.emulator.clocked_world import expect_refusal
from tests.helpers.collaboration import collaborate
from tests.support import World

INVALID = "nextToken is not valid"


def in_region(world: World, region: str) -> Any:
    return boto3.client(
        "cleanroomsml",
        endpoint_url=world.emulator.url,
        region_name=region,
        aws_access_key_id=world.account,
        aws_secret_access_key="secret",
    )


def is_refused(call: Any, **members: Any) -> None:
    answer = expect_refusal("ValidationException", call, **members)
    assert answer["Error"]["Message"].startswith(INVALID)


@pytest.fixture
def paged(empty_world: World) -> tuple[World, str]:
    """An account with three datasets, and the token after the first."""
    for name in ("a", "b", "c"):
        empty_world.create_dataset(name)
    return empty_world, str(empty_world.ml.list_training_datasets(maxResults=1)["nextToken"])


def test_a_token_continues_its_listing_with_any_page_size(paged: tuple[World, str]) -> None:
    world, token = paged
    for size in (1, 2, 100):
        found = world.ml.list_training_datasets(nextToken=token, maxResults=size)["trainingDatasets"]
        assert [entry["name"] for entry in found] == ["b", "c"][:size]
    assert [entry["name"] for entry in world.ml.list_training_datasets(nextToken=token)["trainingDatasets"]] == [
        "b",
        "c",
    ]


def test_a_token_of_another_listing_is_rejected(paged: tuple[World, str]) -> None:
    world, token = paged
    is_refused(world.ml.list_audience_models, nextToken=token)
    is_refused(world.client("cleanrooms").list_collaborations, nextToken=token)


def test_a_token_of_another_account_is_rejected(paged: tuple[World, str]) -> None:
    world, token = paged
    is_refused(World(world.emulator).ml.list_training_datasets, nextToken=token)


def test_a_token_of_another_region_is_rejected(paged: tuple[World, str]) -> None:
    world, token = paged
    is_refused(in_region(world, "eu-west-1").list_training_datasets, nextToken=token)


def test_a_token_for_other_arguments_is_rejected(empty_world: World) -> None:
    for _ in range(2):
        collaborate(empty_world)
    rooms = empty_world.client("cleanrooms")
    token = rooms.list_collaborations(memberStatus="ACTIVE", maxResults=1)["nextToken"]
    is_refused(rooms.list_collaborations, nextToken=token)
    is_refused(rooms.list_collaborations, nextToken=token, memberStatus="INVITED")
    assert len(rooms.list_collaborations(nextToken=token, memberStatus="ACTIVE")["collaborationList"]) == 1


def test_a_token_for_another_path_is_rejected(empty_world: World) -> None:
    other = World(empty_world.emulator)
    first, second = collaborate(empty_world, other), collaborate(empty_world, other)
    rooms = empty_world.client("cleanrooms")
    token = rooms.list_members(collaborationIdentifier=first.id, maxResults=1)["nextToken"]
    is_refused(rooms.list_members, collaborationIdentifier=second.id, nextToken=token)


CALLER, LISTING = Caller("123456789012", "us-east-1"), {"status": "ACTIVE"}


def test_a_modified_token_is_rejected() -> None:
    token = page_tokens.issue(7, "List", CALLER, LISTING)
    assert page_tokens.read_position(token, "List", CALLER, LISTING) == 7
    content = json.loads(base64.urlsafe_b64decode(token))
    for changed in (
        {**content, "after": -1},
        {**content, "after": True},
        {"after": 7},
        {**content, "listing": ""},
        [7],
    ):
        other = base64.urlsafe_b64encode(json.dumps(changed).encode()).decode()
        with pytest.raises(ApiError, match=INVALID):
            page_tokens.read_position(other, "List", CALLER, LISTING)


def test_the_order_of_arguments_does_not_matter() -> None:
    token = page_tokens.issue(7, "List", CALLER, {"a": 1, "b": 2})
    assert page_tokens.read_position(token, "List", CALLER, {"b": 2, "a": 1}) == 7
