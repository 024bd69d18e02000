from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_cleanroomsml.exceptions import AccessDeniedError, ValidationError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator,
    CleanRoomsMLPutConfiguredAudienceModelPolicyOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)
from tests.helpers.collaboration import collaborate
from tests.support import Run, World, run

COLLABORATION = "12345678-1234-1234-1234-123456789012"


def build_policy(arn: str, account: str, collaboration: str = COLLABORATION) -> str:
    """Build the policy of the user guide, page ml-behaviors."""
    job = arn.rsplit(":", 1)[0] + ":audience-generation-job/*"
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": [account]},
                    "Action": "cleanrooms-ml:StartAudienceGenerationJob",
                    "Resource": [arn, job],
                    "Condition": {"StringEquals": {"cleanrooms-ml:CollaborationId": collaboration}},
                }
            ],
        }
    )


def put(arn: str, text: str, **more: Any) -> Any:
    task = CleanRoomsMLPutConfiguredAudienceModelPolicyOperator(
        task_id="t", configured_audience_model_arn=arn, configured_audience_model_policy=text, **more
    )
    return run(task).result


def test_put_returns_hash_for_next_put(world: World) -> None:
    arn = world.create_configured_model()
    first = put(arn, build_policy(arn, "111111111111"), policy_existence_condition="POLICY_MUST_NOT_EXIST")
    second = put(arn, build_policy(arn, "222222222222"), previous_policy_hash=first)
    response = world.ml.get_configured_audience_model_policy(configuredAudienceModelArn=arn)
    assert response["policyHash"] == second
    assert "222222222222" in response["configuredAudienceModelPolicy"]
    with pytest.raises(ValidationError, match="previousPolicyHash"):
        put(arn, build_policy(arn, "333333333333"), previous_policy_hash=first)


def test_second_delete_succeeds(world: World) -> None:
    arn = world.create_configured_model()
    put(arn, build_policy(arn, "111111111111"))
    for _ in range(2):
        run(CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator(task_id="t", configured_audience_model_arn=arn))
    with pytest.raises(world.ml.exceptions.ResourceNotFoundException):
        world.ml.get_configured_audience_model_policy(configuredAudienceModelArn=arn)


def test_policy_lets_partner_start_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    partner = World(world.emulator)
    partner.client("s3").create_bucket(Bucket=partner.bucket)
    arn, collaboration = world.create_configured_model(), collaborate(world, partner).id
    for name, account in (("owner", world.account), ("partner", partner.account)):
        connection = {"conn_type": "aws", "login": account, "password": "secret"}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))

    def start(**more: Any) -> Run:
        seed: Any = partner.write_seed()
        task = CleanRoomsMLStartAudienceGenerationJobOperator(
            task_id="t",
            name="segment",
            configured_audience_model_arn=arn,
            seed_audience=seed,
            aws_conn_id="partner",
            waiter_delay=1,
            **more,
        )
        return run(task)

    with pytest.raises(AccessDeniedError, match=f"{partner.account} is not authorized"):
        start(collaboration_id=collaboration)
    put(arn, build_policy(arn, partner.account, collaboration), aws_conn_id="owner")
    with pytest.raises(AccessDeniedError, match="collaborationId"):
        start()
    task_run = start(collaboration_id=collaboration)
    assert task_run.result.split(":")[4] == partner.account
    assert task_run.pushed["metrics"]["recallMetric"] > 0

    (owner_entry,) = world.ml.list_audience_generation_jobs(configuredAudienceModelArn=arn)["audienceGenerationJobs"]
    assert owner_entry["name"] == f"{partner.account}-segment"
    assert owner_entry["startedBy"] == partner.account
    assert owner_entry["audienceGenerationJobArn"].split(":")[4] == world.account
    owner_job = world.ml.get_audience_generation_job(audienceGenerationJobArn=owner_entry["audienceGenerationJobArn"])
    assert "seedAudience" not in owner_job
    with pytest.raises(world.ml.exceptions.ResourceNotFoundException):
        world.ml.get_audience_generation_job(audienceGenerationJobArn=task_run.result)
