"""Records keep members of responses in their fields, and nothing that only the emulator needs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_cleanroomsml._requests.model import load
from airflow_cleanroomsml.emulator.store import Record
from tests.emulator.test_listing import Stock, stock_account

SERVICES = ("cleanroomsml", "cleanrooms")


@pytest.fixture(scope="module")
def stock() -> Iterator[Stock]:
    with stock_account(0) as stock:
        destination = {"s3Destination": {"s3Uri": f"s3://{stock.world.bucket}/output"}}
        stock.world.ml.put_ml_configuration(
            **stock.custom.in_membership,
            defaultOutputLocation={"roleArn": stock.world.role, "destination": destination},
        )
        yield stock


def _list_response_members(kind: str) -> set[str]:
    """List the members of all responses about a kind: at the top level, in a nested resource, and in the entries of a listing."""
    noun = kind.replace("-", "")
    plural = f"{noun[:-1]}(?:y|ies)" if noun.endswith("y") else f"{noun}s?"
    pattern = re.compile(rf"(?:create|get|list|start|update)(?:collaboration)?{plural}(?:versions)?", re.IGNORECASE)
    members: set[str] = set()
    for service in map(load, SERVICES):
        for operation in filter(pattern.fullmatch, service.operation_names):
            members.update(_list_members(service.operation_model(operation).output_shape))
    return members


def _list_members(response: Any) -> Iterator[str]:
    for name, shape in response.members.items() if response else ():
        yield name
        inner = shape.member if shape.type_name == "list" else shape
        if inner.type_name == "structure":
            yield from inner.members


def _find(stock: Stock, kind: str) -> Record:
    return next(record for record in stock.emulator.shared.store.records if record.kind == kind)


def test_record_fields_are_members_of_responses(stock: Stock) -> None:
    records = stock.emulator.shared.store.records
    assert len({record.kind for record in records}) == 16
    # A separate operation lists the members of a collaboration.
    unknown = {
        record.kind: names
        for record in records
        if (names := record.fields.keys() - _list_response_members(record.kind) - {"members"})
    }
    assert unknown == {}


def test_collaboration_members_have_only_listed_fields(stock: Stock) -> None:
    entry: Any = load("cleanrooms").shape_for("MemberSummary")
    members = _find(stock, "collaboration").fields["members"]
    assert {name for member in members for name in member} <= set(entry.members)


def test_policy_is_not_part_of_its_model(stock: Stock) -> None:
    model = _find(stock, "configured-audience-model")
    before = dict(model.fields)
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "111122223333"},
        "Action": "cleanrooms-ml:StartAudienceGenerationJob",
        "Resource": model.arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    put = stock.world.ml.put_configured_audience_model_policy(
        configuredAudienceModelArn=model.arn, configuredAudienceModelPolicy=policy
    )
    assert (
        stock.world.ml.get_configured_audience_model_policy(configuredAudienceModelArn=model.arn)["policyHash"]
        == (put["policyHash"])
    )
    assert model.fields == before
