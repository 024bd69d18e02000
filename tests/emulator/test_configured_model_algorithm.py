"""Algorithms and their associations, over real boto3."""

from __future__ import annotations

import re

from airflow_cleanroomsml._requests.request import load
from tests.emulator.clocked_world import ClockedWorld, expect_error
from tests.emulator.custom_models import IMAGE, Custom, associate, create_algorithm
from tests.helpers.collaboration import collaborate

PRIVACY = {
    "policies": {
        "trainedModels": {"containerMetrics": {"noiseLevel": "NONE"}, "maxArtifactSize": {"unit": "GB", "value": 2.5}},
        "trainedModelExports": {"maxSize": {"unit": "GB", "value": 1.5}, "filesToExport": ["MODEL", "OUTPUT"]},
    }
}


def test_algorithm_is_returned_as_created(provider: ClockedWorld) -> None:
    training = {
        "imageUri": IMAGE,
        "entrypoint": ["python", "train.py"],
        "arguments": ["--fast"],
        "metricDefinitions": [{"name": "auc", "regex": "auc: ([0-9.]+)"}],
    }
    key = f"arn:aws:kms:us-east-1:{provider.account}:key/1"
    arn = create_algorithm(
        provider, "a", trainingContainerConfig=training, description="d", kmsKeyArn=key, tags={"team": "ads"}
    )
    algorithm = provider.ml.get_configured_model_algorithm(configuredModelAlgorithmArn=arn)
    assert algorithm["trainingContainerConfig"] == training
    assert algorithm["inferenceContainerConfig"] == {"imageUri": IMAGE}
    assert (algorithm["name"], algorithm["description"], algorithm["kmsKeyArn"]) == ("a", "d", key)
    assert (algorithm["roleArn"], algorithm["tags"]) == (provider.role, {"team": "ads"})
    [entry] = provider.ml.list_configured_model_algorithms()["configuredModelAlgorithms"]
    assert entry["configuredModelAlgorithmArn"] == arn


def test_names_are_unique_and_roles_belong_to_account(provider: ClockedWorld, runner: ClockedWorld) -> None:
    create = provider.ml.create_configured_model_algorithm
    create_algorithm(provider, "a")
    expect_error("ConflictException", create, name="a", roleArn=provider.role)
    expect_error("AccessDeniedException", create, name="b", roleArn=runner.role)
    create_algorithm(runner, "a")


def test_all_members_see_association(custom: Custom, stranger: ClockedWorld) -> None:
    provider, runner = custom.provider, custom.runner
    membership = custom.collaboration.find_membership(provider)
    second_algorithm = create_algorithm(provider, "other")
    arn = associate(provider, membership, second_algorithm, "second", privacyConfiguration=PRIVACY, tags={"a": "1"})
    shape = load().shape_for("ConfiguredModelAlgorithmAssociationArn")
    assert re.fullmatch(shape.metadata["pattern"], arn)
    assert f":membership/{membership}/" in arn
    seen_by_provider = provider.ml.get_configured_model_algorithm_association(
        membershipIdentifier=membership, configuredModelAlgorithmAssociationArn=arn
    )
    assert (seen_by_provider["privacyConfiguration"], seen_by_provider["tags"]) == (PRIVACY, {"a": "1"})
    seen_by_runner = runner.ml.get_collaboration_configured_model_algorithm_association(
        **custom.in_collaboration, configuredModelAlgorithmAssociationArn=arn
    )
    assert seen_by_runner["privacyConfiguration"] == PRIVACY
    assert (seen_by_runner["creatorAccountId"], seen_by_runner["membershipIdentifier"]) == (
        provider.account,
        membership,
    )
    assert (seen_by_runner["collaborationIdentifier"], seen_by_runner["configuredModelAlgorithmArn"]) == (
        custom.collaboration.id,
        second_algorithm,
    )
    listing = runner.ml.list_collaboration_configured_model_algorithm_associations
    associations = listing(**custom.in_collaboration)["collaborationConfiguredModelAlgorithmAssociations"]
    assert [entry["name"] for entry in associations] == ["association", "second"]
    listing = runner.ml.list_configured_model_algorithm_associations
    assert listing(**custom.in_membership)["configuredModelAlgorithmAssociations"] == []
    expect_error("AccessDeniedException", listing, membershipIdentifier=membership)
    expect_error(
        "AccessDeniedException",
        stranger.ml.list_collaboration_configured_model_algorithm_associations,
        **custom.in_collaboration,
    )
    expect_error(
        "ResourceNotFoundException",
        runner.ml.get_configured_model_algorithm_association,
        **custom.in_membership,
        configuredModelAlgorithmAssociationArn=arn,
    )


