"""Operations for custom models that finish at once: algorithms, associations, ML configurations and tags."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_cleanroomsml.exceptions import AlreadyExistsError, ConflictError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator,
    CleanRoomsMLCreateConfiguredModelAlgorithmOperator,
    CleanRoomsMLDeleteConfiguredModelAlgorithmAssociationOperator,
    CleanRoomsMLDeleteConfiguredModelAlgorithmOperator,
    CleanRoomsMLDeleteMLConfigurationOperator,
    CleanRoomsMLPutMLConfigurationOperator,
    CleanRoomsMLTagResourceOperator,
    CleanRoomsMLUntagResourceOperator,
)
from tests.helpers.custom_models import IMAGE, Studio
from tests.support import World, remove_claim, run


def create_algorithm(world: World, **more: Any) -> str:
    arguments = {
        "task_id": "t",
        "name": "a",
        "role_arn": world.role,
        "training_container_config": {"imageUri": IMAGE, "arguments": ["--epochs", "{{ 3 }}"]},
        **more,
    }
    return str(run(CleanRoomsMLCreateConfiguredModelAlgorithmOperator(**arguments)).result)


def test_algorithm_is_created_reused_and_deleted(world: World) -> None:
    arn = create_algorithm(world)
    algorithm = world.ml.get_configured_model_algorithm(configuredModelAlgorithmArn=arn)
    assert algorithm["trainingContainerConfig"]["arguments"] == ["--epochs", "3"]
    assert create_algorithm(world, if_exists="reuse") == arn
    with pytest.raises(AlreadyExistsError, match=arn):
        create_algorithm(world)
    with pytest.raises(AlreadyExistsError, match=r"training_container_config.imageUri"):
        create_algorithm(world, if_exists="reuse", training_container_config={"imageUri": IMAGE.replace(":1", ":2")})
    for _ in range(2):
        run(CleanRoomsMLDeleteConfiguredModelAlgorithmOperator(task_id="t", configured_model_algorithm_arn=arn))
    assert world.ml.list_configured_model_algorithms()["configuredModelAlgorithms"] == []


def test_association_must_be_deleted_before_algorithm(studio: Studio) -> None:
    exports = {"maxSize": {"unit": "GB", "value": "{{ 0.5 }}"}, "filesToExport": ["MODEL"]}
    privacy = {"policies": {"trainedModelExports": exports}}
    arguments: dict[str, Any] = {
        "task_id": "t",
        **studio.mine,
        "configured_model_algorithm_arn": studio.algorithm,
        "name": "offer",
        "privacy_configuration": privacy,
        "if_exists": "reuse",
    }
    first, second = (
        run(CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator(**arguments)).result for _ in range(2)
    )
    assert first == second
    delete = CleanRoomsMLDeleteConfiguredModelAlgorithmOperator(
        task_id="t", configured_model_algorithm_arn=studio.algorithm
    )
    with pytest.raises(ConflictError):
        run(delete)
    for _ in range(2):
        run(
            CleanRoomsMLDeleteConfiguredModelAlgorithmAssociationOperator(
                task_id="t", **studio.mine, configured_model_algorithm_association_arn=first
            )
        )
    run(delete)


def test_ml_configuration_is_replaced_and_deleted(studio: Studio) -> None:
    for uri in ("s3://one/models", "s3://two/models"):
        put = CleanRoomsMLPutMLConfigurationOperator(
            task_id="t",
            **studio.mine,
            default_output_location={
                "destination": {"s3Destination": {"s3Uri": uri}},
                "roleArn": studio.world.role,
            },
        )
        assert run(put).result is None
        location = studio.ml.get_ml_configuration(**studio.of)["defaultOutputLocation"]
        assert location["destination"]["s3Destination"]["s3Uri"] == uri
    for _ in range(2):
        run(CleanRoomsMLDeleteMLConfigurationOperator(task_id="t", **studio.mine))
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        studio.ml.get_ml_configuration(**studio.of)


def test_tags_are_added_changed_and_removed(world: World) -> None:
    arn = create_algorithm(world, tags={"team": "a"})
    run(CleanRoomsMLTagResourceOperator(task_id="t", resource_arn=arn, tags={"team": "b", "run": "{{ 1 }}"}))
    assert remove_claim(world.ml.list_tags_for_resource(resourceArn=arn)["tags"]) == {"team": "b", "run": "1"}
    for _ in range(2):
        run(CleanRoomsMLUntagResourceOperator(task_id="t", resource_arn=arn, tag_keys=["team", "none"]))
    assert remove_claim(world.ml.list_tags_for_resource(resourceArn=arn)["tags"]) == {"run": "1"}
