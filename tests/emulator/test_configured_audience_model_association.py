"""Configured audience model associations, and what they allow other members to do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.emulator.clocked_world import ClockedWorld, expect_error
from tests.helpers.collaboration import Collaboration, collaborate

NAME = "configuredAudienceModelAssociationName"


def associate(
    world: ClockedWorld, collaboration: Collaboration, model: str, name: str = "a", *, manage: bool = True
) -> str:
    response = world.cleanrooms.create_configured_audience_model_association(
        membershipIdentifier=collaboration.find_membership(world),
        configuredAudienceModelArn=model,
        configuredAudienceModelAssociationName=name,
        manageResourcePolicies=manage,
    )
    return str(response["configuredAudienceModelAssociation"]["id"])


def dissociate(world: ClockedWorld, collaboration: Collaboration, association: str) -> None:
    world.cleanrooms.delete_configured_audience_model_association(
        membershipIdentifier=collaboration.find_membership(world),
        configuredAudienceModelAssociationIdentifier=association,
    )


def read_statements(world: ClockedWorld, model: str) -> list[dict[str, Any]]:
    policy = world.ml.get_configured_audience_model_policy(configuredAudienceModelArn=model)
    statements: list[dict[str, Any]] = json.loads(policy["configuredAudienceModelPolicy"])["Statement"]
    return statements


def configure(world: ClockedWorld, audience_model: str, name: str) -> str:
    response = world.ml.create_configured_audience_model(
        name=name, audienceModelArn=audience_model, outputConfig=world.output, sharedAudienceMetrics=["ALL"]
    )
    return str(response["configuredAudienceModelArn"])


@pytest.fixture
def collaboration_and_model(provider: ClockedWorld, runner: ClockedWorld) -> tuple[Collaboration, str]:
    """A collaboration, and a configured audience model of its creator."""
    provider.build()
    runner.client("s3").create_bucket(Bucket=runner.bucket)
    return collaborate(provider, runner), provider.create_configured_model()


def test_members_see_association_and_may_use_model(
    provider: ClockedWorld, runner: ClockedWorld, collaboration_and_model: tuple[Collaboration, str]
) -> None:
    collaboration, model = collaboration_and_model
    job = {
        "name": "j",
        "configuredAudienceModelArn": model,
        "seedAudience": runner.write_seed(),
        "collaborationId": collaboration.id,
    }
    expect_error("AccessDeniedException", runner.ml.start_audience_generation_job, **job)
    association = associate(provider, collaboration, model)
    [entry] = runner.cleanrooms.list_collaboration_configured_audience_model_associations(
        collaborationIdentifier=collaboration.id
    )["collaborationConfiguredAudienceModelAssociationSummaries"]
    assert (entry["id"], entry["creatorAccountId"]) == (association, provider.account)
    association_of_provider = runner.cleanrooms.get_collaboration_configured_audience_model_association(
        collaborationIdentifier=collaboration.id, configuredAudienceModelAssociationIdentifier=entry["id"]
    )["collaborationConfiguredAudienceModelAssociation"]
    assert association_of_provider["configuredAudienceModelArn"] == model
    expect_error(
        "AccessDeniedException",
        runner.ml.start_audience_generation_job,
        **{**job, "collaborationId": "00000000-0000-0000-0000-000000000000"},
    )
    job_arn = runner.ml.start_audience_generation_job(**job)["audienceGenerationJobArn"]
    assert runner.wait(job_arn)["status"] == "ACTIVE"
    dissociate(provider, collaboration, association)
    expect_error("AccessDeniedException", runner.ml.start_audience_generation_job, **{**job, "name": "j2"})


def test_association_adds_and_removes_one_statement(
    provider: ClockedWorld, runner: ClockedWorld, collaboration_and_model: tuple[Collaboration, str]
) -> None:
    collaboration, model = collaboration_and_model
    existing_statement = {
        "Sid": "own",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "cleanrooms-ml:*",
        "Resource": "*",
    }
    policy_text = json.dumps({"Version": "2012-10-17", "Statement": [existing_statement]})
    put = {"configuredAudienceModelArn": model, "configuredAudienceModelPolicy": policy_text}
    before = provider.ml.put_configured_audience_model_policy(**put)["policyHash"]
    association = associate(provider, collaboration, model)
    first, added = read_statements(provider, model)
    assert first == existing_statement
    assert added["Principal"] == {"AWS": [runner.account]}
    assert added["Action"] == ["cleanrooms-ml:StartAudienceGenerationJob"]
    jobs = f"arn:aws:cleanrooms-ml:us-east-1:{provider.account}:audience-generation-job/*"
    assert added["Resource"] == [model, jobs]
    assert added["Condition"] == {"StringEquals": {"cleanrooms-ml:CollaborationId": collaboration.id}}
    dissociate(provider, collaboration, association)
    assert read_statements(provider, model) == [existing_statement]
    after = provider.ml.get_configured_audience_model_policy(configuredAudienceModelArn=model)
    assert after["policyHash"] == before


def test_policy_is_deleted_with_its_last_statement(
    provider: ClockedWorld, collaboration_and_model: tuple[Collaboration, str]
) -> None:
    collaboration, model = collaboration_and_model
    get_policy = provider.ml.get_configured_audience_model_policy
    association = associate(provider, collaboration, model, manage=False)
    expect_error("ResourceNotFoundException", get_policy, configuredAudienceModelArn=model)
    dissociate(provider, collaboration, association)
    associate(provider, collaboration, model)
    assert len(read_statements(provider, model)) == 1
    provider.cleanrooms.delete_collaboration(collaborationIdentifier=collaboration.id)
    expect_error("ResourceNotFoundException", get_policy, configuredAudienceModelArn=model)


def test_association_is_read_renamed_and_listed(
    provider: ClockedWorld, collaboration_and_model: tuple[Collaboration, str]
) -> None:
    collaboration, model = collaboration_and_model
    membership = {"membershipIdentifier": collaboration.find_membership(provider)}
    models = [model]
    audience_model = provider.ml.get_configured_audience_model(configuredAudienceModelArn=model)["audienceModelArn"]
    models += [configure(provider, audience_model, f"c{index}") for index in range(5)]
    associations = [associate(provider, collaboration, arn, f"a{index}") for index, arn in enumerate(models[:5])]
    error = expect_error(
        "ServiceQuotaExceededException",
        provider.cleanrooms.create_configured_audience_model_association,
        **membership,
        configuredAudienceModelArn=models[5],
        configuredAudienceModelAssociationName="a5",
        manageResourcePolicies=True,
    )
    assert (error["quotaName"], error["quotaValue"]) == ("Configured audience model associations per membership", 5)
    identifiers = {**membership, "configuredAudienceModelAssociationIdentifier": associations[0]}
    expect_error(
        "ConflictException", provider.cleanrooms.update_configured_audience_model_association, **identifiers, name="a1"
    )
    provider.cleanrooms.update_configured_audience_model_association(**identifiers, name="z", description="d")
    association = provider.cleanrooms.get_configured_audience_model_association(**identifiers)[
        "configuredAudienceModelAssociation"
    ]
    assert (association["name"], association["description"], association["manageResourcePolicies"]) == ("z", "d", True)
    for operation, key, members in (
        ("list_configured_audience_model_associations", "configuredAudienceModelAssociationSummaries", membership),
        (
            "list_collaboration_configured_audience_model_associations",
            "collaborationConfiguredAudienceModelAssociationSummaries",
            {"collaborationIdentifier": collaboration.id},
        ),
    ):
        pages = provider.cleanrooms.get_paginator(operation).paginate(**members, PaginationConfig={"PageSize": 2})
        assert [entry["name"] for page in pages for entry in page[key]] == ["z", "a1", "a2", "a3", "a4"]


def test_model_and_name_are_associated_once(
    provider: ClockedWorld, collaboration_and_model: tuple[Collaboration, str]
) -> None:
    collaboration, model = collaboration_and_model
    associate(provider, collaboration, model)
    audience_model = provider.ml.get_configured_audience_model(configuredAudienceModelArn=model)["audienceModelArn"]
    create = provider.cleanrooms.create_configured_audience_model_association
    request = {"membershipIdentifier": collaboration.find_membership(provider), "manageResourcePolicies": False}
    for arn, name in ((model, "b"), (configure(provider, audience_model, "other"), "a")):
        error = expect_error("ConflictException", create, **request, configuredAudienceModelArn=arn, **{NAME: name})
        assert error["reason"] == "ALREADY_EXISTS"


def test_other_accounts_cannot_create_or_read_association(
    provider: ClockedWorld,
    runner: ClockedWorld,
    stranger: ClockedWorld,
    collaboration_and_model: tuple[Collaboration, str],
) -> None:
    collaboration, model = collaboration_and_model
    association = associate(provider, collaboration, model)
    create, members = (
        runner.cleanrooms.create_configured_audience_model_association,
        {"configuredAudienceModelArn": model, NAME: "x", "manageResourcePolicies": False},
    )
    for world in (provider, runner):
        expect_error(
            "ResourceNotFoundException", create, membershipIdentifier=collaboration.find_membership(world), **members
        )
    expect_error(
        "ResourceNotFoundException",
        runner.cleanrooms.get_configured_audience_model_association,
        membershipIdentifier=collaboration.find_membership(runner),
        configuredAudienceModelAssociationIdentifier=association,
    )
    expect_error(
        "AccessDeniedException",
        stranger.cleanrooms.list_collaboration_configured_audience_model_associations,
        collaborationIdentifier=collaboration.id,
    )


def test_association_blocks_membership_and_is_deleted_with_model(
    provider: ClockedWorld, collaboration_and_model: tuple[Collaboration, str]
) -> None:
    collaboration, model = collaboration_and_model
    associate(provider, collaboration, model)
    membership = {"membershipIdentifier": collaboration.find_membership(provider)}
    error = expect_error("ConflictException", provider.cleanrooms.delete_membership, **membership)
    assert (error["reason"], error["resourceType"]) == ("SUBRESOURCES_EXIST", "MEMBERSHIP")
    provider.ml.delete_configured_audience_model(configuredAudienceModelArn=model)
    provider.cleanrooms.delete_membership(**membership)
