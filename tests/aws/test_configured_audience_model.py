"""Configured audience models of an existing audience model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_cleanroomsml._resources.table import CONFIGURED_AUDIENCE_MODEL
from airflow_cleanroomsml.exceptions import ResourceNotFoundError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateConfiguredAudienceModelOperator,
    CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator,
    CleanRoomsMLPutConfiguredAudienceModelPolicyOperator,
    CleanRoomsMLUpdateConfiguredAudienceModelOperator,
)
from tests.aws.created_resources import Bench, delete
from tests.aws.observations import ACCEPTED, Observer, Outcome, send_request
from tests.support import remove_claim, run


def build_request(bench: Bench) -> dict[str, Any]:
    """Build a request with the API's names of members."""
    uri = f"s3://{bench.account.read_requirement('BUCKET')}/{bench.make_name()}"
    destination = {"s3Destination": {"s3Uri": uri}}
    return {
        "name": bench.make_name(),
        "audienceModelArn": bench.account.read_requirement("AUDIENCE_MODEL_ARN"),
        "outputConfig": {"destination": destination, "roleArn": bench.account.read_requirement("ROLE_ARN")},
        "sharedAudienceMetrics": ["ALL"],
        "tags": bench.tags,
    }


def create(bench: Bench, request: dict[str, Any]) -> Outcome:
    """Send a create request."""
    outcome = send_request(lambda: bench.ml.create_configured_audience_model(**request))
    if outcome.response:
        bench.delete_at_end(CONFIGURED_AUDIENCE_MODEL, outcome.response["configuredAudienceModelArn"])
    return outcome


def create_configured_model(bench: Bench) -> str:
    request = build_request(bench)
    return bench.make(
        CleanRoomsMLCreateConfiguredAudienceModelOperator,
        audience_model_arn=request["audienceModelArn"],
        output_config=request["outputConfig"],
        shared_audience_metrics=["ALL"],
    )


def get(arn: str) -> dict[str, Any]:
    return CleanRoomsMLHook().call("get_configured_audience_model", {"configured_audience_model_arn": arn})


def test_create_update_and_delete(bench: Bench) -> None:
    arn = create_configured_model(bench)
    before = get(arn)
    assert remove_claim(before["tags"]) == bench.tags
    update: dict[str, Any] = {"configured_audience_model_arn": arn, "min_matching_seed_size": 30}
    run(CleanRoomsMLUpdateConfiguredAudienceModelOperator(task_id="t", **update))
    after = get(arn)
    assert (after["minMatchingSeedSize"], after["outputConfig"]) == (30, before["outputConfig"])
    for _ in range(2):
        delete(CONFIGURED_AUDIENCE_MODEL, arn)
    with pytest.raises(ResourceNotFoundError):
        get(arn)


def test_policy_is_put_and_deleted(bench: Bench) -> None:
    of: dict[str, Any] = {"configured_audience_model_arn": create_configured_model(bench)}
    arn = of["configured_audience_model_arn"]
    jobs = arn.split(":configured-audience-model/")[0] + ":audience-generation-job/*"
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{arn.split(':')[4]}:root"},
        "Action": "cleanrooms-ml:StartAudienceGenerationJob",
        "Resource": [arn, jobs],
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    put = CleanRoomsMLPutConfiguredAudienceModelPolicyOperator(
        task_id="t", configured_audience_model_policy=json.dumps(policy), **of
    )
    hashed = run(put).result
    response = CleanRoomsMLHook().call("get_configured_audience_model_policy", of)
    assert (response["policyHash"], json.loads(response["configuredAudienceModelPolicy"])) == (hashed, policy)
    run(CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator(task_id="t", **of))
    with pytest.raises(ResourceNotFoundError):
        CleanRoomsMLHook().call("get_configured_audience_model_policy", of)


def test_whether_more_than_twenty_percent_is_allowed(bench: Bench, observe: Observer) -> None:
    sizes = {"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [21, 100]}
    outcome = create(bench, {**build_request(bench), "audienceSizeConfig": sizes})
    observe("a configured audience model with sizes of 21 and 100 percent", ACCEPTED, outcome)


def test_whether_names_are_unique(bench: Bench, observe: Observer) -> None:
    request = build_request(bench)
    assert create(bench, request).word == ACCEPTED
    observe("a second configured audience model of the same name", "ConflictException", create(bench, request))
