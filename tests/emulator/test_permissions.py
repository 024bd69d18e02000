"""The allowed actions of an account: which actions each request needs, and how a request without them is denied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_cleanroomsml._requests import permissions
from airflow_cleanroomsml._requests.request import load
from airflow_cleanroomsml.emulator.settings import Settings
from tests.emulator.clocked_world import ClockedWorld, expect_error
from tests.emulator.custom_models import set_up
from tests.emulator.test_configured_audience_model_association import associate, dissociate
from tests.helpers.collaboration import collaborate
from tests.helpers.in_process import in_process

READ_POLICY = "cleanrooms-ml:GetConfiguredAudienceModelPolicy"


@pytest.fixture
def world() -> Iterator[ClockedWorld]:
    """An account that may do everything until a test limits it."""
    with in_process(Settings(scale=0.001)) as emulator:
        yield ClockedWorld(emulator)


def expect_denial(action: str, call: Any, **members: Any) -> str:
    """Expect a call to be denied for lack of an action, and return the message of the error."""
    response = expect_error("AccessDeniedException", call, **members)
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert f" is not authorized to perform: {action} on resource: " in response["Error"]["Message"]
    return str(response["Error"]["Message"])


def build_dataset_request(world: ClockedWorld, **more: Any) -> dict[str, Any]:
    return {"name": "d", "roleArn": world.role, "trainingData": world.build_training_data(), **more}


def test_account_may_do_everything_by_default(world: ClockedWorld) -> None:
    world.create_dataset()
    assert world.emulator.read_permissions(world.account) == {
        "allowed": None,
        "needed": ["cleanrooms-ml:CreateTrainingDataset", "iam:PassRole"],
    }


def test_denied_request_is_not_executed(world: ClockedWorld) -> None:
    other = ClockedWorld(world.emulator)
    world.emulator.allow(world.account, "cleanrooms-ml:ListTrainingDatasets")
    message = expect_denial(
        "cleanrooms-ml:CreateTrainingDataset", world.ml.create_training_dataset, **build_dataset_request(world)
    )
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
        expect_denial("cleanrooms-ml:ListTrainingDatasets", world.ml.list_training_datasets)


def test_tags_and_role_need_separate_permissions(world: ClockedWorld) -> None:
    create = world.ml.create_training_dataset
    world.emulator.allow(world.account, "cleanrooms-ml:CreateTrainingDataset")
    assert f"on resource: {world.role} because" in expect_denial("iam:PassRole", create, **build_dataset_request(world))
    world.emulator.allow(world.account, "cleanrooms-ml:CreateTrainingDataset", "iam:PassRole")
    expect_denial("cleanrooms-ml:TagResource", create, **build_dataset_request(world, tags={"a": "b"}))
    create(**build_dataset_request(world, tags={}))
    world.emulator.allow(
        world.account, "cleanrooms-ml:CreateTrainingDataset", "cleanrooms-ml:TagResource", "iam:PassRole"
    )
    create(**build_dataset_request(world, name="other", tags={"a": "b"}))


def test_action_spelling_may_differ_from_operation(world: ClockedWorld) -> None:
    arn = world.create_dataset()
    world.emulator.allow(world.account, "cleanrooms-ml:TagResource", "cleanrooms-ml:UntagResource")
    world.ml.tag_resource(resourceArn=arn, tags={"a": "b"})
    world.ml.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert "cleanrooms-ml:UnTagResource" in world.emulator.read_permissions(world.account)["needed"]


def test_changing_role_needs_pass_role(world: ClockedWorld) -> None:
    model = world.build().create_configured_model()
    world.emulator.allow(world.account, "cleanrooms-ml:UpdateConfiguredAudienceModel")
    update = world.ml.update_configured_audience_model
    update(configuredAudienceModelArn=model, description="other")
    expect_denial("iam:PassRole", update, configuredAudienceModelArn=model, outputConfig=world.output)


def test_custom_models_need_pass_membership_or_pass_collaboration(world: ClockedWorld) -> None:
    custom = set_up(ClockedWorld(world.emulator), world)
    world.emulator.allow(world.account, "cleanrooms-ml:*", "iam:PassRole")
    expect_denial("cleanrooms:PassMembership", world.ml.list_trained_models, **custom.in_membership)
    expect_denial("cleanrooms:PassMembership", world.ml.create_ml_input_channel, **custom.build_channel_request())
    expect_denial("cleanrooms:PassCollaboration", world.ml.list_collaboration_trained_models, **custom.in_collaboration)
    world.emulator.allow(world.account, "cleanrooms-ml:*", "cleanrooms:Pass*")
    world.ml.list_trained_models(**custom.in_membership)
    world.ml.list_collaboration_trained_models(**custom.in_collaboration)


def test_job_in_collaboration_needs_list_members(world: ClockedWorld) -> None:
    job = {"configuredAudienceModelArn": world.build().create_configured_model(), "seedAudience": world.write_seed()}
    collaboration = collaborate(world)
    start = world.ml.start_audience_generation_job
    world.emulator.allow(world.account, "cleanrooms-ml:StartAudienceGenerationJob", "iam:PassRole")
    start(name="alone", **job)
    expect_denial("cleanrooms:ListMembers", start, name="together", collaborationId=collaboration.id, **job)


def test_associations_need_permissions_for_model_and_managed_policy(world: ClockedWorld) -> None:
    model, collaboration = world.build().create_configured_model(), collaborate(world)
    association_actions = [
        "cleanrooms:CreateConfiguredAudienceModelAssociation",
        "cleanrooms:DeleteConfiguredAudienceModelAssociation",
    ]
    get_model = "cleanrooms-ml:GetConfiguredAudienceModel"
    creation = {
        "membershipIdentifier": collaboration.find_membership(world),
        "configuredAudienceModelArn": model,
        "configuredAudienceModelAssociationName": "a",
    }
    create = world.cleanrooms.create_configured_audience_model_association
    world.emulator.allow(world.account, *association_actions)
    expect_denial(get_model, create, manageResourcePolicies=False, **creation)
    world.emulator.allow(world.account, *association_actions, get_model)
    expect_denial(READ_POLICY, create, manageResourcePolicies=True, **creation)
    # An association that manages no policy needs no permissions for policies, neither to create nor to delete it.
    dissociate(world, collaboration, associate(world, collaboration, model, manage=False))
    world.emulator.allow(world.account, *association_actions, get_model, *permissions.ADD_STATEMENT)
    association = associate(world, collaboration, model)
    deletion = {
        "membershipIdentifier": collaboration.find_membership(world),
        "configuredAudienceModelAssociationIdentifier": association,
    }
    delete = world.cleanrooms.delete_configured_audience_model_association
    expect_denial("cleanrooms-ml:DeleteConfiguredAudienceModelPolicy", delete, **deletion)
    world.emulator.allow(world.account, *association_actions, *permissions.REMOVE_STATEMENT)
    delete(**deletion)


def test_deleting_collaboration_needs_permissions_for_managed_policies(world: ClockedWorld) -> None:
    model, collaboration = world.build().create_configured_model(), collaborate(world)
    associate(world, collaboration, model)
    delete = world.cleanrooms.delete_collaboration
    world.emulator.allow(world.account, "cleanrooms:DeleteCollaboration")
    expect_denial(READ_POLICY, delete, collaborationIdentifier=collaboration.id)
    world.emulator.allow(world.account, "cleanrooms:DeleteCollaboration", *permissions.REMOVE_STATEMENT)
    delete(collaborationIdentifier=collaboration.id)


def test_denied_request_consumes_no_fault(world: ClockedWorld) -> None:
    world.add_fault("ListTrainingDatasets", "throttle")
    world.emulator.allow(world.account, "cleanrooms-ml:Get*")
    expect_denial("cleanrooms-ml:ListTrainingDatasets", world.ml.list_training_datasets)
    assert world.emulator.list_faults(world.account) == ["throttle"]


def test_limit_is_replaced_lifted_and_reset(world: ClockedWorld) -> None:
    world.emulator.allow(world.account, "cleanrooms-ml:Get*")
    world.emulator.allow(world.account, "cleanrooms-ml:List*")
    world.ml.list_training_datasets()
    assert world.emulator.read_permissions(world.account)["allowed"] == ["cleanrooms-ml:List*"]
    world.emulator.allow_everything(world.account)
    world.create_dataset()
    world.emulator.allow(world.account)
    expect_denial("cleanrooms-ml:ListTrainingDatasets", world.ml.list_training_datasets)
    world.emulator._control("reset", {})
    world.ml.list_training_datasets()
    assert world.emulator.read_permissions(world.account) == {
        "allowed": None,
        "needed": ["cleanrooms-ml:ListTrainingDatasets"],
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"actions": []}, "permissions: missing 'account'"),
        ({"account": "1234", "actions": []}, "account is '1234'; must be a string of 12 digits"),
        ({}, "permissions: missing 'actions'"),
        ({"actions": None}, "actions must be a list of strings, for instance ['cleanrooms-ml:Get*', "),
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
def test_invalid_action_is_rejected_without_effect(world: ClockedWorld, body: dict[str, Any], message: str) -> None:
    account = {} if message.endswith("missing 'account'") else {"account": world.account}
    status, error = post_permissions(world.emulator, {**account, **body})
    assert (status, message in error) == (400, True), error
    world.ml.list_training_datasets()


def post_permissions(emulator: Any, body: dict[str, Any]) -> tuple[int, str]:
    """Post to the admin API, and return the status and the message of an error."""
    url, data = f"{emulator.url}/_emulator/permissions", json.dumps(body).encode()
    status, _, response = emulator._call("POST", url, {}, data)
    return status, str(json.loads(response).get("message"))


#: Operations whose callers pass a role (service authorization reference, Clean Rooms ML).
PASS_ROLE_OPERATIONS = {
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


def test_operations_that_pass_a_role_match_reference() -> None:
    model = load()
    with_role = {name for name in model.operation_names if _has_role(model.operation_model(name).input_shape)}
    assert with_role == PASS_ROLE_OPERATIONS
