"""
What our check refuses before it is sent: sent nevertheless, past it and past botocore's own.

A training dataset costs nothing, so a service that is more generous than its model does no harm.
"""

from __future__ import annotations

from typing import Any

import pytest
from botocore.config import Config

from airflow_cleanroomsml._requests.request import Request, find_operation, load, map_arguments
from airflow_cleanroomsml._resources.table import TRAINING_DATASET
from tests.aws.created_resources import MARK, Bench
from tests.aws.observations import Observation, Observer, outcome

REFUSED = "ValidationException"
CONFIG = "trainingData.0.inputConfig"
SOURCE = f"{CONFIG}.dataSource.glueDataSource"
COLUMN = {"columnName": "c", "columnTypes": ["CATEGORICAL_FEATURE"]}
#: What is wrong, the path of a member, and what stands there instead; None takes it out.
BROKEN: list[tuple[str, str, Any]] = [
    ("no name", "name", None),
    ("an empty name", "name", ""),
    ("a name of 64 characters", "name", f"{MARK}-".ljust(64, "x")),
    ("a name of blanks", "name", "  "),
    ("a name with a line break", "name", f"{MARK}-\nx"),
    ("a description of 256 characters", "description", "x" * 256),
    ("a description with a control character", "description", "x\x07"),
    ("a role that is no ARN", "roleArn", "cleanrooms-ml-lookalike"),
    ("a user in place of a role", "roleArn", "arn:aws:iam::123456789012:user/lookalike"),
    ("no dataset", "trainingData", []),
    ("a type that is none", "trainingData.0.type", "PURCHASES"),
    ("no columns", f"{CONFIG}.schema", []),
    ("101 columns", f"{CONFIG}.schema", [{**COLUMN, "columnName": f"c{number}"} for number in range(101)]),
    ("no type of a column", f"{CONFIG}.schema.0.columnTypes", []),
    ("two types of a column", f"{CONFIG}.schema.0.columnTypes", ["USER_ID", "ITEM_ID"]),
    ("a type of a column that is none", f"{CONFIG}.schema.0.columnTypes.0", "USER"),
    ("a column with a dot", f"{CONFIG}.schema.0.columnName", "user.id"),
    ("a column of 129 characters", f"{CONFIG}.schema.0.columnName", "u" * 129),
    ("a table with a slash", f"{SOURCE}.tableName", "inter/actions"),
    ("a database with a blank", f"{SOURCE}.databaseName", "look alike"),
    ("a catalog of 11 digits", f"{SOURCE}.catalogId", "12345678901"),
    ("201 tags", "tags", {f"key{number}": "" for number in range(201)}),
    ("a tag's key of 129 characters", "tags", {"k" * 129: ""}),
    ("a tag's value of 257 characters", "tags", {"k": "v" * 257}),
]


def put(members: Any, path: str, value: Any) -> None:
    *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
    for step in way:
        members = members[step]
    if value is None:
        del members[last]
    else:
        members[last] = value


def violations(members: dict[str, Any]) -> list[str]:
    """What our check says."""
    spelled = {name: given for given, name in map_arguments(find_operation(load(), "create_training_dataset")).items()}
    given = {spelled[name]: value for name, value in members.items()}
    return [str(found) for found in Request(load(), "create_training_dataset", given).violations]


def unchecked(bench: Bench) -> Any:
    """A client that sends what it is given."""
    return bench.account.client("cleanroomsml", config=Config(parameter_validation=False))


@pytest.mark.parametrize(("what", "path", "value"), BROKEN, ids=[what for what, _, _ in BROKEN])
def test_the_service_refuses_what_the_check_refuses(
    bench: Bench, observe: Observer, what: str, path: str, value: Any
) -> None:
    members = bench.dataset_request()
    assert violations(members) == []
    put(members, path, value)
    assert violations(members)
    seen = outcome(lambda: unchecked(bench).create_training_dataset(**members))
    if seen.answer:
        bench.deleted_at_end(TRAINING_DATASET, seen.answer["trainingDatasetArn"])
    observe(f"a training dataset with {what}", REFUSED, seen)
    assert seen.word == REFUSED, "the check is stricter than the service"


@pytest.mark.parametrize("size", [0, 101])
def test_the_service_refuses_pages_that_the_check_refuses(bench: Bench, observe: Observer, size: int) -> None:
    seen = outcome(lambda: unchecked(bench).list_training_datasets(maxResults=size))
    observe(f"a listing by pages of {size}", REFUSED, seen)
    assert seen.word == REFUSED, "the check is stricter than the service"


def test_a_difference_is_reported_without_account_numbers() -> None:
    seen = Observation(
        "a name", "accepted", "ConflictException", "arn:aws:cleanrooms-ml:us-east-1:123456789012:x is there"
    )
    assert seen.lines("AWS") == [
        "a name",
        "  what the emulator assumes: accepted",
        "  what AWS did: ConflictException (arn:aws:cleanrooms-ml:us-east-1:<account>:x is there)",
    ]