def test_association_requires_own_algorithm_and_membership(custom: Custom) -> None:
    own_algorithm, foreign_algorithm = (
        create_algorithm(custom.runner, "own"),
        create_algorithm(custom.provider, "foreign"),
    )
    create = custom.runner.ml.create_configured_model_algorithm_association
    expect_error(
        "ResourceNotFoundException",
        create,
        **custom.in_membership,
        configuredModelAlgorithmArn=foreign_algorithm,
        name="x",
    )
    request = {"configuredModelAlgorithmArn": own_algorithm, "name": "x"}
    expect_error(
        "ResourceNotFoundException",
        create,
        membershipIdentifier=custom.collaboration.find_membership(custom.provider),
        **request,
    )
    associate(custom.runner, custom.collaboration.find_membership(custom.runner), own_algorithm, "x")
    expect_error("ConflictException", create, **custom.in_membership, **request)


def test_dependents_must_be_deleted_first(custom: Custom) -> None:
    provider, runner = custom.provider, custom.runner
    membership = {"membershipIdentifier": custom.collaboration.find_membership(provider)}
    association = {**membership, "configuredModelAlgorithmAssociationArn": custom.association}
    response = provider.ml.get_configured_model_algorithm_association(**association)
    delete_algorithm, algorithm = provider.ml.delete_configured_model_algorithm, response["configuredModelAlgorithmArn"]
    expect_error("ConflictException", delete_algorithm, configuredModelAlgorithmArn=algorithm)
    expect_error("ConflictException", provider.cleanrooms.delete_membership, **membership)
    channel = custom.create_channel()
    dissociate = provider.ml.delete_configured_model_algorithm_association
    expect_error("ConflictException", dissociate, **association)
    runner.ml.delete_ml_input_channel_data(**custom.in_membership, mlInputChannelArn=channel)
    expect_error("ConflictException", dissociate, **association)
    runner.advance(101)
    dissociate(**association)
    expect_error("ResourceNotFoundException", dissociate, **association)
    delete_algorithm(configuredModelAlgorithmArn=algorithm)
    expect_error("ResourceNotFoundException", delete_algorithm, configuredModelAlgorithmArn=algorithm)
    provider.cleanrooms.delete_membership(**membership)
    runner.cleanrooms.delete_membership(**custom.in_membership)


def test_nothing_is_created_in_deleted_collaboration(custom: Custom) -> None:
    algorithm = create_algorithm(custom.provider, "late")
    custom.provider.cleanrooms.delete_collaboration(collaborationIdentifier=custom.collaboration.id)
    expect_error(
        "AccessDeniedException",
        custom.provider.ml.create_configured_model_algorithm_association,
        membershipIdentifier=custom.collaboration.find_membership(custom.provider),
        configuredModelAlgorithmArn=algorithm,
        name="late",
    )
    expect_error("AccessDeniedException", custom.runner.ml.create_ml_input_channel, **custom.build_channel_request())


def test_collaboration_can_have_a_single_member(provider: ClockedWorld) -> None:
    collaboration = collaborate(provider)
    custom = Custom(
        collaboration,
        provider,
        provider,
        associate(provider, collaboration.find_membership(provider), create_algorithm(provider)),
    )
    model = custom.train("m", custom.create_channel())["trainedModelArn"]
    provider.advance(201)
    assert custom.get(model)["status"] == "ACTIVE"
