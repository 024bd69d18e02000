"""Algorithms, their associations, and the ML configuration: whatever of custom models costs nothing."""

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


def algorithm(bench: Bench, **more: Any) -> str:
    needed = bench.account.needed
    container = {"imageUri": needed("IMAGE_URI")}
    return bench.make(
        CleanRoomsMLCreateConfiguredModelAlgorithmOperator,
        **{"role_arn": needed("ROLE_ARN"), "training_container_config": container, **more},
    )


def associate(bench: Bench, algorithm_arn: str) -> str:
    return bench.make(
        CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator,
        membership_identifier=bench.account.needed("MEMBERSHIP"),
        configured_model_algorithm_arn=algorithm_arn,
    )


def names(operation: str, **arguments: Any) -> list[str]:
    return [entry["name"] for entry in CleanRoomsMLHook().items(operation, arguments)]


def test_an_algorithm_is_made_listed_and_deleted(bench: Bench) -> None:
    name, operation = bench.name(), CONFIGURED_MODEL_ALGORITHM.list
    arn = algorithm(bench, name=name)
    found = bench.ml.get_configured_model_algorithm(configuredModelAlgorithmArn=arn)
    assert (found["name"], remove_claim(found["tags"])) == (name, bench.tags)
    assert name in names(operation)
    for _ in range(2):
        delete(CONFIGURED_MODEL_ALGORITHM, arn)
    assert name not in names(operation)


def test_an_algorithm_stays_while_it_is_associated(bench: Bench) -> None:
    membership, arn = bench.account.needed("MEMBERSHIP"), algorithm(bench)
    made = associate(bench, arn)
    listed = bench.ml.list_configured_model_algorithm_associations(membershipIdentifier=membership)
    assert made in [
        entry["configuredModelAlgorithmAssociationArn"] for entry in listed["configuredModelAlgorithmAssociations"]
    ]
    with pytest.raises(ConflictError):
        delete(CONFIGURED_MODEL_ALGORITHM, arn)


def configuration(membership: str) -> Any:
    """Its ML configuration, or None."""
    try:
        return CleanRoomsMLHook().call("get_ml_configuration", {"membership_identifier": membership})
    except ResourceNotFoundError:
        return None


def test_an_ml_configuration_is_put_and_deleted(account: Account, bench: Bench) -> None:
    membership, role = account.needed("MEMBERSHIP"), account.needed("ROLE_ARN")
    if configuration(membership) is not None:
        pytest.skip("the membership has an ML configuration, which this test would overwrite")
    end = CleanRoomsMLDeleteMLConfigurationOperator(task_id="t", membership_identifier=membership)
    bench.at_end(lambda: run(end))
    for path in ("first", "second"):
        uri = f"s3://{account.needed('BUCKET')}/{bench.name()}/{path}"
        location = {"roleArn": role, "destination": {"s3Destination": {"s3Uri": uri}}}
        put: dict[str, Any] = {"membership_identifier": membership, "default_output_location": location}
        run(CleanRoomsMLPutMLConfigurationOperator(task_id="t", **put))
        assert configuration(membership)["defaultOutputLocation"] == location
    for _ in range(2):
        run(end)
    assert configuration(membership) is None
