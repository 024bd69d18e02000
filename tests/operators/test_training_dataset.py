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
    given = {"name": "d", "role_arn": world.role, "training_data": world.build_training_data(), **more}
    return run(CleanRoomsMLCreateTrainingDatasetOperator(task_id="t", **given)).result


def delete(arn: str) -> Any:
    return run(CleanRoomsMLDeleteTrainingDatasetOperator(task_id="t", training_dataset_arn=arn)).result


def test_create_returns_the_arn_of_what_it_made(empty_world: World) -> None:
    arn = create(empty_world, tags={"team": "ads"}, description="what we sell")
    found = empty_world.ml.get_training_dataset(trainingDatasetArn=arn)
    assert (found["name"], remove_claim(found["tags"]), found["description"]) == ("d", {"team": "ads"}, "what we sell")
    assert arn.split(":")[4] == empty_world.account


def test_nested_values_are_templates_too(empty_world: World) -> None:
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
    found = empty_world.ml.get_training_dataset(trainingDatasetArn=arn)
    assert found["name"] == "shop-d"
    config = found["trainingData"][0]["inputConfig"]
    assert config["dataSource"]["glueDataSource"]["databaseName"] == "shop"
    assert config["schema"][0]["columnTypes"] == ["USER_ID"]


def test_a_name_in_use_fails_at_once_and_tells_what_is_there(empty_world: World) -> None:
    first = create(empty_world)
    with pytest.raises(
        AlreadyExistsError,
        match=f'(?s)The existing resource: training dataset {first}, ACTIVE, created .*if_exists="reuse"',
    ):
        create(empty_world)


def test_a_name_in_use_by_what_may_not_be_listed_is_still_told(empty_world: World) -> None:
    create(empty_world)
    empty_world.add_fault("ListTrainingDatasets", "access_denied")
    with pytest.raises(AlreadyExistsError, match="already exists"):
        create(empty_world)


def test_reuse_goes_on_with_what_is_there_and_looks_first(empty_world: World) -> None:
    first = create(empty_world, if_exists="reuse")
    assert create(empty_world, if_exists="reuse") == first
    looked = ["ListTrainingDatasets", "GetTrainingDataset"]
    assert empty_world.calls == [looked[0], "CreateTrainingDataset", *looked]


def test_reuse_does_not_take_what_is_not_asked_for(empty_world: World) -> None:
    create(empty_world, tags={"team": "ads"})
    other = empty_world.build_training_data("purchases")
    with pytest.raises(
        AlreadyExistsError, match="(?s)differs from the request.*tableName: 'interactions' instead of 'purchases'"
    ):
        create(empty_world, if_exists="reuse", training_data=other)
    assert create(empty_world, if_exists="reuse", description="tags and description do not matter")


def test_reuse_finds_what_a_lost_answer_has_made(empty_world: World) -> None:
    empty_world.add_fault("CreateTrainingDataset", "lose_response")
    arn = create(empty_world, if_exists="reuse")
    (entry,) = empty_world.ml.list_training_datasets()["trainingDatasets"]
    assert entry["trainingDatasetArn"] == arn


def test_an_unknown_if_exists_is_refused(empty_world: World) -> None:
    with pytest.raises(Exception, match="if_exists: 'maybe' is unknown; allowed: fail, reuse"):
        create(empty_world, if_exists="maybe")
    assert empty_world.calls == []


def test_a_role_of_another_account_is_refused(empty_world: World) -> None:
    with pytest.raises(AccessDeniedError, match="Passing a role across accounts is not allowed"):
        create(empty_world, role_arn="arn:aws:iam::999999999999:role/x")


def test_delete_and_delete_again(empty_world: World) -> None:
    arn = create(empty_world)
    assert delete(arn) is None
    assert empty_world.ml.list_training_datasets()["trainingDatasets"] == []
    assert delete(arn) is None


def test_delete_is_refused_while_a_model_depends_on_it(world: World) -> None:
    model = world.train_model()
    arn = world.ml.get_audience_model(audienceModelArn=model)["trainingDatasetArn"]
    with pytest.raises(ConflictError, match="Audience models depend on"):
        delete(arn)
