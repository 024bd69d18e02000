from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml.exceptions import AccessDeniedError, AlreadyExistsError, ConflictError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateTrainingDatasetOperator,
    CleanRoomsMLDeleteTrainingDatasetOperator,
)
from airflow_cleanroomsml.request_types import Dataset, DataSource
from tests.support import World, remove_claim, run


def create(world: World, **more: Any) -> Any:
    arguments = {"name": "d", "role_arn": world.role, "training_data": world.build_training_data(), **more}
    return run(CleanRoomsMLCreateTrainingDatasetOperator(task_id="t", **arguments)).result


def delete(arn: str) -> Any:
    return run(CleanRoomsMLDeleteTrainingDatasetOperator(task_id="t", training_dataset_arn=arn)).result


def test_create_returns_arn(empty_world: World) -> None:
    arn = create(empty_world, tags={"team": "ads"}, description="what we sell")
    dataset = empty_world.ml.get_training_dataset(trainingDatasetArn=arn)
    assert (dataset["name"], remove_claim(dataset["tags"]), dataset["description"]) == (
        "d",
        {"team": "ads"},
        "what we sell",
    )
    assert arn.split(":")[4] == empty_world.account


def test_nested_values_are_rendered(empty_world: World) -> None:
    source: DataSource = {"glueDataSource": {"databaseName": "{{ params.database }}", "tableName": "t"}}
    data: list[Dataset] = [
        {
            "type": "INTERACTIONS",
            "inputConfig": {
                "schema": [{"columnName": "u", "columnTypes": ["{{ params.kind }}"]}],
                "dataSource": source,
            },
        }
    ]
    task = CleanRoomsMLCreateTrainingDatasetOperator(
        task_id="t", name="{{ params.database }}-d", role_arn=empty_world.role, training_data=data
    )
    arn = run(task, params={"database": "shop", "kind": "USER_ID"}).result
    dataset = empty_world.ml.get_training_dataset(trainingDatasetArn=arn)
    assert dataset["name"] == "shop-d"
    config = dataset["trainingData"][0]["inputConfig"]
    assert config["dataSource"]["glueDataSource"]["databaseName"] == "shop"
    assert config["schema"][0]["columnTypes"] == ["USER_ID"]


def test_name_in_use_describes_existing_dataset(empty_world: World) -> None:
    first = create(empty_world)
    with pytest.raises(
        AlreadyExistsError,
        match=f'(?s)The existing resource: training dataset {first}, ACTIVE, created .*if_exists="reuse"',
    ):
        create(empty_world)


def test_name_in_use_is_reported_if_listing_is_denied(empty_world: World) -> None:
    create(empty_world)
    empty_world.add_fault("ListTrainingDatasets", "access_denied")
    with pytest.raises(AlreadyExistsError, match="already exists"):
        create(empty_world)


def test_reuse_looks_for_dataset_before_create(empty_world: World) -> None:
    first = create(empty_world, if_exists="reuse")
    assert create(empty_world, if_exists="reuse") == first
    lookup = ["ListTrainingDatasets", "GetTrainingDataset"]
    assert empty_world.calls == [lookup[0], "CreateTrainingDataset", *lookup]


def test_reuse_rejects_different_dataset(empty_world: World) -> None:
    create(empty_world, tags={"team": "ads"})
    other = empty_world.build_training_data("purchases")
    with pytest.raises(
        AlreadyExistsError, match="(?s)differs from the request.*tableName: 'interactions' instead of 'purchases'"
    ):
        create(empty_world, if_exists="reuse", training_data=other)
    assert create(empty_world, if_exists="reuse", description="tags and description do not matter")


def test_reuse_finds_dataset_of_lost_response(empty_world: World) -> None:
    empty_world.add_fault("CreateTrainingDataset", "lose_response")
    arn = create(empty_world, if_exists="reuse")
    (entry,) = empty_world.ml.list_training_datasets()["trainingDatasets"]
    assert entry["trainingDatasetArn"] == arn


def test_unknown_if_exists_is_rejected(empty_world: World) -> None:
    with pytest.raises(Exception, match="if_exists: 'maybe' is unknown; allowed: fail, reuse"):
        create(empty_world, if_exists="maybe")
    assert empty_world.calls == []


def test_role_of_another_account_is_rejected(empty_world: World) -> None:
    with pytest.raises(AccessDeniedError, match="Passing a role across accounts is not allowed"):
        create(empty_world, role_arn="arn:aws:iam::999999999999:role/x")


def test_second_delete_succeeds(empty_world: World) -> None:
    arn = create(empty_world)
    assert delete(arn) is None
    assert empty_world.ml.list_training_datasets()["trainingDatasets"] == []
    assert delete(arn) is None


def test_delete_fails_while_model_depends_on_it(world: World) -> None:
    model = world.train_model()
    arn = world.ml.get_audience_model(audienceModelArn=model)["trainingDatasetArn"]
    with pytest.raises(ConflictError, match="Audience models depend on"):
        delete(arn)
