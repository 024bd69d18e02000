"""SQL seeds, and jobs that fail because of an injected fault."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.clocked_world import ClockedWorld, expect_refusal
from tests.helpers.collaboration import Collaboration, collaborate

SQL = "SELECT user_id FROM customers WHERE spent > 100"
COMPUTE = {"worker": {"type": "CR.1X", "number": 16}}


@pytest.fixture
def made(provider: ClockedWorld, runner: ClockedWorld) -> Collaboration:
    """Of a provider with data, and of who queries."""
    provider.build()
    return collaborate(provider, runner)


def shared(provider: ClockedWorld, made: Collaboration) -> str:
    """A configured audience model that the other member may use."""
    model = provider.create_configured_model()
    provider.rooms.create_configured_audience_model_association(
        membershipIdentifier=made.find_membership(provider),
        configuredAudienceModelArn=model,
        configuredAudienceModelAssociationName="a",
        manageResourcePolicies=True,
    )
    return model


def request(world: ClockedWorld, made: Collaboration, model: str, name: str = "j") -> dict[str, Any]:
    seed = {"roleArn": world.role, "sqlParameters": {"queryString": SQL}, "sqlComputeConfiguration": COMPUTE}
    return {
        "name": name,
        "configuredAudienceModelArn": model,
        "seedAudience": seed,
        "collaborationId": made.id,
    }


def start(world: ClockedWorld, asked: dict[str, Any]) -> str:
    return str(world.ml.start_audience_generation_job(**asked)["audienceGenerationJobArn"])


def test_a_job_fails_with_its_query_and_both_errors_quote_it(
    provider: ClockedWorld, runner: ClockedWorld, made: Collaboration
) -> None:
    asked = request(runner, made, shared(provider, made))
    job = start(runner, asked)
    found = runner.ml.get_audience_generation_job(audienceGenerationJobArn=job)
    assert (found["status"], found["seedAudience"]) == ("CREATE_PENDING", asked["seedAudience"])
    of = {
        "membershipIdentifier": made.find_membership(runner),
        "protectedQueryIdentifier": found["protectedQueryIdentifier"],
    }
    for status in ("SUBMITTED", "STARTED"):
        query = runner.rooms.get_protected_query(**of)["protectedQuery"]
        assert query["status"] == status
        runner.push(101)
    assert (query["sqlParameters"], query["computeConfiguration"]) == ({"queryString": SQL}, COMPUTE)
    found = runner.ml.get_audience_generation_job(audienceGenerationJobArn=job)
    assert (found["status"], found["statusDetails"]["statusCode"]) == ("CREATE_FAILED", "QUERY_FAILED")
    assert SQL in found["statusDetails"]["message"]
    query = runner.rooms.get_protected_query(**of)["protectedQuery"]
    assert query["status"] == "FAILED"
    assert query["error"] == {
        "code": found["statusDetails"]["statusCode"],
        "message": found["statusDetails"]["message"],
    }


def test_the_model_owner_sees_the_failure_without_the_query(
    provider: ClockedWorld, runner: ClockedWorld, made: Collaboration
) -> None:
    start(runner, request(runner, made, shared(provider, made)))
    runner.push(201)
    [entry] = provider.ml.list_audience_generation_jobs()["audienceGenerationJobs"]
    found = provider.ml.get_audience_generation_job(audienceGenerationJobArn=entry["audienceGenerationJobArn"])
    assert (entry["status"], found["startedBy"]) == ("CREATE_FAILED", runner.account)
    assert "seedAudience" not in found
    assert "protectedQueryIdentifier" not in found
    assert (
        provider.rooms.list_protected_queries(membershipIdentifier=made.find_membership(provider))["protectedQueries"]
        == []
    )


def test_the_job_fails_when_its_query_is_cancelled(
    provider: ClockedWorld, runner: ClockedWorld, made: Collaboration
) -> None:
    job = start(runner, request(runner, made, shared(provider, made)))
    of = {"membershipIdentifier": made.find_membership(runner)}
    [query] = runner.rooms.list_protected_queries(**of, status="SUBMITTED")["protectedQueries"]
    runner.rooms.update_protected_query(**of, protectedQueryIdentifier=query["id"], targetStatus="CANCELLED")
    runner.push(101)
    found = runner.ml.get_audience_generation_job(audienceGenerationJobArn=job)
    assert (found["status"], found["statusDetails"]["statusCode"]) == ("CREATE_FAILED", "QUERY_CANCELLED")


def test_a_sql_seed_requires_the_ability_to_query(
    provider: ClockedWorld, runner: ClockedWorld, stranger: ClockedWorld, made: Collaboration
) -> None:
    model = shared(provider, made)
    asked = request(runner, made, model)
    s3 = {"dataSource": {"s3Uri": "s3://bucket/seed"}}
    for seed in ({**asked["seedAudience"], **s3}, {"roleArn": runner.role}):
        expect_refusal("ValidationException", start, world=runner, asked={**asked, "seedAudience": seed})
    expect_refusal("AccessDeniedException", start, world=stranger, asked=request(stranger, made, model))
    # The provider may use its own model, but has not the ability to query.
    expect_refusal("AccessDeniedException", start, world=provider, asked=request(provider, made, model))
    own = request(provider, made, model)
    del own["collaborationId"]
    expect_refusal("ValidationException", start, world=provider, asked=own)
    assert (
        runner.rooms.list_protected_queries(membershipIdentifier=made.find_membership(runner))["protectedQueries"] == []
    )


def test_a_fault_can_quote_the_query(provider: ClockedWorld, runner: ClockedWorld, made: Collaboration) -> None:
    asked = request(runner, made, shared(provider, made))
    runner.add_fault("StartAudienceGenerationJob", "fail_job", code="PARSE_ERROR", message="line 1: {query}")
    found = runner.wait(start(runner, asked))
    assert found["statusDetails"] == {"statusCode": "PARSE_ERROR", "message": f"line 1: {SQL}"}


def test_a_fault_fails_its_number_of_jobs_in_its_account(provider: ClockedWorld, runner: ClockedWorld) -> None:
    provider.build()
    runner.build()
    provider.add_fault("CreateAudienceModel", "fail_job", times=2)
    datasets = {world.account: world.create_dataset() for world in (provider, runner)}

    def train(world: ClockedWorld, name: str) -> dict[str, Any]:
        made = world.ml.create_audience_model(name=name, trainingDatasetArn=datasets[world.account])
        return world.wait(made["audienceModelArn"])

    assert train(runner, "m")["status"] == "ACTIVE"
    found = train(provider, "m1")
    assert (found["status"], found["statusDetails"]["statusCode"]) == ("CREATE_FAILED", "FAULT_ON_REQUEST")
    assert [train(provider, name)["status"] for name in ("m2", "m3")] == ["CREATE_FAILED", "ACTIVE"]


def test_a_fault_fails_an_export_that_writes_nothing(provider: ClockedWorld) -> None:
    job = provider.build().generate_audience()
    provider.add_fault("StartAudienceExportJob", "fail_job", code="E", message="no")
    size = {"type": "PERCENTAGE", "value": 10}
    provider.ml.start_audience_export_job(name="e", audienceGenerationJobArn=job, audienceSize=size)
    provider.push(201)
    [entry] = provider.ml.list_audience_export_jobs(audienceGenerationJobArn=job)["audienceExportJobs"]
    assert (entry["status"], entry["statusDetails"]) == ("CREATE_FAILED", {"statusCode": "E", "message": "no"})
    assert provider.client("s3").list_objects_v2(Bucket=provider.bucket, Prefix="audiences").get("KeyCount") == 0
