"""Collaborations and memberships of two accounts, over real boto3."""

from __future__ import annotations

from tests.emulator.clocked_world import ClockedWorld, expect_error
from tests.helpers.collaboration import collaborate, join_collaboration

UNKNOWN_ID = "00000000-0000-0000-0000-000000000000"
COLLABORATION = {
    "name": "c",
    "description": "d",
    "creatorMemberAbilities": [],
    "creatorDisplayName": "creator",
    "queryLogStatus": "DISABLED",
}


def invite(creator: ClockedWorld, *others: ClockedWorld) -> str:
    members = [{"accountId": w.account, "memberAbilities": ["CAN_QUERY"], "displayName": w.account} for w in others]
    return str(creator.cleanrooms.create_collaboration(members=members, **COLLABORATION)["collaboration"]["id"])


def test_invitation_becomes_membership(provider: ClockedWorld, runner: ClockedWorld) -> None:
    identifier = invite(provider, runner)
    for world in (provider, runner):
        collaboration = world.cleanrooms.get_collaboration(collaborationIdentifier=identifier)["collaboration"]
        assert (collaboration["memberStatus"], collaboration["creatorAccountId"]) == ("INVITED", provider.account)
        assert "membershipId" not in collaboration
        membership = join_collaboration(world, identifier)
        collaboration = world.cleanrooms.get_collaboration(collaborationIdentifier=identifier)["collaboration"]
        assert (collaboration["memberStatus"], collaboration["membershipId"]) == ("ACTIVE", membership)
        assert collaboration["membershipArn"] == f"arn:aws:cleanrooms:us-east-1:{world.account}:membership/{membership}"


def test_members_are_listed_with_abilities(provider: ClockedWorld, runner: ClockedWorld) -> None:
    collaboration = collaborate(provider, runner)
    members = runner.cleanrooms.list_members(collaborationIdentifier=collaboration.id)["memberSummaries"]
    assert [entry["accountId"] for entry in members] == [provider.account, runner.account]
    assert [entry["status"] for entry in members] == ["ACTIVE", "ACTIVE"]
    assert [entry["membershipId"] for entry in members] == [
        collaboration.find_membership(provider),
        collaboration.find_membership(runner),
    ]
    assert [entry["abilities"] for entry in members] == [[], ["CAN_QUERY", "CAN_RECEIVE_RESULTS"]]
    abilities = [entry["mlAbilities"]["customMLMemberAbilities"] for entry in members]
    assert abilities == [["CAN_RECEIVE_MODEL_OUTPUT"], ["CAN_RECEIVE_MODEL_OUTPUT", "CAN_RECEIVE_INFERENCE_OUTPUT"]]
    assert [entry["paymentConfiguration"]["queryCompute"]["isResponsible"] for entry in members] == [False, True]
    first_page = runner.cleanrooms.list_members(collaborationIdentifier=collaboration.id, maxResults=1)
    second_page = runner.cleanrooms.list_members(
        collaborationIdentifier=collaboration.id, nextToken=first_page["nextToken"]
    )
    assert [*first_page["memberSummaries"], *second_page["memberSummaries"]] == members


def test_accounts_outside_collaboration_see_nothing(provider: ClockedWorld, stranger: ClockedWorld) -> None:
    collaboration = collaborate(provider)
    for identifier in (collaboration.id, UNKNOWN_ID):
        request = {"collaborationIdentifier": identifier}
        expect_error("AccessDeniedException", stranger.cleanrooms.get_collaboration, **request)
        expect_error("AccessDeniedException", stranger.cleanrooms.delete_collaboration, **request)
        expect_error("AccessDeniedException", stranger.cleanrooms.list_members, **request)
    expect_error(
        "AccessDeniedException",
        stranger.cleanrooms.create_membership,
        collaborationIdentifier=collaboration.id,
        queryLogStatus="DISABLED",
    )
    error = expect_error(
        "ResourceNotFoundException",
        stranger.cleanrooms.get_membership,
        membershipIdentifier=collaboration.find_membership(provider),
    )
    assert (error["resourceId"], error["resourceType"]) == (collaboration.find_membership(provider), "MEMBERSHIP")
    expect_error(
        "ResourceNotFoundException",
        stranger.cleanrooms.delete_membership,
        membershipIdentifier=collaboration.find_membership(provider),
    )
    assert stranger.cleanrooms.list_collaborations()["collaborationList"] == []
    assert stranger.cleanrooms.list_memberships()["membershipSummaries"] == []


