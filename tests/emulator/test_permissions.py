"""The allowed actions of an account: what each request needs, and what becomes of one whose caller lacks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_cleanroomsml._requests import permissions
from airflow_cleanroomsml._requests.request import load
from airflow_cleanroomsml.emulator.settings import Settings
from tests.emulator.clocked_world import ClockedWorld, expect_refusal
from tests.emulator.custom_models import set_up
from tests.emulator.test_configured_audience_model_association import associate, dissociate
from tests.helpers.collaboration import collaborate
from tests.helpers.in_process import in_process

READ_POLICY = "cleanrooms-ml:GetConfiguredAudienceModelPolicy"


@pytest.fixture
def world() -> Iterator[ClockedWorld]:
    """An account, which may do everything at first."""
    with in_process(Settings(scale=0.001)) as emulator:
        yield ClockedWorld(emulator)


def lacks(action: str, call: Any, **members: Any) -> str:
    """What the service says to a caller who lacks an action."""
    answer = expect_refusal("AccessDeniedException", call, **members)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert f" is not authorized to perform: {action} on resource: " in answer["Error"]["Message"]
    return str(answer["Error"]["Message"])


def dataset_request(world: ClockedWorld, **more: Any) -> dict[str, Any]:
    return {"name": "d", "roleArn": world.role, "trainingData": world.build_training_data(), **more}


def test_an_account_without_limits_may_do_everything(world: ClockedWorld) -> None:
    world.create_dataset()
    assert world.emulator.read_permissions(world.account) == {
        "allowed": None,
        "needed": ["cleanrooms-ml:CreateTrainingDataset", "iam:PassRole"],
    }


def test_a_denied_request_is_not_executed(world: ClockedWorld) -> None:
    other = ClockedWorld(world.emulator)
    world.emulator.allow(world.account, "cleanrooms-ml:ListTrainingDatasets")
    message = lacks("cleanrooms-ml:CreateTrainingDataset", world.ml.create_training_dataset, **dataset_request(world))
    assert message == (
        f"User: arn:aws:iam::{world.account}:user/caller is not authorized to perform: cleanrooms-ml:CreateTrainingDataset on "
        "resource: * because no identity-based policy allows the cleanrooms-ml:CreateTrainingDataset action"
    )
    assert world.ml.list_training_datasets()["trainingDatasets"] == []
    other.create_dataset()


@pytest.mark.parametrize(
    ("pattern", "allows"),
    [
        ("*", True),
        ("cleanrooms-ml:*", True),
        ("cleanrooms-ml:List*", True),
        ("cleanrooms-ml:*Datasets", True),
        ("cleanrooms-ml:List????????Datasets", True),
        ("cleanrooms-ml:listtrainingdatasets", True),
        ("cleanrooms-ml:List?????????????", False),
        ("cleanrooms-ml:Get*", False),
        ("cleanrooms-ml:TagResource", False),
        ("cleanrooms:List*", False),
        ("s3:*", False),
        ("iam:PassRole", False),
    ],
)
def test_action_patterns_match_as_in_iam(world: ClockedWorld, pattern: str, allows: bool) -> None:
    world.emulator.allow(world.account, pattern)
    if allows:
        world.ml.list_training_datasets()
    else:
        lacks("cleanrooms-ml:ListTrainingDatasets", world.ml.list_training_datasets)


def test_tags_and_a_role_need_permissions_of_their_own(world: ClockedWorld) -> None:
    create = world.ml.create_training_dataset
    world.emulator.allow(world.account, "cleanrooms-ml:CreateTrainingDataset")
    assert f"on resource: {world.role} because" in lacks("iam:PassRole", create, **dataset_request(world))
    world.emulator.allow(world.account, "cleanrooms-ml:CreateTrainingDataset", "iam:PassRole")
    lacks("cleanrooms-ml:TagResource", create, **dataset_request(world, tags={"a": "b"}))
    create(**dataset_request(world, tags={}))
    world.emulator.allow(
        world.account, "cleanrooms-ml:CreateTrainingDataset", "cleanrooms-ml:TagResource", "iam:PassRole"
    )
    create(**dataset_request(world, name="other", tags={"a": "b"}))


def test_an_action_may_be_spelled_in_another_way_than_its_operation(world: ClockedWorld) -> None:
    arn = world.create_dataset()
    world.emulator.allow(world.account, "cleanrooms-ml:TagResource", "cleanrooms-ml:UntagResource")
    world.ml.tag_resource(resourceArn=arn, tags={"a": "b"})
    world.ml.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert "cleanrooms-ml:UnTagResource" in world.emulator.read_permissions(world.account)["needed"]


def test_changing_a_role_needs_pass_role(world: ClockedWorld) -> None:
    model = world.build().create_configured_model()
    world.emulator.allow(world.account, "cleanrooms-ml:UpdateConfiguredAudienceModel")
    update = world.ml.update_configured_audience_model
    update(configuredAudienceModelArn=model, description="other")
    lacks("iam:PassRole", update, configuredAudienceModelArn=model, outputConfig=world.output)


def test_custom_models_need_the_membership_or_the_collaboration_to_be_passed(world: ClockedWorld) -> None:
    custom = set_up(ClockedWorld(world.emulator), world)
    world.emulator.allow(world.account, "cleanrooms-ml:*", "iam:PassRole")
    lacks("cleanrooms:PassMembership", world.ml.list_trained_models, **custom.of)
    lacks("cleanrooms:PassMembership", world.ml.create_ml_input_channel, **custom.build_channel_request())
    lacks("cleanrooms:PassCollaboration", world.ml.list_collaboration_trained_models, **custom.within)
    world.emulator.allow(world.account, "cleanrooms-ml:*", "cleanrooms:Pass*")
    world.ml.list_trained_models(**custom.of)
    world.ml.list_collaboration_trained_models(**custom.within)


def test_a_job_in_a_collaboration_needs_its_members_to_be_listed(world: ClockedWorld) -> None:
    job = {"configuredAudienceModelArn": world.build().create_configured_model(), "seedAudience": world.write_seed()}
    made = collaborate(world)
    start = world.ml.start_audience_generation_job
    world.emulator.allow(world.account, "cleanrooms-ml:StartAudienceGenerationJob", "iam:PassRole")
    start(name="alone", **job)
    lacks("cleanrooms:ListMembers", start, name="together", collaborationId=made.id, **job)


def test_associations_need_permissions_for_the_model_and_for_a_policy_that_is_managed(world: ClockedWorld) -> None:
    model, made = world.build().create_configured_model(), collaborate(world)
    own = ["cleanrooms:CreateConfiguredAudienceModelAssociation", "cleanrooms:DeleteConfiguredAudienceModelAssociation"]
    of_the_model = "cleanrooms-ml:GetConfiguredAudienceModel"
    request = {
        "membershipIdentifier": made.find_membership(world),
        "configuredAudienceModelArn": model,
        "configuredAudienceModelAssociationName": "a",
    }
    create = world.rooms.create_configured_audience_model_association
    world.emulator.allow(world.account, *own)
    lacks(of_the_model, create, manageResourcePolicies=False, **request)
    world.emulator.allow(world.account, *own, of_the_model)
    lacks(READ_POLICY, create, manageResourcePolicies=True, **request)
    # Without a policy to manage, none is needed for it, neither before nor after.
    dissociate(world, made, associate(world, made, model, manage=False))
    world.emulator.allow(world.account, *own, of_the_model, *permissions.ADD_STATEMENT)
    association = associate(world, made, model)
    gone = {
        "membershipIdentifier": made.find_membership(world),
        "configuredAudienceModelAssociationIdentifier": association,
    }
    delete = world.rooms.delete_configured_audience_model_association
    lacks("cleanrooms-ml:DeleteConfiguredAudienceModelPolicy", delete, **gone)
    world.emulator.allow(world.account, *own, *permissions.REMOVE_STATEMENT)
    delete(**gone)


def test_deleting_a_collaboration_needs_permissions_for_managed_policies(world: ClockedWorld) -> None:
    model, made = world.build().create_configured_model(), collaborate(world)
    associate(world, made, model)
    delete = world.rooms.delete_collaboration
    world.emulator.allow(world.account, "cleanrooms:DeleteCollaboration")
    lacks(READ_POLICY, delete, collaborationIdentifier=made.id)
    world.emulator.allow(world.account, "cleanrooms:DeleteCollaboration", *permissions.REMOVE_STATEMENT)
    delete(collaborationIdentifier=made.id)


def test_a_denied_request_uses_up_no_fault(world: ClockedWorld) -> None:
    world.add_fault("ListTrainingDatasets", "throttle")
    world.emulator.allow(world.account, "cleanrooms-ml:Get*")
    lacks("cleanrooms-ml:ListTrainingDatasets", world.ml.list_training_datasets)
    assert world.emulator.list_faults(world.account) == ["throttle"]


def test_a_limit_is_replaced_lifted_and_forgotten(world: ClockedWorld) -> None:
    world.emulator.allow(world.account, "cleanrooms-ml:Get*")
    world.emulator.allow(world.account, "cleanrooms-ml:List*")
    world.ml.list_training_datasets()
    assert world.emulator.read_permissions(world.account)["allowed"] == ["cleanrooms-ml:List*"]
    world.emulator.allow_everything(world.account)
    world.create_dataset()
    world.emulator.allow(world.account)
    lacks("cleanrooms-ml:ListTrainingDatasets", world.ml.list_training_datasets)
    world.emulator._control("reset", {})
    world.ml.list_training_datasets()
    assert world.emulator.read_permissions(world.account) == {
        "allowed": None,
        "needed": ["cleanrooms-ml:ListTrainingDatasets"],
    }


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ({"actions": []}, "account is None; must be a string of 12 digits"),
        ({"account": "1234", "actions": []}, "account is '1234'; must be a string of 12 digits"),
        ({"account": "123456789012"}, "actions must be a list of strings, for instance ['cleanrooms-ml:Get*', "),
        ({"actions": "cleanrooms-ml:*"}, "actions must be a list of strings"),
        ({"actions": [1]}, "actions must be a list of strings"),
        ({"actions": ["GetAudienceModel"]}, "'GetAudienceModel' is not an action; must be 'service:Name'"),
        ({"actions": ["clean*:Get*"]}, "'clean*:Get*' is not an action; must be 'service:Name'"),
        (
            {"actions": ["cleanrooms-ml:GetAudienceModle"]},
            "'cleanrooms-ml:GetAudienceModle' is not an action (did you mean 'cleanrooms-ml:GetAudienceModel'?)",
        ),
        ({"actions": ["cleanrooms:CreateAudienceModel"]}, "'cleanrooms:CreateAudienceModel' is not an action"),
        ({"actions": ["cleanrooms-ml:Describe*"]}, "'cleanrooms-ml:Describe*' is not an action"),
        ({"action": ["cleanrooms-ml:Get*"]}, "permissions: unknown 'action'; allowed: account, actions"),
    ],
)
def test_an_invalid_action_is_rejected_and_limits_nothing(
    world: ClockedWorld, order: dict[str, Any], says: str
) -> None:
    account = {} if says.startswith("account is None") else {"account": world.account}
    status, message = ordered(world.emulator, {**account, **order})
    assert (status, says in message) == (400, True), message
    world.ml.list_training_datasets()


def ordered(emulator: Any, order: dict[str, Any]) -> tuple[int, str]:
    """The status of an order, and why it was refused."""
    url, body = f"{emulator.url}/_emulator/permissions", json.dumps(order).encode()
    status, _, answer = emulator._call("POST", url, {}, body)
    return status, str(json.loads(answer).get("message"))


#: Operations whose callers pass a role (service authorization reference, Clean Rooms ML).
PASS_A_ROLE = {
    "CreateConfiguredAudienceModel",
    "CreateConfiguredModelAlgorithm",
    "CreateMLInputChannel",
    "CreateTrainingDataset",
    "PutMLConfiguration",
    "StartAudienceGenerationJob",
    "UpdateConfiguredAudienceModel",
}


def _has_role(shape: Any) -> bool:
    members = list(getattr(shape, "members", {}).items())
    if hasattr(shape, "member"):
        members.append(("", shape.member))
    return any(name == "roleArn" or _has_role(member) for name, member in members)


def test_the_reference_lists_the_requests_that_pass_a_role() -> None:
    model = load()
    found = {name for name in model.operation_names if _has_role(model.operation_model(name).input_shape)}
    assert found == PASS_A_ROLE
