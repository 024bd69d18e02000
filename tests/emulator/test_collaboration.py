"""Collaborations and memberships of two accounts, over real boto3."""

from __future__ import annotations

from tests.emulator.clocked_world import ClockedWorld, expect_refusal
from tests.helpers.collaboration import collaborate, join_collaboration

NOWHERE = "00000000-0000-0000-0000-000000000000"
COLLABORATION = {
    "name": "c",
    "description": "d",
    "creatorMemberAbilities": [],
    "creatorDisplayName": "creator",
    "queryLogStatus": "DISABLED",
}


def invite(creator: ClockedWorld, *others: ClockedWorld) -> str:
    members = [{"accountId": w.account, "memberAbilities": ["CAN_QUERY"], "displayName": w.account} for w in others]
    return str(creator.rooms.create_collaboration(members=members, **COLLABORATION)["collaboration"]["id"])


def test_the_creator_is_the_first_member(provider: ClockedWorld, runner: ClockedWorld) -> None:
    identifier = invite(provider, runner)
    for world in (provider, runner):
        found = world.rooms.get_collaboration(collaborationIdentifier=identifier)["collaboration"]
        assert (found["memberStatus"], found["creatorAccountId"]) == ("INVITED", provider.account)
        assert "membershipId" not in found
        membership = join_collaboration(world, identifier)
        found = world.rooms.get_collaboration(collaborationIdentifier=identifier)["collaboration"]
        assert (found["memberStatus"], found["membershipId"]) == ("ACTIVE", membership)
        assert found["membershipArn"] == f"arn:aws:cleanrooms:us-east-1:{world.account}:membership/{membership}"


def test_members_are_listed_with_their_abilities(provider: ClockedWorld, runner: ClockedWorld) -> None:
    made = collaborate(provider, runner)
    found = runner.rooms.list_members(collaborationIdentifier=made.id)["memberSummaries"]
    assert [entry["accountId"] for entry in found] == [provider.account, runner.account]
    assert [entry["status"] for entry in found] == ["ACTIVE", "ACTIVE"]
    assert [entry["membershipId"] for entry in found] == [made.find_membership(provider), made.find_membership(runner)]
    assert [entry["abilities"] for entry in found] == [[], ["CAN_QUERY", "CAN_RECEIVE_RESULTS"]]
    abilities = [entry["mlAbilities"]["customMLMemberAbilities"] for entry in found]
    assert abilities == [["CAN_RECEIVE_MODEL_OUTPUT"], ["CAN_RECEIVE_MODEL_OUTPUT", "CAN_RECEIVE_INFERENCE_OUTPUT"]]
    assert [entry["paymentConfiguration"]["queryCompute"]["isResponsible"] for entry in found] == [False, True]
    one = runner.rooms.list_members(collaborationIdentifier=made.id, maxResults=1)
    two = runner.rooms.list_members(collaborationIdentifier=made.id, nextToken=one["nextToken"])
    assert [*one["memberSummaries"], *two["memberSummaries"]] == found


def test_accounts_outside_of_the_collaboration_see_nothing(provider: ClockedWorld, stranger: ClockedWorld) -> None:
    made = collaborate(provider)
    for identifier in (made.id, NOWHERE):
        of = {"collaborationIdentifier": identifier}
        expect_refusal("AccessDeniedException", stranger.rooms.get_collaboration, **of)
        expect_refusal("AccessDeniedException", stranger.rooms.delete_collaboration, **of)
        expect_refusal("AccessDeniedException", stranger.rooms.list_members, **of)
    expect_refusal(
        "AccessDeniedException",
        stranger.rooms.create_membership,
        collaborationIdentifier=made.id,
        queryLogStatus="DISABLED",
    )
    answer = expect_refusal(
        "ResourceNotFoundException", stranger.rooms.get_membership, membershipIdentifier=made.find_membership(provider)
    )
    assert (answer["resourceId"], answer["resourceType"]) == (made.find_membership(provider), "MEMBERSHIP")
    expect_refusal(
        "ResourceNotFoundException",
        stranger.rooms.delete_membership,
        membershipIdentifier=made.find_membership(provider),
    )
    assert stranger.rooms.list_collaborations()["collaborationList"] == []
    assert stranger.rooms.list_memberships()["membershipSummaries"] == []