def test_collaborations_are_listed_by_status_and_page(provider: ClockedWorld, runner: ClockedWorld) -> None:
    first, second, third = (invite(provider, runner) for _ in range(3))
    join_collaboration(runner, second)

    def list_identifiers(**members: str) -> list[str]:
        pages = runner.cleanrooms.get_paginator("list_collaborations").paginate(
            PaginationConfig={"PageSize": 1}, **members
        )
        return [entry["id"] for page in pages for entry in page["collaborationList"]]

    assert list_identifiers() == [first, second, third]
    assert list_identifiers(memberStatus="INVITED") == [first, third]
    assert list_identifiers(memberStatus="ACTIVE") == [second]


def test_invitation_is_accepted_once(provider: ClockedWorld, runner: ClockedWorld) -> None:
    collaboration = collaborate(provider, runner)
    request = {"collaborationIdentifier": collaboration.id, "queryLogStatus": "DISABLED"}
    error = expect_error("ConflictException", runner.cleanrooms.create_membership, **request)
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 409
    assert (error["reason"], error["resourceId"]) == ("ALREADY_EXISTS", collaboration.find_membership(runner))
    runner.cleanrooms.delete_membership(membershipIdentifier=collaboration.find_membership(runner))
    expect_error("AccessDeniedException", runner.cleanrooms.create_membership, **request)
    expect_error(
        "ResourceNotFoundException",
        runner.cleanrooms.get_membership,
        membershipIdentifier=collaboration.find_membership(runner),
    )
    members = provider.cleanrooms.list_members(collaborationIdentifier=collaboration.id)["memberSummaries"]
    assert [entry["status"] for entry in members] == ["ACTIVE", "LEFT"]
    expect_error("AccessDeniedException", runner.cleanrooms.get_collaboration, collaborationIdentifier=collaboration.id)
    assert runner.cleanrooms.list_collaborations()["collaborationList"] == []


def test_membership_outlives_its_collaboration(provider: ClockedWorld, runner: ClockedWorld) -> None:
    collaboration = collaborate(provider, runner)
    expect_error(
        "AccessDeniedException", runner.cleanrooms.delete_collaboration, collaborationIdentifier=collaboration.id
    )
    provider.cleanrooms.delete_collaboration(collaborationIdentifier=collaboration.id)
    for world in (provider, runner):
        expect_error(
            "AccessDeniedException", world.cleanrooms.get_collaboration, collaborationIdentifier=collaboration.id
        )
        membership = world.cleanrooms.get_membership(membershipIdentifier=collaboration.find_membership(world))[
            "membership"
        ]
        assert (membership["status"], membership["collaborationId"]) == ("COLLABORATION_DELETED", collaboration.id)
        assert world.cleanrooms.list_memberships(status="ACTIVE")["membershipSummaries"] == []
        memberships = world.cleanrooms.list_memberships(status="COLLABORATION_DELETED")["membershipSummaries"]
        assert [entry["id"] for entry in memberships] == [collaboration.find_membership(world)]
        world.cleanrooms.delete_membership(membershipIdentifier=collaboration.find_membership(world))
        assert world.cleanrooms.list_memberships()["membershipSummaries"] == []


def test_duplicate_member_is_rejected(provider: ClockedWorld, runner: ClockedWorld) -> None:
    for members in ((runner, runner), (provider,)):
        error = expect_error("ValidationException", lambda members=members: invite(provider, *members))
        assert error["reason"] == "INVALID_CONFIGURATION"


def test_model_violation_has_a_reason(provider: ClockedWorld) -> None:
    error = expect_error("ValidationException", provider.cleanrooms.get_membership, membershipIdentifier="x" * 36)
    assert error["reason"] == "FIELD_VALIDATION_FAILED"
    assert "membershipIdentifier" in error["Error"]["Message"]


def test_collaborations_and_memberships_have_tags(provider: ClockedWorld, stranger: ClockedWorld) -> None:
    collaboration = collaborate(provider)
    arns = [
        provider.cleanrooms.get_collaboration(collaborationIdentifier=collaboration.id)["collaboration"]["arn"],
        provider.cleanrooms.get_membership(membershipIdentifier=collaboration.find_membership(provider))["membership"][
            "arn"
        ],
    ]
    for arn in arns:
        provider.cleanrooms.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
        provider.cleanrooms.untag_resource(resourceArn=arn, tagKeys=["a"])
        assert provider.cleanrooms.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "2"}
        expect_error("ResourceNotFoundException", stranger.cleanrooms.list_tags_for_resource, resourceArn=arn)


def test_internal_error_has_name_of_clean_rooms(provider: ClockedWorld) -> None:
    provider.add_fault("ListMemberships", "server_error", times=10)
    error = expect_error("InternalServerException", provider.cleanrooms.list_memberships)
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 500
