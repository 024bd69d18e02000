from __future__ import annotations

import uuid
from typing import Any

import pytest

from airflow_cleanroomsml._resources.table import TRAINING_DATASET
from airflow_cleanroomsml.exceptions import AccessDeniedError, AlreadyExistsError, ResourceNotFoundError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateTrainingDatasetOperator,
    CleanRoomsMLDeleteTrainingDatasetOperator,
    CleanRoomsMLTagResourceOperator,
    CleanRoomsMLUntagResourceOperator,
)
from tests.aws.created_resources import Bench
from tests.support import TaskInstance, remove_claim, run


def build_arguments(bench: Bench, **more: Any) -> dict[str, Any]:
    """Build the arguments of a create operator."""
    members = bench.build_dataset_request()
    return {
        "name": members["name"],
        "role_arn": members["roleArn"],
        "training_data": members["trainingData"],
        "tags": members["tags"],
        **more,
    }


def create(bench: Bench, **more: Any) -> str:
    return bench.make(CleanRoomsMLCreateTrainingDatasetOperator, **build_arguments(bench, **more))


def get(arn: str) -> dict[str, Any]:
    return CleanRoomsMLHook().call("get_training_dataset", {"training_dataset_arn": arn})


def build_missing_arn(arn: str) -> str:
    """Build an ARN of the same kind that does not exist."""
    return f"{arn.rsplit('/', 1)[0]}/{uuid.uuid4()}"


def test_created_dataset_matches_request(bench: Bench) -> None:
    arguments = build_arguments(bench, description="a test of airflow-provider-cleanroomsml")
    response = get(create(bench, **arguments))
    assert (response["name"], response["roleArn"], response["description"]) == (
        arguments["name"],
        arguments["role_arn"],
        arguments["description"],
    )
    assert (remove_claim(response["tags"]), response["trainingData"], response["status"]) == (
        bench.tags,
        arguments["training_data"],
        "ACTIVE",
    )


def test_retry_reuses_dataset(bench: Bench) -> None:
    arguments = build_arguments(bench)
    ti = TaskInstance()
    arn = run(CleanRoomsMLCreateTrainingDatasetOperator(task_id="t", **arguments), ti=ti).result
    bench.delete_at_end(TRAINING_DATASET, arn)
    assert run(CleanRoomsMLCreateTrainingDatasetOperator(task_id="t", **arguments), ti=ti.make_next_try()).result == arn


def test_tags_can_be_changed(bench: Bench) -> None:
    arn = create(bench)
    run(CleanRoomsMLTagResourceOperator(task_id="t", resource_arn=arn, tags={"team": "ads", "stage": "test"}))
    run(CleanRoomsMLUntagResourceOperator(task_id="t", resource_arn=arn, tag_keys=["stage", "never-there"]))
    tags = CleanRoomsMLHook().call("list_tags_for_resource", {"resource_arn": arn})["tags"]
    assert remove_claim(tags) == {**bench.tags, "team": "ads"}


def test_name_in_use_is_rejected_with_the_existing_arn(bench: Bench) -> None:
    arguments = build_arguments(bench)
    first = create(bench, **arguments)
    with pytest.raises(AlreadyExistsError, match=f"The existing resource: .*{first}, ACTIVE, created "):
        create(bench, **arguments)


def test_reuse_returns_existing_dataset(bench: Bench) -> None:
    arguments = build_arguments(bench)
    assert create(bench, **arguments) == create(bench, **arguments, if_exists="reuse")


def test_paginated_listing_is_complete(bench: Bench) -> None:
    arns = {bench.create_dataset() for _ in range(3)}
    pages = list(CleanRoomsMLHook().pages(TRAINING_DATASET.list, {"max_results": 2}))
    assert [len(page["trainingDatasets"]) for page in pages[:-1]] == [2] * (len(pages) - 1)
    assert arns <= {entry["trainingDatasetArn"] for page in pages for entry in page["trainingDatasets"]}


def test_deleted_dataset_is_not_found_and_can_be_deleted_again(bench: Bench) -> None:
    arn = bench.create_dataset()
    for _ in range(2):
        run(CleanRoomsMLDeleteTrainingDatasetOperator(task_id="t", training_dataset_arn=arn))
    with pytest.raises(ResourceNotFoundError):
        get(arn)


def test_missing_dataset_is_not_found(bench: Bench) -> None:
    arn = build_missing_arn(bench.create_dataset())
    for operation, argument in (
        ("get_training_dataset", "training_dataset_arn"),
        ("delete_training_dataset", "training_dataset_arn"),
        ("list_tags_for_resource", "resource_arn"),
    ):
        with pytest.raises(ResourceNotFoundError):
            CleanRoomsMLHook().call(operation, {argument: arn})


def test_role_of_another_account_is_rejected(bench: Bench) -> None:
    with pytest.raises(AccessDeniedError):
        create(bench, role_arn="arn:aws:iam::999999999999:role/cleanrooms-ml")
