"""Only ACTIVE members may use a collaboration, and only in its region: tested with every operation that requires one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore import xform_name

from airflow_cleanroomsml.emulator.settings import Settings
from tests.emulator.clocked_world import ClockedWorld, expect_error
from tests.emulator.custom_models import Custom, associate, create_algorithm
from tests.emulator.test_wire import OPERATIONS, Draw, service_of
from tests.helpers.collaboration import Collaboration, collaborate, join_collaboration
from tests.helpers.in_process import in_process
from tests.support import make_client

IDENTIFIERS = ("collaborationIdentifier", "collaborationId")
#: Operations that require a collaboration, each with the name of that member.
CASES = [
    (operation, name)
    for operation in OPERATIONS
    for name in IDENTIFIERS
    if operation.input_shape and name in operation.input_shape.required_members
]
#: Operations that an invited account may call before it joins.
OPEN_TO_INVITED = {"GetCollaboration", "ListMembers"}
SLOW = Settings(scale=0.001, pending_seconds=100, progress_seconds=100, delete_seconds=100)
RECEIVER_ABILITIES = {"customMLMemberAbilities": ["CAN_RECEIVE_MODEL_OUTPUT", "CAN_RECEIVE_INFERENCE_OUTPUT"]}


@pytest.fixture(scope="module")
def invitation() -> Iterator[tuple[Custom, ClockedWorld]]:
    """A collaboration whose creator has associated an algorithm, and an account that is invited to it."""
    with in_process(SLOW) as emulator:
        creator, invited = ClockedWorld(emulator), ClockedWorld(emulator)
        identifier = creator.cleanrooms.create_collaboration(
            name="c",
            description="d",
            creatorDisplayName="creator",
            creatorMemberAbilities=["CAN_QUERY"],
            creatorMLMemberAbilities=RECEIVER_ABILITIES,
            members=[
                {
                    "accountId": invited.account,
                    "displayName": "invited",
                    "memberAbilities": [],
                    "mlMemberAbilities": RECEIVER_ABILITIES,
                }
            ],
            queryLogStatus="DISABLED",
        )["collaboration"]["id"]
        collaboration = Collaboration(identifier, {creator.account: join_collaboration(creator, identifier)})
        custom = Custom(
            collaboration,
            creator,
            creator,
            associate(creator, collaboration.find_membership(creator), create_algorithm(creator)),
        )
        yield custom, invited


def call(world: ClockedWorld, operation: Any, region: str = "us-east-1", **arguments: str) -> None:
    """Call an operation with valid members, some of them replaced by the arguments."""
    client = make_client(
        service_of(operation),
        endpoint_url=world.emulator.url,
        region_name=region,
        aws_access_key_id=world.account,
        aws_secret_access_key="secret",
    )
    members = Draw(operation.name, 0).value(operation.input_shape)
    getattr(client, xform_name(operation.name))(**{**members, **arguments})


every_case = pytest.mark.parametrize(("operation", "name"), CASES, ids=[operation.name for operation, _ in CASES])


@every_case
def test_invited_account_is_not_yet_a_member(
    invitation: tuple[Custom, ClockedWorld], operation: Any, name: str
) -> None:
    custom, invited = invitation
    arguments = {name: custom.collaboration.id}
    if operation.name in OPEN_TO_INVITED:
        call(invited, operation, **arguments)
    elif operation.name != "CreateMembership":
        expect_error("AccessDeniedException", call, world=invited, operation=operation, **arguments)


@every_case
def test_collaboration_is_unknown_in_other_regions(
    invitation: tuple[Custom, ClockedWorld], operation: Any, name: str
) -> None:
    custom, _ = invitation
    arguments = {"operation": operation, "region": "eu-west-1", name: custom.collaboration.id}
    code = "ResourceNotFoundException" if operation.name == "CreateMembership" else "AccessDeniedException"
    expect_error(code, call, world=custom.provider, **arguments)


def test_listings_are_limited_to_their_region(invitation: tuple[Custom, ClockedWorld]) -> None:
    custom, invited = invitation
    for world in (custom.provider, invited):
        rooms = make_client(
            "cleanrooms",
            endpoint_url=world.emulator.url,
            region_name="eu-west-1",
            aws_access_key_id=world.account,
            aws_secret_access_key="secret",
        )
        assert rooms.list_collaborations()["collaborationList"] == []
        assert rooms.list_memberships()["membershipSummaries"] == []
        assert [entry["id"] for entry in world.cleanrooms.list_collaborations()["collaborationList"]] == [
            custom.collaboration.id
        ]


def test_invited_account_cannot_receive_output(invitation: tuple[Custom, ClockedWorld]) -> None:
    custom, invited = invitation
    channel = custom.create_channel()
    model = custom.train("m", channel)["trainedModelArn"]
    custom.runner.advance(201)
    output = {"members": [{"accountId": invited.account}]}
    export = {**custom.in_membership, "name": "x", "trainedModelArn": model}
    expect_error(
        "ValidationException", custom.runner.ml.start_trained_model_export_job, **export, outputConfiguration=output
    )
    request = custom.build_inference_request("x", model, channel, outputConfiguration={"accept": "text/csv", **output})
    expect_error("ValidationException", custom.runner.ml.start_trained_model_inference_job, **request)


def test_invited_account_cannot_start_jobs() -> None:
    with in_process(SLOW) as emulator:
        provider, invited = ClockedWorld(emulator), ClockedWorld(emulator)
        provider.build()
        invited.client("s3").create_bucket(Bucket=invited.bucket)
        model = provider.create_configured_model()
        identifier = provider.cleanrooms.create_collaboration(
            name="c",
            description="d",
            creatorDisplayName="creator",
            creatorMemberAbilities=["CAN_QUERY"],
            members=[{"accountId": invited.account, "displayName": "invited", "memberAbilities": []}],
            queryLogStatus="DISABLED",
        )["collaboration"]["id"]
        provider.cleanrooms.create_configured_audience_model_association(
            membershipIdentifier=join_collaboration(provider, identifier),
            configuredAudienceModelArn=model,
            configuredAudienceModelAssociationName="a",
            manageResourcePolicies=True,
        )
        job = {"configuredAudienceModelArn": model, "seedAudience": invited.write_seed(), "collaborationId": identifier}
        start = invited.ml.start_audience_generation_job
        expect_error("AccessDeniedException", start, name="j", **job)
        join_collaboration(invited, identifier)
        assert start(name="j", **job)["audienceGenerationJobArn"]


def test_model_is_unknown_in_other_regions() -> None:
    with in_process(SLOW) as emulator:
        world = ClockedWorld(emulator)
        model = world.build().create_configured_model()
        other_region = make_client(
            "cleanroomsml",
            endpoint_url=emulator.url,
            region_name="eu-west-1",
            aws_access_key_id=world.account,
            aws_secret_access_key="secret",
        )
        job = {"name": "j", "configuredAudienceModelArn": model, "seedAudience": world.write_seed()}
        expect_error("ResourceNotFoundException", other_region.start_audience_generation_job, **job)
        assert world.ml.start_audience_generation_job(**job)


def test_former_member_has_no_access(invitation: tuple[Custom, ClockedWorld]) -> None:
    custom, _ = invitation
    creator, former = ClockedWorld(custom.provider.emulator), ClockedWorld(custom.provider.emulator)
    collaboration = collaborate(creator, former)
    former.cleanrooms.delete_membership(membershipIdentifier=collaboration.find_membership(former))
    expect_error(
        "AccessDeniedException", former.ml.list_collaboration_trained_models, collaborationIdentifier=collaboration.id
    )
