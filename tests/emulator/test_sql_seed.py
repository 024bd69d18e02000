"""SQL seeds, and jobs that fail because of an injected fault."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulator.clocked_world import ClockedWorld, expect_error
from tests.helpers.collaboration import Collaboration, collaborate

SQL = "SELECT user_id FROM customers WHERE spent > 100"
COMPUTE = {"worker": {"type": "CR.1X", "number": 16}}


@pytest.fixture
def collaboration(provider: ClockedWorld, runner: ClockedWorld) -> Collaboration:
    """A collaboration of a provider with data and a runner who may query."""
    provider.build()
    return collaborate(provider, runner)


def share_model(provider: ClockedWorld, collaboration: Collaboration) -> str:
    """Create a configured audience model that the other member may use."""
    model = provider.create_configured_model()
    provider.cleanrooms.create_configured_audience_model_association(
        membershipIdentifier=collaboration.find_membership(provider),
        configuredAudienceModelArn=model,
        configuredAudienceModelAssociationName="a",
        manageResourcePolicies=True,
    )
    return model


def build_request(world: ClockedWorld, collaboration: Collaboration, model: str, name: str = "j") -> dict[str, Any]:
    seed = {"roleArn": world.role, "sqlParameters": {"queryString": SQL}, "sqlComputeConfiguration": COMPUTE}
    return {
        "name": name,
        "configuredAudienceModelArn": model,
        "seedAudience": seed,
        "collaborationId": collaboration.id,
    }


def start(world: ClockedWorld, request: dict[str, Any]) -> str:
    return str(world.ml.start_audience_generation_job(**request)["audienceGenerationJobArn"])


def test_job_fails_with_its_query_and_both_errors_quote_it(
    provider: ClockedWorld, runner: ClockedWorld, collaboration: Collaboration
) -> None:
    request = build_request(runner, collaboration, share_model(provider, collaboration))
    job = start(runner, request)
    response = runner.ml.get_audience_generation_job(audienceGenerationJobArn=job)
    assert (response["status"], response["seedAudience"]) == ("CREATE_PENDING", request["seedAudience"])
    identifiers = {
        "membershipIdentifier": collaboration.find_membership(runner),
        "protectedQueryIdentifier": response["protectedQueryIdentifier"],
    }
    for status in ("SUBMITTED", "STARTED"):
        query = runner.cleanrooms.get_protected_query(**identifiers)["protectedQuery"]
        assert query["status"] == status
        runner.advance(101)
    assert (query["sqlParameters"], query["computeConfiguration"]) == ({"queryString": SQL}, COMPUTE)
    response = runner.ml.get_audience_generation_job(audienceGenerationJobArn=job)
    assert (response["status"], response["statusDetails"]["statusCode"]) == ("CREATE_FAILED", "QUERY_FAILED")
    assert SQL in response["statusDetails"]["message"]
    query = runner.cleanrooms.get_protected_query(**identifiers)["protectedQuery"]
    assert query["status"] == "FAILED"
    assert query["error"] == {
        "code": response["statusDetails"]["statusCode"],
        "message": response["statusDetails"]["message"],
    }


def test_model_owner_sees_failure_without_query(
    provider: ClockedWorld, runner: ClockedWorld, collaboration: Collaboration
) -> None:
    start(runner, build_request(runner, collaboration, share_model(provider, collaboration)))
    runner.advance(201)
    [entry] = provider.ml.list_audience_generation_jobs()["audienceGenerationJobs"]
    response = provider.ml.get_audience_generation_job(audienceGenerationJobArn=entry["audienceGenerationJobArn"])
    assert (entry["status"], response["startedBy"]) == ("CREATE_FAILED", runner.account)
    assert "seedAudience" not in response
    assert "protectedQueryIdentifier" not in response
    queries = provider.cleanrooms.list_protected_queries(membershipIdentifier=collaboration.find_membership(provider))
    assert queries["protectedQueries"] == []


def test_job_fails_when_its_query_is_cancelled(
    provider: ClockedWorld, runner: ClockedWorld, collaboration: Collaboration
) -> None:
    job = start(runner, build_request(runner, collaboration, share_model(provider, collaboration)))
    membership = {"membershipIdentifier": collaboration.find_membership(runner)}
    [query] = runner.cleanrooms.list_protected_queries(**membership, status="SUBMITTED")["protectedQueries"]
    runner.cleanrooms.update_protected_query(
        **membership, protectedQueryIdentifier=query["id"], targetStatus="CANCELLED"
    )
    runner.advance(101)
    response = runner.ml.get_audience_generation_job(audienceGenerationJobArn=job)
    assert (response["status"], response["statusDetails"]["statusCode"]) == ("CREATE_FAILED", "QUERY_CANCELLED")


def test_sql_seed_requires_ability_to_query(
    provider: ClockedWorld, runner: ClockedWorld, stranger: ClockedWorld, collaboration: Collaboration
) -> None:
    model = share_model(provider, collaboration)
    request = build_request(runner, collaboration, model)
    s3 = {"dataSource": {"s3Uri": "s3://bucket/seed"}}
    for seed in ({**request["seedAudience"], **s3}, {"roleArn": runner.role}):
        expect_error("ValidationException", start, world=runner, request={**request, "seedAudience": seed})
    expect_error("AccessDeniedException", start, world=stranger, request=build_request(stranger, collaboration, model))
    # The provider may use its own model, but lacks the ability to query.
    expect_error("AccessDeniedException", start, world=provider, request=build_request(provider, collaboration, model))
    outside_collaboration = build_request(provider, collaboration, model)
    del outside_collaboration["collaborationId"]
    expect_error("ValidationException", start, world=provider, request=outside_collaboration)
    queries = runner.cleanrooms.list_protected_queries(membershipIdentifier=collaboration.find_membership(runner))
    assert queries["protectedQueries"] == []


def test_fault_can_quote_query(provider: ClockedWorld, runner: ClockedWorld, collaboration: Collaboration) -> None:
    request = build_request(runner, collaboration, share_model(provider, collaboration))
    runner.add_fault("StartAudienceGenerationJob", "fail_job", code="PARSE_ERROR", message="line 1: {query}")
    response = runner.wait(start(runner, request))
    assert response["statusDetails"] == {"statusCode": "PARSE_ERROR", "message": f"line 1: {SQL}"}


def test_fault_fails_two_jobs_of_its_account(provider: ClockedWorld, runner: ClockedWorld) -> None:
    provider.build()
    runner.build()
    provider.add_fault("CreateAudienceModel", "fail_job", times=2)
    datasets = {world.account: world.create_dataset() for world in (provider, runner)}

    def train(world: ClockedWorld, name: str) -> dict[str, Any]:
        response = world.ml.create_audience_model(name=name, trainingDatasetArn=datasets[world.account])
        return world.wait(response["audienceModelArn"])

    assert train(runner, "m")["status"] == "ACTIVE"
    response = train(provider, "m1")
    assert (response["status"], response["statusDetails"]["statusCode"]) == ("CREATE_FAILED", "FAULT_ON_REQUEST")
    assert [train(provider, name)["status"] for name in ("m2", "m3")] == ["CREATE_FAILED", "ACTIVE"]


def test_export_failed_by_fault_writes_nothing(provider: ClockedWorld) -> None:
    job = provider.build().generate_audience()
    provider.add_fault("StartAudienceExportJob", "fail_job", code="E", message="no")
    size = {"type": "PERCENTAGE", "value": 10}
    provider.ml.start_audience_export_job(name="e", audienceGenerationJobArn=job, audienceSize=size)
    provider.advance(201)
    [entry] = provider.ml.list_audience_export_jobs(audienceGenerationJobArn=job)["audienceExportJobs"]
    assert (entry["status"], entry["statusDetails"]) == ("CREATE_FAILED", {"statusCode": "E", "message": "no"})
    assert provider.client("s3").list_objects_v2(Bucket=provider.bucket, Prefix="audiences").get("KeyCount") == 0
