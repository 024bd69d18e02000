"""Algorithms and their associations, over real boto3."""

from __future__ import annotations

import re

from airflow_cleanroomsml._requests.request import load
from tests.emulator.clocked_world import ClockedWorld, refused
from tests.emulator.custom_models import IMAGE, Custom, algorithm, associate
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
    arn = algorithm(
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
    algorithm(provider, "a")
    refused("ConflictException", create, name="a", roleArn=provider.role)
    refused("AccessDeniedException", create, name="b", roleArn=runner.role)
    algorithm(runner, "a")


def test_all_members_see_an_association(custom: Custom, stranger: ClockedWorld) -> None:
    provider, runner = custom.provider, custom.runner
    membership = custom.made.of(provider)
    other = algorithm(provider, "other")
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
    assert (seen["collaborationIdentifier"], seen["configuredModelAlgorithmArn"]) == (custom.made.id, other)
    listing = runner.ml.list_collaboration_configured_model_algorithm_associations
    found = listing(**custom.within)["collaborationConfiguredModelAlgorithmAssociations"]
    assert [entry["name"] for entry in found] == ["association", "second"]
    listing = runner.ml.list_configured_model_algorithm_associations
    assert listing(**custom.of)["configuredModelAlgorithmAssociations"] == []
    refused("AccessDeniedException", listing, membershipIdentifier=membership)
    refused(
        "AccessDeniedException",
        stranger.ml.list_collaboration_configured_model_algorithm_associations,
        **custom.within,
    )
    refused(
        "ResourceNotFoundException",
        runner.ml.get_configured_model_algorithm_association,
        **custom.of,
        configuredModelAlgorithmAssociationArn=arn,
    )


def test_an_association_requires_an_own_algorithm_and_membership(custom: Custom) -> None:
    own, foreign = algorithm(custom.runner, "own"), algorithm(custom.provider, "foreign")
    create = custom.runner.ml.create_configured_model_algorithm_association
    refused("ResourceNotFoundException", create, **custom.of, configuredModelAlgorithmArn=foreign, name="x")
    members = {"configuredModelAlgorithmArn": own, "name": "x"}
    refused("ResourceNotFoundException", create, membershipIdentifier=custom.made.of(custom.provider), **members)
    associate(custom.runner, custom.made.of(custom.runner), own, "x")
    refused("ConflictException", create, **custom.of, **members)


def test_dependents_must_be_deleted_first(custom: Custom) -> None:
    provider, runner = custom.provider, custom.runner
    of = {"membershipIdentifier": custom.made.of(provider)}
    association = {**of, "configuredModelAlgorithmAssociationArn": custom.association}
    found = provider.ml.get_configured_model_algorithm_association(**association)
    drop, used = provider.ml.delete_configured_model_algorithm, found["configuredModelAlgorithmArn"]
    refused("ConflictException", drop, configuredModelAlgorithmArn=used)
    refused("ConflictException", provider.rooms.delete_membership, **of)
    channel = custom.channel()
    dissociate = provider.ml.delete_configured_model_algorithm_association
    refused("ConflictException", dissociate, **association)
    runner.ml.delete_ml_input_channel_data(**custom.of, mlInputChannelArn=channel)
    refused("ConflictException", dissociate, **association)
    runner.push(101)
    dissociate(**association)
    refused("ResourceNotFoundException", dissociate, **association)
    drop(configuredModelAlgorithmArn=used)
    refused("ResourceNotFoundException", drop, configuredModelAlgorithmArn=used)
    provider.rooms.delete_membership(**of)
    runner.rooms.delete_membership(**custom.of)


def test_nothing_is_created_in_a_deleted_collaboration(custom: Custom) -> None:
    used = algorithm(custom.provider, "late")
    custom.provider.rooms.delete_collaboration(collaborationIdentifier=custom.made.id)
    refused(
        "AccessDeniedException",
        custom.provider.ml.create_configured_model_algorithm_association,
        membershipIdentifier=custom.made.of(custom.provider),
        configuredModelAlgorithmArn=used,
        name="late",
    )
    refused("AccessDeniedException", custom.runner.ml.create_ml_input_channel, **custom.channel_request())


def test_a_collaboration_can_have_a_single_member(provider: ClockedWorld) -> None:
    made = collaborate(provider)
    alone = Custom(made, provider, provider, associate(provider, made.of(provider), algorithm(provider)))
    model = alone.train("m", alone.channel())["trainedModelArn"]
    provider.push(201)
    assert alone.get(model)["status"] == "ACTIVE"
