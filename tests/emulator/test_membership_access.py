"""Who may use a collaboration: its ACTIVE members in its region, and nobody else; for every operation that names one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore import xform_name

from airflow_cleanroomsml.emulator.settings import Settings
from tests.emulator.clocked_world import ClockedWorld, expect_refusal
from tests.emulator.custom_models import Custom, associate, create_algorithm
from tests.emulator.test_wire import OPERATIONS, Draw, service_of
from tests.helpers.collaboration import Collaboration, collaborate, join_collaboration
from tests.helpers.in_process import in_process
from tests.support import make_client

IDENTIFIERS = ("collaborationIdentifier", "collaborationId")
NAMING = [
    (operation, name)
    for operation in OPERATIONS
    for name in IDENTIFIERS
    if operation.input_shape and name in operation.input_shape.required_members
]
#: What an account that is invited may look at, to decide whether it joins.
OPEN = {"GetCollaboration", "ListMembers"}
SLOW = Settings(scale=0.001, pending_seconds=100, progress_seconds=100, delete_seconds=100)
RECEIVES = {"customMLMemberAbilities": ["CAN_RECEIVE_MODEL_OUTPUT", "CAN_RECEIVE_INFERENCE_OUTPUT"]}


@pytest.fixture(scope="module")
def there() -> Iterator[tuple[Custom, ClockedWorld]]:
    """A collaboration with a trained model of its runner, and an account that is invited to it."""
    with in_process(SLOW) as emulator:
        creator, invited = ClockedWorld(emulator), ClockedWorld(emulator)
        identifier = creator.rooms.create_collaboration(
            name="c",
            description="d",
            creatorDisplayName="creator",
            creatorMemberAbilities=["CAN_QUERY"],
            creatorMLMemberAbilities=RECEIVES,
            members=[
                {
                    "accountId": invited.account,
                    "displayName": "invited",
                    "memberAbilities": [],
                    "mlMemberAbilities": RECEIVES,
                }
            ],
            queryLogStatus="DISABLED",
        )["collaboration"]["id"]
        made = Collaboration(identifier, {creator.account: join_collaboration(creator, identifier)})
        custom = Custom(
            made, creator, creator, associate(creator, made.find_membership(creator), create_algorithm(creator))
        )
        yield custom, invited


def call(world: ClockedWorld, operation: Any, region: str = "us-east-1", **arguments: str) -> None:
    """Call an operation with members that the model allows, and these."""
    client = make_client(
        service_of(operation),
        endpoint_url=world.emulator.url,
        region_name=region,
        aws_access_key_id=world.account,
        aws_secret_access_key="secret",
    )
    members = Draw(operation.name, 0).value(operation.input_shape)
    getattr(client, xform_name(operation.name))(**{**members, **arguments})


every_naming = pytest.mark.parametrize(("operation", "name"), NAMING, ids=[each.name for each, _ in NAMING])


@every_naming
def test_an_invited_account_is_not_yet_a_member(there: tuple[Custom, ClockedWorld], operation: Any, name: str) -> None:
    custom, invited = there
    arguments = {name: custom.collaboration.id}
    if operation.name in OPEN:
        call(invited, operation, **arguments)
    elif operation.name != "CreateMembership":
        expect_refusal("AccessDeniedException", call, world=invited, operation=operation, **arguments)


@every_naming
def test_a_collaboration_does_not_exist_in_another_region(
    there: tuple[Custom, ClockedWorld], operation: Any, name: str
) -> None:
    custom, _ = there
    arguments = {"operation": operation, "region": "eu-west-1", name: custom.collaboration.id}
    unknown = "ResourceNotFoundException" if operation.name == "CreateMembership" else "AccessDeniedException"
    expect_refusal(unknown, call, world=custom.provider, **arguments)


def test_collaborations_and_memberships_are_listed_in_their_region(there: tuple[Custom, ClockedWorld]) -> None:
    custom, invited = there
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
        assert [each["id"] for each in world.rooms.list_collaborations()["collaborationList"]] == [
            custom.collaboration.id
        ]


def test_an_invited_account_receives_no_output(there: tuple[Custom, ClockedWorld]) -> None:
    custom, invited = there
    channel = custom.create_channel()
    model = custom.train("m", channel)["trainedModelArn"]
    custom.runner.push(201)
    output = {"members": [{"accountId": invited.account}]}
    of = {**custom.of, "name": "x", "trainedModelArn": model}
    expect_refusal(
        "ValidationException", custom.runner.ml.start_trained_model_export_job, **of, outputConfiguration=output
    )
    request = custom.build_inference_request("x", model, channel, outputConfiguration={"accept": "text/csv", **output})
    expect_refusal("ValidationException", custom.runner.ml.start_trained_model_inference_job, **request)


def test_an_invited_account_cannot_start_jobs() -> None:
    with in_process(SLOW) as emulator:
        provider, invited = ClockedWorld(emulator), ClockedWorld(emulator)
        provider.build()
        invited.client("s3").create_bucket(Bucket=invited.bucket)
        model = provider.create_configured_model()
        identifier = provider.rooms.create_collaboration(
            name="c",
            description="d",
            creatorDisplayName="creator",
            creatorMemberAbilities=["CAN_QUERY"],
            members=[{"accountId": invited.account, "displayName": "invited", "memberAbilities": []}],
            queryLogStatus="DISABLED",
        )["collaboration"]["id"]
        provider.rooms.create_configured_audience_model_association(
            membershipIdentifier=join_collaboration(provider, identifier),
            configuredAudienceModelArn=model,
            configuredAudienceModelAssociationName="a",
            manageResourcePolicies=True,
        )
        job = {"configuredAudienceModelArn": model, "seedAudience": invited.write_seed(), "collaborationId": identifier}
        start = invited.ml.start_audience_generation_job
        expect_refusal("AccessDeniedException", start, name="j", **job)
        join_collaboration(invited, identifier)
        assert start(name="j", **job)["audienceGenerationJobArn"]


def test_a_model_does_not_exist_in_another_region() -> None:
    with in_process(SLOW) as emulator:
        world = ClockedWorld(emulator)
        model = world.build().create_configured_model()
        elsewhere = make_client(
            "cleanroomsml",
            endpoint_url=emulator.url,
            region_name="eu-west-1",
            aws_access_key_id=world.account,
            aws_secret_access_key="secret",
        )
        job = {"name": "j", "configuredAudienceModelArn": model, "seedAudience": world.write_seed()}
        expect_refusal("ResourceNotFoundException", elsewhere.start_audience_generation_job, **job)
        assert world.ml.start_audience_generation_job(**job)


def test_a_member_that_left_has_no_access(there: tuple[Custom, ClockedWorld]) -> None:
    custom, _ = there
    creator, left = ClockedWorld(custom.provider.emulator), ClockedWorld(custom.provider.emulator)
    made = collaborate(creator, left)
    left.rooms.delete_membership(membershipIdentifier=made.find_membership(left))
    expect_refusal("AccessDeniedException", left.ml.list_collaboration_trained_models, collaborationIdentifier=made.id)
