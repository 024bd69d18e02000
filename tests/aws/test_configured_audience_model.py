"""Configured audience models of an audience model that is there already."""

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
from tests.aws.observations import ACCEPTED, Observer, Outcome, outcome
from tests.support import remove_claim, run


def members(bench: Bench) -> dict[str, Any]:
    """A request in the API's own spelling."""
    uri = f"s3://{bench.account.needed('BUCKET')}/{bench.name()}"
    destination = {"s3Destination": {"s3Uri": uri}}
    return {
        "name": bench.name(),
        "audienceModelArn": bench.account.needed("AUDIENCE_MODEL_ARN"),
        "outputConfig": {"destination": destination, "roleArn": bench.account.needed("ROLE_ARN")},
        "sharedAudienceMetrics": ["ALL"],
        "tags": bench.tags,
    }


def create(bench: Bench, given: dict[str, Any]) -> Outcome:
    """How a request is answered."""
    seen = outcome(lambda: bench.ml.create_configured_audience_model(**given))
    if seen.answer:
        bench.deleted_at_end(CONFIGURED_AUDIENCE_MODEL, seen.answer["configuredAudienceModelArn"])
    return seen


def configured(bench: Bench) -> str:
    given = members(bench)
    return bench.make(
        CleanRoomsMLCreateConfiguredAudienceModelOperator,
        audience_model_arn=given["audienceModelArn"],
        output_config=given["outputConfig"],
        shared_audience_metrics=["ALL"],
    )


def get(arn: str) -> dict[str, Any]:
    return CleanRoomsMLHook().call("get_configured_audience_model", {"configured_audience_model_arn": arn})


def test_it_is_made_changed_and_deleted(bench: Bench) -> None:
    arn = configured(bench)
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


def test_its_policy_is_put_and_deleted(bench: Bench) -> None:
    of: dict[str, Any] = {"configured_audience_model_arn": configured(bench)}
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
    found = CleanRoomsMLHook().call("get_configured_audience_model_policy", of)
    assert (found["policyHash"], json.loads(found["configuredAudienceModelPolicy"])) == (hashed, policy)
    run(CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator(task_id="t", **of))
    with pytest.raises(ResourceNotFoundError):
        CleanRoomsMLHook().call("get_configured_audience_model_policy", of)


def test_whether_more_than_twenty_percent_is_allowed(bench: Bench, observe: Observer) -> None:
    sizes = {"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [21, 100]}
    seen = create(bench, {**members(bench), "audienceSizeConfig": sizes})
    observe("a configured audience model with sizes of 21 and 100 percent", ACCEPTED, seen)


def test_whether_its_name_is_unique(bench: Bench, observe: Observer) -> None:
    given = members(bench)
    assert create(bench, given).word == ACCEPTED
    observe("a second configured audience model of the same name", "ConflictException", create(bench, given))
