"""Algorithms, their associations, and the ML configuration: the resources of custom models that cost nothing."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml._resources.table import CONFIGURED_MODEL_ALGORITHM
from airflow_cleanroomsml.exceptions import ConflictError, ResourceNotFoundError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator,
    CleanRoomsMLCreateConfiguredModelAlgorithmOperator,
    CleanRoomsMLDeleteMLConfigurationOperator,
    CleanRoomsMLPutMLConfigurationOperator,
)
from tests.aws.account import Account
from tests.aws.created_resources import Bench, delete
from tests.support import remove_claim, run


def create_algorithm(bench: Bench, **more: Any) -> str:
    require = bench.account.read_requirement
    container = {"imageUri": require("IMAGE_URI")}
    return bench.make(
        CleanRoomsMLCreateConfiguredModelAlgorithmOperator,
        **{"role_arn": require("ROLE_ARN"), "training_container_config": container, **more},
    )


def associate(bench: Bench, algorithm_arn: str) -> str:
    return bench.make(
        CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator,
        membership_identifier=bench.account.read_requirement("MEMBERSHIP"),
        configured_model_algorithm_arn=algorithm_arn,
    )


def list_names(operation: str, **arguments: Any) -> list[str]:
    return [entry["name"] for entry in CleanRoomsMLHook().items(operation, arguments)]


def test_algorithm_is_created_listed_and_deleted(bench: Bench) -> None:
    name, operation = bench.make_name(), CONFIGURED_MODEL_ALGORITHM.list
    arn = create_algorithm(bench, name=name)
    response = bench.ml.get_configured_model_algorithm(configuredModelAlgorithmArn=arn)
    assert (response["name"], remove_claim(response["tags"])) == (name, bench.tags)
    assert name in list_names(operation)
    for _ in range(2):
        delete(CONFIGURED_MODEL_ALGORITHM, arn)
    assert name not in list_names(operation)


def test_associated_algorithm_cannot_be_deleted(bench: Bench) -> None:
    membership, arn = bench.account.read_requirement("MEMBERSHIP"), create_algorithm(bench)
    association = associate(bench, arn)
    listed = bench.ml.list_configured_model_algorithm_associations(membershipIdentifier=membership)
    assert association in [
        entry["configuredModelAlgorithmAssociationArn"] for entry in listed["configuredModelAlgorithmAssociations"]
    ]
    with pytest.raises(ConflictError):
        delete(CONFIGURED_MODEL_ALGORITHM, arn)


def read_configuration(membership: str) -> Any:
    """Read the ML configuration of a membership; None if there is none."""
    try:
        return CleanRoomsMLHook().call("get_ml_configuration", {"membership_identifier": membership})
    except ResourceNotFoundError:
        return None


def test_ml_configuration_is_put_and_deleted(account: Account, bench: Bench) -> None:
    membership, role = account.read_requirement("MEMBERSHIP"), account.read_requirement("ROLE_ARN")
    if read_configuration(membership) is not None:
        pytest.skip("the membership has an ML configuration, which this test would overwrite")
    end = CleanRoomsMLDeleteMLConfigurationOperator(task_id="t", membership_identifier=membership)
    bench.at_end(lambda: run(end))
    for path in ("first", "second"):
        uri = f"s3://{account.read_requirement('BUCKET')}/{bench.make_name()}/{path}"
        location = {"roleArn": role, "destination": {"s3Destination": {"s3Uri": uri}}}
        put: dict[str, Any] = {"membership_identifier": membership, "default_output_location": location}
        run(CleanRoomsMLPutMLConfigurationOperator(task_id="t", **put))
        assert read_configuration(membership)["defaultOutputLocation"] == location
    for _ in range(2):
        run(end)
    assert read_configuration(membership) is None
