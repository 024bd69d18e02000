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


def request(bench: Bench, **more: Any) -> dict[str, Any]:
    """The arguments of an operator."""
    members = bench.dataset_request()
    return {
        "name": members["name"],
        "role_arn": members["roleArn"],
        "training_data": members["trainingData"],
        "tags": members["tags"],
        **more,
    }


def create(bench: Bench, **more: Any) -> str:
    return bench.make(CleanRoomsMLCreateTrainingDatasetOperator, **request(bench, **more))


def get(arn: str) -> dict[str, Any]:
    return CleanRoomsMLHook().call("get_training_dataset", {"training_dataset_arn": arn})


def nowhere(arn: str) -> str:
    """An ARN like it, of nothing."""
    return f"{arn.rsplit('/', 1)[0]}/{uuid.uuid4()}"


def test_it_is_what_was_asked_for(bench: Bench) -> None:
    asked = request(bench, description="a test of airflow-provider-cleanroomsml")
    found = get(create(bench, **asked))
    assert (found["name"], found["roleArn"], found["description"]) == (
        asked["name"],
        asked["role_arn"],
        asked["description"],
    )
    assert (remove_claim(found["tags"]), found["trainingData"], found["status"]) == (
        bench.tags,
        asked["training_data"],
        "ACTIVE",
    )


def test_a_retry_goes_on_with_it(bench: Bench) -> None:
    asked = request(bench)
    ti = TaskInstance()
    arn = run(CleanRoomsMLCreateTrainingDatasetOperator(task_id="t", **asked), ti=ti).result
    bench.deleted_at_end(TRAINING_DATASET, arn)
    assert run(CleanRoomsMLCreateTrainingDatasetOperator(task_id="t", **asked), ti=ti.make_next_try()).result == arn


def test_its_tags_can_be_changed(bench: Bench) -> None:
    arn = create(bench)
    run(CleanRoomsMLTagResourceOperator(task_id="t", resource_arn=arn, tags={"team": "ads", "stage": "test"}))
    run(CleanRoomsMLUntagResourceOperator(task_id="t", resource_arn=arn, tag_keys=["stage", "never-there"]))
    tags = CleanRoomsMLHook().call("list_tags_for_resource", {"resource_arn": arn})["tags"]
    assert remove_claim(tags) == {**bench.tags, "team": "ads"}


def test_a_name_in_use_is_refused_and_the_error_tells_what_is_there(bench: Bench) -> None:
    asked = request(bench)
    first = create(bench, **asked)
    with pytest.raises(AlreadyExistsError, match=f"The existing resource: .*{first}, ACTIVE, created "):
        create(bench, **asked)


def test_reuse_finds_it(bench: Bench) -> None:
    asked = request(bench)
    assert create(bench, **asked) == create(bench, **asked, if_exists="reuse")


def test_a_listing_in_pages_has_all(bench: Bench) -> None:
    made = {bench.dataset() for _ in range(3)}
    pages = list(CleanRoomsMLHook().pages(TRAINING_DATASET.list, {"max_results": 2}))
    assert [len(page["trainingDatasets"]) for page in pages[:-1]] == [2] * (len(pages) - 1)
    assert made <= {entry["trainingDatasetArn"] for page in pages for entry in page["trainingDatasets"]}


def test_it_is_gone_when_it_was_deleted_and_can_be_deleted_again(bench: Bench) -> None:
    arn = bench.dataset()
    for _ in range(2):
        run(CleanRoomsMLDeleteTrainingDatasetOperator(task_id="t", training_dataset_arn=arn))
    with pytest.raises(ResourceNotFoundError):
        get(arn)


def test_what_never_was_is_not_found(bench: Bench) -> None:
    arn = nowhere(bench.dataset())
    for operation, argument in (
        ("get_training_dataset", "training_dataset_arn"),
        ("delete_training_dataset", "training_dataset_arn"),
        ("list_tags_for_resource", "resource_arn"),
    ):
        with pytest.raises(ResourceNotFoundError):
            CleanRoomsMLHook().call(operation, {argument: arn})


def test_a_role_of_another_account_is_refused(bench: Bench) -> None:
    with pytest.raises(AccessDeniedError):
        create(bench, role_arn="arn:aws:iam::999999999999:role/cleanrooms-ml")
