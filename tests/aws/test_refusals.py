"""
The service rejects the requests that our check rejects: they are sent without our check and without botocore's.

A training dataset costs nothing, so no harm is done if the service accepts one against its own model.
"""

from __future__ import annotations

from typing import Any

import pytest
from botocore.config import Config

from airflow_cleanroomsml._requests.request import Request, find_operation, load, map_arguments
from airflow_cleanroomsml._resources.table import TRAINING_DATASET
from tests.aws.created_resources import MARK, Bench
from tests.aws.observations import Observation, Observer, send_request

REFUSED = "ValidationException"
CONFIG = "trainingData.0.inputConfig"
SOURCE = f"{CONFIG}.dataSource.glueDataSource"
COLUMN = {"columnName": "c", "columnTypes": ["CATEGORICAL_FEATURE"]}
#: Description of the error, path of a member, and its invalid value; None removes the member.
INVALID: list[tuple[str, str, Any]] = [
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


def set_member(members: Any, path: str, value: Any) -> None:
    *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
    for step in way:
        members = members[step]
    if value is None:
        del members[last]
    else:
        members[last] = value


def find_violations(members: dict[str, Any]) -> list[str]:
    """Return the violations that our check finds."""
    spelled = {name: given for given, name in map_arguments(find_operation(load(), "create_training_dataset")).items()}
    given = {spelled[name]: value for name, value in members.items()}
    return [str(found) for found in Request(load(), "create_training_dataset", given).violations]


def make_unchecked_client(bench: Bench) -> Any:
    """Make a client that sends arguments without checking them."""
    return bench.account.client("cleanroomsml", config=Config(parameter_validation=False))


@pytest.mark.parametrize(("what", "path", "value"), INVALID, ids=[what for what, _, _ in INVALID])
def test_service_rejects_what_the_check_rejects(
    bench: Bench, observe: Observer, what: str, path: str, value: Any
) -> None:
    members = bench.build_dataset_request()
    assert find_violations(members) == []
    set_member(members, path, value)
    assert find_violations(members)
    outcome = send_request(lambda: make_unchecked_client(bench).create_training_dataset(**members))
    if outcome.response:
        bench.delete_at_end(TRAINING_DATASET, outcome.response["trainingDatasetArn"])
    observe(f"a training dataset with {what}", REFUSED, outcome)
    assert outcome.word == REFUSED, "the check is stricter than the service"


@pytest.mark.parametrize("size", [0, 101])
def test_service_rejects_page_sizes_that_the_check_rejects(bench: Bench, observe: Observer, size: int) -> None:
    outcome = send_request(lambda: make_unchecked_client(bench).list_training_datasets(maxResults=size))
    observe(f"a listing by pages of {size}", REFUSED, outcome)
    assert outcome.word == REFUSED, "the check is stricter than the service"


def test_report_omits_account_numbers() -> None:
    observation = Observation(
        "a name", "accepted", "ConflictException", "arn:aws:cleanrooms-ml:us-east-1:123456789012:x is there"
    )
    assert observation.format_lines("AWS") == [
        "a name",
        "  what the emulator assumes: accepted",
        "  what AWS did: ConflictException (arn:aws:cleanrooms-ml:us-east-1:<account>:x is there)",
    ]
