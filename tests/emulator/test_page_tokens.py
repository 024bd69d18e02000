"""A ``nextToken`` is valid only for the listing that returned it, with the same arguments, account and region."""

from __future__ import annotations

import base64
import json
from typing import Any

import boto3
import pytest

from airflow_cleanroomsml.emulator.errors import ApiError
from airflow_cleanroomsml.emulator.page_tokens import PageTokens
from airflow_cleanroomsml.emulator.settings import Settings
from airflow_cleanroomsml.emulator.store import Caller
from tests.emulator.clocked_world import expect_error
from tests.helpers.collaboration import collaborate
from tests.helpers.in_process import in_process
from tests.support import World

INVALID = "nextToken is not valid"


def make_client_in_region(world: World, region: str) -> Any:
    return boto3.client(
        "cleanroomsml",
        endpoint_url=world.emulator.url,
        region_name=region,
        aws_access_key_id=world.account,
        aws_secret_access_key="secret",
    )


def expect_invalid_token(call: Any, **members: Any) -> None:
    response = expect_error("ValidationException", call, **members)
    assert response["Error"]["Message"].startswith(INVALID)


@pytest.fixture
def world_and_token(empty_world: World) -> tuple[World, str]:
    """An account with three datasets, and the token that follows the first of them."""
    for name in ("a", "b", "c"):
        empty_world.create_dataset(name)
    return empty_world, str(empty_world.ml.list_training_datasets(maxResults=1)["nextToken"])


def test_token_works_with_any_page_size(world_and_token: tuple[World, str]) -> None:
    world, token = world_and_token
    for size in (1, 2, 100):
        datasets = world.ml.list_training_datasets(nextToken=token, maxResults=size)["trainingDatasets"]
        assert [entry["name"] for entry in datasets] == ["b", "c"][:size]
    assert [entry["name"] for entry in world.ml.list_training_datasets(nextToken=token)["trainingDatasets"]] == [
        "b",
        "c",
    ]


def test_token_of_another_listing_is_rejected(world_and_token: tuple[World, str]) -> None:
    world, token = world_and_token
    expect_invalid_token(world.ml.list_audience_models, nextToken=token)
    expect_invalid_token(world.client("cleanrooms").list_collaborations, nextToken=token)


def test_token_of_another_account_is_rejected(world_and_token: tuple[World, str]) -> None:
    world, token = world_and_token
    expect_invalid_token(World(world.emulator).ml.list_training_datasets, nextToken=token)


def test_token_of_another_region_is_rejected(world_and_token: tuple[World, str]) -> None:
    world, token = world_and_token
    expect_invalid_token(make_client_in_region(world, "eu-west-1").list_training_datasets, nextToken=token)


def test_token_for_other_arguments_is_rejected(empty_world: World) -> None:
    for _ in range(2):
        collaborate(empty_world)
    rooms = empty_world.client("cleanrooms")
    token = rooms.list_collaborations(memberStatus="ACTIVE", maxResults=1)["nextToken"]
    expect_invalid_token(rooms.list_collaborations, nextToken=token)
    expect_invalid_token(rooms.list_collaborations, nextToken=token, memberStatus="INVITED")
    assert len(rooms.list_collaborations(nextToken=token, memberStatus="ACTIVE")["collaborationList"]) == 1


def test_token_for_another_path_is_rejected(empty_world: World) -> None:
    other = World(empty_world.emulator)
    first, second = collaborate(empty_world, other), collaborate(empty_world, other)
    rooms = empty_world.client("cleanrooms")
    token = rooms.list_members(collaborationIdentifier=first.id, maxResults=1)["nextToken"]
    expect_invalid_token(rooms.list_members, collaborationIdentifier=second.id, nextToken=token)


CALLER, LISTING = Caller("123456789012", "us-east-1"), {"status": "ACTIVE"}
TOKENS = PageTokens()


def build_modified_token(**changes: Any) -> str:
    """Build a token whose content differs from a valid one's by the changes."""
    content = json.loads(base64.urlsafe_b64decode(TOKENS.issue(7, "List", CALLER, LISTING)))
    return base64.urlsafe_b64encode(json.dumps({**content, **changes}).encode()).decode()


@pytest.mark.parametrize("changes", [{"after": 8}, {"after": -1}, {"after": True}, {"listing": ""}, {"listing": None}])
def test_modified_token_is_rejected(changes: dict[str, Any]) -> None:
    token = build_modified_token()
    assert TOKENS.read_position(token, "List", CALLER, LISTING) == 7
    with pytest.raises(ApiError, match=INVALID):
        TOKENS.read_position(build_modified_token(**changes), "List", CALLER, LISTING)


@pytest.mark.parametrize("content", [b"[7]", b"7", b'{"after": 7}', b"null", b"\xff"])
def test_token_with_invalid_content_is_rejected(content: bytes) -> None:
    with pytest.raises(ApiError, match=INVALID):
        TOKENS.read_position(base64.urlsafe_b64encode(content).decode(), "List", CALLER, LISTING)


def test_token_with_any_single_edit_is_rejected() -> None:
    token = TOKENS.issue(7, "List", CALLER, LISTING)
    inserted = [f"{token[:place]}!{token[place:]}" for place in range(len(token) + 1)]
    replaced = [
        f"{token[:place]}{other}{token[place + 1 :]}"
        for place in range(len(token))
        for other in "Aaz09-_=+/"
        if other != token[place]
    ]
    for changed in (*inserted, *replaced, f"{token}=", token.rstrip("="), token[:-1]):
        if changed != token:
            with pytest.raises(ApiError, match=INVALID):
                TOKENS.read_position(changed, "List", CALLER, LISTING)


def test_token_of_another_emulator_is_rejected() -> None:
    with pytest.raises(ApiError, match=INVALID):
        PageTokens().read_position(TOKENS.issue(7, "List", CALLER, LISTING), "List", CALLER, LISTING)


def test_token_issued_before_reset_is_rejected() -> None:
    with in_process(Settings()) as emulator:
        world = World(emulator)
        token = issue_token(world)
        emulator.shared.clear()
        issue_token(world)
        expect_invalid_token(world.ml.list_training_datasets, nextToken=token)


def issue_token(world: World) -> str:
    """Create two datasets, and return the token that follows the first of them."""
    for name in ("a", "b"):
        world.create_dataset(name)
    return str(world.ml.list_training_datasets(maxResults=1)["nextToken"])


def test_argument_order_does_not_matter() -> None:
    token = TOKENS.issue(7, "List", CALLER, {"a": 1, "b": 2})
    assert TOKENS.read_position(token, "List", CALLER, {"b": 2, "a": 1}) == 7