def test_collaborations_are_listed_by_status_and_in_pages(provider: ClockedWorld, runner: ClockedWorld) -> None:
    first, second, third = (invite(provider, runner) for _ in range(3))
    join_collaboration(runner, second)

    def listed(**members: str) -> list[str]:
        pages = runner.rooms.get_paginator("list_collaborations").paginate(PaginationConfig={"PageSize": 1}, **members)
        return [entry["id"] for page in pages for entry in page["collaborationList"]]

    assert listed() == [first, second, third]
    assert listed(memberStatus="INVITED") == [first, third]
    assert listed(memberStatus="ACTIVE") == [second]


def test_an_invitation_is_accepted_once(provider: ClockedWorld, runner: ClockedWorld) -> None:
    made = collaborate(provider, runner)
    again = {"collaborationIdentifier": made.id, "queryLogStatus": "DISABLED"}
    answer = expect_refusal("ConflictException", runner.rooms.create_membership, **again)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 409
    assert (answer["reason"], answer["resourceId"]) == ("ALREADY_EXISTS", made.find_membership(runner))
    runner.rooms.delete_membership(membershipIdentifier=made.find_membership(runner))
    expect_refusal("AccessDeniedException", runner.rooms.create_membership, **again)
    expect_refusal(
        "ResourceNotFoundException", runner.rooms.get_membership, membershipIdentifier=made.find_membership(runner)
    )
    members = provider.rooms.list_members(collaborationIdentifier=made.id)["memberSummaries"]
    assert [entry["status"] for entry in members] == ["ACTIVE", "LEFT"]
    expect_refusal("AccessDeniedException", runner.rooms.get_collaboration, collaborationIdentifier=made.id)
    assert runner.rooms.list_collaborations()["collaborationList"] == []


def test_a_membership_outlives_its_collaboration(provider: ClockedWorld, runner: ClockedWorld) -> None:
    made = collaborate(provider, runner)
    expect_refusal("AccessDeniedException", runner.rooms.delete_collaboration, collaborationIdentifier=made.id)
    provider.rooms.delete_collaboration(collaborationIdentifier=made.id)
    for world in (provider, runner):
        expect_refusal("AccessDeniedException", world.rooms.get_collaboration, collaborationIdentifier=made.id)
        found = world.rooms.get_membership(membershipIdentifier=made.find_membership(world))["membership"]
        assert (found["status"], found["collaborationId"]) == ("COLLABORATION_DELETED", made.id)
        assert world.rooms.list_memberships(status="ACTIVE")["membershipSummaries"] == []
        left = world.rooms.list_memberships(status="COLLABORATION_DELETED")["membershipSummaries"]
        assert [entry["id"] for entry in left] == [made.find_membership(world)]
        world.rooms.delete_membership(membershipIdentifier=made.find_membership(world))
        assert world.rooms.list_memberships()["membershipSummaries"] == []


def test_an_account_is_listed_once(provider: ClockedWorld, runner: ClockedWorld) -> None:
    for twice in ((runner, runner), (provider,)):
        answer = expect_refusal("ValidationException", lambda twice=twice: invite(provider, *twice))
        assert answer["reason"] == "INVALID_CONFIGURATION"


def test_a_violation_of_the_model_has_its_reason(provider: ClockedWorld) -> None:
    answer = expect_refusal("ValidationException", provider.rooms.get_membership, membershipIdentifier="x" * 36)
    assert answer["reason"] == "FIELD_VALIDATION_FAILED"
    assert "membershipIdentifier" in answer["Error"]["Message"]


def test_collaborations_and_memberships_have_tags(provider: ClockedWorld, stranger: ClockedWorld) -> None:
    made = collaborate(provider)
    arns = [
        provider.rooms.get_collaboration(collaborationIdentifier=made.id)["collaboration"]["arn"],
        provider.rooms.get_membership(membershipIdentifier=made.find_membership(provider))["membership"]["arn"],
    ]
    for arn in arns:
        provider.rooms.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
        provider.rooms.untag_resource(resourceArn=arn, tagKeys=["a"])
        assert provider.rooms.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "2"}
        expect_refusal("ResourceNotFoundException", stranger.rooms.list_tags_for_resource, resourceArn=arn)


def test_the_internal_error_has_the_name_of_clean_rooms(provider: ClockedWorld) -> None:
    provider.add_fault("ListMemberships", "server_error", times=10)
    answer = expect_refusal("InternalServerException", provider.rooms.list_memberships)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 500
