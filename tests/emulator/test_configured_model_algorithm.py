"""Algorithms and their associations, over real boto3."""

from __future__ import annotations

import re

from airflow_cleanroomsml._requests.request import load
from tests.emulator.clocked_world import ClockedWorld, expect_refusal
from tests.emulator.custom_models import IMAGE, Custom, associate, create_algorithm
from tests.helpers.collaboration import collaborate

PRIVACY = {
    "policies": {
        "trainedModels": {"containerMetrics": {"noiseLevel": "NONE"}, "maxArtifactSize": {"unit": "GB", "value": 2.5}},
        "trainedModelExports": {"maxSize": {"unit": "GB", "value": 1.5}, "filesToExport": ["MODEL", "OUTPUT"]},
    }
}


def test_an_algorithm_is_returned_as_created(provider: ClockedWorld) -> None:
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
    found = provider.ml.get_configured_model_algorithm(configuredModelAlgorithmArn=arn)
    assert found["trainingContainerConfig"] == training
    assert found["inferenceContainerConfig"] == {"imageUri": IMAGE}
    assert (found["name"], found["description"], found["kmsKeyArn"]) == ("a", "d", key)
    assert (found["roleArn"], found["tags"]) == (provider.role, {"team": "ads"})
    [entry] = provider.ml.list_configured_model_algorithms()["configuredModelAlgorithms"]
    assert entry["configuredModelAlgorithmArn"] == arn


def test_names_are_unique_and_roles_belong_to_the_account(provider: ClockedWorld, runner: ClockedWorld) -> None:
    create = provider.ml.create_configured_model_algorithm
    create_algorithm(provider, "a")
    expect_refusal("ConflictException", create, name="a", roleArn=provider.role)
    expect_refusal("AccessDeniedException", create, name="b", roleArn=runner.role)
    create_algorithm(runner, "a")


def test_all_members_see_an_association(custom: Custom, stranger: ClockedWorld) -> None:
    provider, runner = custom.provider, custom.runner
    membership = custom.collaboration.find_membership(provider)
    other = create_algorithm(provider, "other")
    arn = associate(provider, membership, other, "second", privacyConfiguration=PRIVACY, tags={"a": "1"})
    shape = load().shape_for("ConfiguredModelAlgorithmAssociationArn")
    assert re.fullmatch(shape.metadata["pattern"], arn)
    assert f":membership/{membership}/" in arn
    own = provider.ml.get_configured_model_algorithm_association(
        membershipIdentifier=membership, configuredModelAlgorithmAssociationArn=arn
    )
    assert (own["privacyConfiguration"], own["tags"]) == (PRIVACY, {"a": "1"})
    seen = runner.ml.get_collaboration_configured_model_algorithm_association(
        **custom.within, configuredModelAlgorithmAssociationArn=arn
    )
    assert seen["privacyConfiguration"] == PRIVACY
    assert (seen["creatorAccountId"], seen["membershipIdentifier"]) == (provider.account, membership)
    assert (seen["collaborationIdentifier"], seen["configuredModelAlgorithmArn"]) == (custom.collaboration.id, other)
    listing = runner.ml.list_collaboration_configured_model_algorithm_associations
    found = listing(**custom.within)["collaborationConfiguredModelAlgorithmAssociations"]
    assert [entry["name"] for entry in found] == ["association", "second"]
    listing = runner.ml.list_configured_model_algorithm_associations
    assert listing(**custom.of)["configuredModelAlgorithmAssociations"] == []
    expect_refusal("AccessDeniedException", listing, membershipIdentifier=membership)
    expect_refusal(
        "AccessDeniedException",
        stranger.ml.list_collaboration_configured_model_algorithm_associations,
        **custom.within,
    )
    expect_refusal(
        "ResourceNotFoundException",
        runner.ml.get_configured_model_algorithm_association,
        **custom.of,
        configuredModelAlgorithmAssociationArn=arn,
    )


def test_an_association_requires_an_own_algorithm_and_membership(custom: Custom) -> None:
    own, foreign = create_algorithm(custom.runner, "own"), create_algorithm(custom.provider, "foreign")
    create = custom.runner.ml.create_configured_model_algorithm_association
    expect_refusal("ResourceNotFoundException", create, **custom.of, configuredModelAlgorithmArn=foreign, name="x")
    members = {"configuredModelAlgorithmArn": own, "name": "x"}
    expect_refusal(
        "ResourceNotFoundException",
        create,
        membershipIdentifier=custom.collaboration.find_membership(custom.provider),
        **members,
    )
    associate(custom.runner, custom.collaboration.find_membership(custom.runner), own, "x")
    expect_refusal("ConflictException", create, **custom.of, **members)


def test_dependents_must_be_deleted_first(custom: Custom) -> None:
    provider, runner = custom.provider, custom.runner
    of = {"membershipIdentifier": custom.collaboration.find_membership(provider)}
    association = {**of, "configuredModelAlgorithmAssociationArn": custom.association}
    found = provider.ml.get_configured_model_algorithm_association(**association)
    drop, used = provider.ml.delete_configured_model_algorithm, found["configuredModelAlgorithmArn"]
    expect_refusal("ConflictException", drop, configuredModelAlgorithmArn=used)
    expect_refusal("ConflictException", provider.rooms.delete_membership, **of)
    channel = custom.create_channel()
    dissociate = provider.ml.delete_configured_model_algorithm_association
    expect_refusal("ConflictException", dissociate, **association)
    runner.ml.delete_ml_input_channel_data(**custom.of, mlInputChannelArn=channel)
    expect_refusal("ConflictException", dissociate, **association)
    runner.push(101)
    dissociate(**association)
    expect_refusal("ResourceNotFoundException", dissociate, **association)
    drop(configuredModelAlgorithmArn=used)
    expect_refusal("ResourceNotFoundException", drop, configuredModelAlgorithmArn=used)
    provider.rooms.delete_membership(**of)
    runner.rooms.delete_membership(**custom.of)


def test_nothing_is_created_in_a_deleted_collaboration(custom: Custom) -> None:
    used = create_algorithm(custom.provider, "late")
    custom.provider.rooms.delete_collaboration(collaborationIdentifier=custom.collaboration.id)
    expect_refusal(
        "AccessDeniedException",
        custom.provider.ml.create_configured_model_algorithm_association,
        membershipIdentifier=custom.collaboration.find_membership(custom.provider),
        configuredModelAlgorithmArn=used,
        name="late",
    )
    expect_refusal("AccessDeniedException", custom.runner.ml.create_ml_input_channel, **custom.build_channel_request())


def test_a_collaboration_can_have_a_single_member(provider: ClockedWorld) -> None:
    made = collaborate(provider)
    alone = Custom(
        made, provider, provider, associate(provider, made.find_membership(provider), create_algorithm(provider))
    )
    model = alone.train("m", alone.create_channel())["trainedModelArn"]
    provider.push(201)
    assert alone.get(model)["status"] == "ACTIVE"
