"""Configured audience model associations, and what they let other members do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.emulator.clocked_world import ClockedWorld, expect_refusal
from tests.helpers.collaboration import Collaboration, collaborate

NAME = "configuredAudienceModelAssociationName"


def associate(world: ClockedWorld, made: Collaboration, model: str, name: str = "a", *, manage: bool = True) -> str:
    answer = world.rooms.create_configured_audience_model_association(
        membershipIdentifier=made.find_membership(world),
        configuredAudienceModelArn=model,
        configuredAudienceModelAssociationName=name,
        manageResourcePolicies=manage,
    )
    return str(answer["configuredAudienceModelAssociation"]["id"])


def dissociate(world: ClockedWorld, made: Collaboration, association: str) -> None:
    world.rooms.delete_configured_audience_model_association(
        membershipIdentifier=made.find_membership(world), configuredAudienceModelAssociationIdentifier=association
    )


def policy(world: ClockedWorld, model: str) -> list[dict[str, Any]]:
    found = world.ml.get_configured_audience_model_policy(configuredAudienceModelArn=model)
    statements: list[dict[str, Any]] = json.loads(found["configuredAudienceModelPolicy"])["Statement"]
    return statements


def configure(world: ClockedWorld, trained: str, name: str) -> str:
    made = world.ml.create_configured_audience_model(
        name=name, audienceModelArn=trained, outputConfig=world.output, sharedAudienceMetrics=["ALL"]
    )
    return str(made["configuredAudienceModelArn"])


@pytest.fixture
def shared(provider: ClockedWorld, runner: ClockedWorld) -> tuple[Collaboration, str]:
    """A collaboration, and a configured audience model of its creator."""
    provider.build()
    runner.client("s3").create_bucket(Bucket=runner.bucket)
    return collaborate(provider, runner), provider.create_configured_model()


def test_both_find_it_and_the_other_may_use_the_model(
    provider: ClockedWorld, runner: ClockedWorld, shared: tuple[Collaboration, str]
) -> None:
    made, model = shared
    job = {
        "name": "j",
        "configuredAudienceModelArn": model,
        "seedAudience": runner.write_seed(),
        "collaborationId": made.id,
    }
    expect_refusal("AccessDeniedException", runner.ml.start_audience_generation_job, **job)
    association = associate(provider, made, model)
    [entry] = runner.rooms.list_collaboration_configured_audience_model_associations(collaborationIdentifier=made.id)[
        "collaborationConfiguredAudienceModelAssociationSummaries"
    ]
    assert (entry["id"], entry["creatorAccountId"]) == (association, provider.account)
    found = runner.rooms.get_collaboration_configured_audience_model_association(
        collaborationIdentifier=made.id, configuredAudienceModelAssociationIdentifier=entry["id"]
    )["collaborationConfiguredAudienceModelAssociation"]
    assert found["configuredAudienceModelArn"] == model
    expect_refusal(
        "AccessDeniedException",
        runner.ml.start_audience_generation_job,
        **{**job, "collaborationId": "00000000-0000-0000-0000-000000000000"},
    )
    started = runner.ml.start_audience_generation_job(**job)["audienceGenerationJobArn"]
    assert runner.wait(started)["status"] == "ACTIVE"
    dissociate(provider, made, association)
    expect_refusal("AccessDeniedException", runner.ml.start_audience_generation_job, **{**job, "name": "j2"})


def test_only_its_own_statement_is_added_and_removed(
    provider: ClockedWorld, runner: ClockedWorld, shared: tuple[Collaboration, str]
) -> None:
    made, model = shared
    own = {"Sid": "own", "Effect": "Deny", "Principal": "*", "Action": "cleanrooms-ml:*", "Resource": "*"}
    text = json.dumps({"Version": "2012-10-17", "Statement": [own]})
    put = {"configuredAudienceModelArn": model, "configuredAudienceModelPolicy": text}
    before = provider.ml.put_configured_audience_model_policy(**put)["policyHash"]
    association = associate(provider, made, model)
    kept, added = policy(provider, model)
    assert kept == own
    assert added["Principal"] == {"AWS": [runner.account]}
    assert added["Action"] == ["cleanrooms-ml:StartAudienceGenerationJob"]
    jobs = f"arn:aws:cleanrooms-ml:us-east-1:{provider.account}:audience-generation-job/*"
    assert added["Resource"] == [model, jobs]
    assert added["Condition"] == {"StringEquals": {"cleanrooms-ml:CollaborationId": made.id}}
    dissociate(provider, made, association)
    assert policy(provider, model) == [own]
    after = provider.ml.get_configured_audience_model_policy(configuredAudienceModelArn=model)
    assert after["policyHash"] == before


def test_the_policy_is_deleted_with_its_last_statement(
    provider: ClockedWorld, shared: tuple[Collaboration, str]
) -> None:
    made, model = shared
    missing = provider.ml.get_configured_audience_model_policy
    association = associate(provider, made, model, manage=False)
    expect_refusal("ResourceNotFoundException", missing, configuredAudienceModelArn=model)
    dissociate(provider, made, association)
    associate(provider, made, model)
    assert len(policy(provider, model)) == 1
    provider.rooms.delete_collaboration(collaborationIdentifier=made.id)
    expect_refusal("ResourceNotFoundException", missing, configuredAudienceModelArn=model)


def test_it_is_read_renamed_and_listed_in_pages(provider: ClockedWorld, shared: tuple[Collaboration, str]) -> None:
    made, model = shared
    of = {"membershipIdentifier": made.find_membership(provider)}
    models = [model]
    trained = provider.ml.get_configured_audience_model(configuredAudienceModelArn=model)["audienceModelArn"]
    models += [configure(provider, trained, f"c{index}") for index in range(5)]
    made_here = [associate(provider, made, arn, f"a{index}") for index, arn in enumerate(models[:5])]
    full = expect_refusal(
        "ServiceQuotaExceededException",
        provider.rooms.create_configured_audience_model_association,
        **of,
        configuredAudienceModelArn=models[5],
        configuredAudienceModelAssociationName="a5",
        manageResourcePolicies=True,
    )
    assert (full["quotaName"], full["quotaValue"]) == ("Configured audience model associations per membership", 5)
    rename = {**of, "configuredAudienceModelAssociationIdentifier": made_here[0]}
    expect_refusal(
        "ConflictException", provider.rooms.update_configured_audience_model_association, **rename, name="a1"
    )
    provider.rooms.update_configured_audience_model_association(**rename, name="z", description="d")
    found = provider.rooms.get_configured_audience_model_association(**rename)["configuredAudienceModelAssociation"]
    assert (found["name"], found["description"], found["manageResourcePolicies"]) == ("z", "d", True)
    for operation, key, members in (
        ("list_configured_audience_model_associations", "configuredAudienceModelAssociationSummaries", of),
        (
            "list_collaboration_configured_audience_model_associations",
            "collaborationConfiguredAudienceModelAssociationSummaries",
            {"collaborationIdentifier": made.id},
        ),
    ):
        pages = provider.rooms.get_paginator(operation).paginate(**members, PaginationConfig={"PageSize": 2})
        assert [entry["name"] for page in pages for entry in page[key]] == ["z", "a1", "a2", "a3", "a4"]


def test_a_model_and_a_name_are_associated_once(provider: ClockedWorld, shared: tuple[Collaboration, str]) -> None:
    made, model = shared
    associate(provider, made, model)
    trained = provider.ml.get_configured_audience_model(configuredAudienceModelArn=model)["audienceModelArn"]
    create = provider.rooms.create_configured_audience_model_association
    of = {"membershipIdentifier": made.find_membership(provider), "manageResourcePolicies": False}
    for arn, name in ((model, "b"), (configure(provider, trained, "other"), "a")):
        answer = expect_refusal("ConflictException", create, **of, configuredAudienceModelArn=arn, **{NAME: name})
        assert answer["reason"] == "ALREADY_EXISTS"


def test_others_cannot_associate_nor_read_what_is_not_theirs(
    provider: ClockedWorld, runner: ClockedWorld, stranger: ClockedWorld, shared: tuple[Collaboration, str]
) -> None:
    made, model = shared
    association = associate(provider, made, model)
    create, members = (
        runner.rooms.create_configured_audience_model_association,
        {"configuredAudienceModelArn": model, NAME: "x", "manageResourcePolicies": False},
    )
    for world in (provider, runner):
        expect_refusal("ResourceNotFoundException", create, membershipIdentifier=made.find_membership(world), **members)
    expect_refusal(
        "ResourceNotFoundException",
        runner.rooms.get_configured_audience_model_association,
        membershipIdentifier=made.find_membership(runner),
        configuredAudienceModelAssociationIdentifier=association,
    )
    expect_refusal(
        "AccessDeniedException",
        stranger.rooms.list_collaboration_configured_audience_model_associations,
        collaborationIdentifier=made.id,
    )


def test_it_is_deleted_with_its_model_and_blocks_its_membership(
    provider: ClockedWorld, shared: tuple[Collaboration, str]
) -> None:
    made, model = shared
    associate(provider, made, model)
    leave = {"membershipIdentifier": made.find_membership(provider)}
    answer = expect_refusal("ConflictException", provider.rooms.delete_membership, **leave)
    assert (answer["reason"], answer["resourceType"]) == ("SUBRESOURCES_EXIST", "MEMBERSHIP")
    provider.ml.delete_configured_audience_model(configuredAudienceModelArn=model)
    provider.rooms.delete_membership(**leave)
