"""Trained models and their versions, over real boto3."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_cleanroomsml._requests.request import load
from tests.emulator.clocked_world import ClockedWorld, expect_error
from tests.emulator.custom_models import COMPUTE, Custom, associate, create_algorithm
from tests.helpers.collaboration import collaborate


def list_versions(custom: Custom, model: str, **more: Any) -> list[str]:
    response = custom.runner.ml.list_trained_model_versions(**custom.in_membership, trainedModelArn=model, **more)
    return [entry["versionIdentifier"] for entry in response["trainedModels"]]


def train_model(custom: Custom, name: str = "model") -> tuple[str, str]:
    """Create a channel and train a model with it until both are ACTIVE, and return their ARNs."""
    channel = custom.create_channel(f"channel of {name}")
    model = custom.train(name, channel)["trainedModelArn"]
    custom.runner.advance(201)
    return channel, model


def test_get_echoes_create_request(custom: Custom) -> None:
    channel = custom.create_channel()
    request = custom.build_model_request(
        "m",
        channel,
        hyperparameters={"depth": "3"},
        environment={"LEVEL": "debug"},
        stoppingCondition={"maxRuntimeInSeconds": 3600},
        trainingInputMode="File",
        description="d",
        tags={"a": "1"},
        mlModelTrainingPayerAccountId=custom.provider.account,
    )
    response = custom.runner.ml.create_trained_model(**request)
    arn, version = response["trainedModelArn"], response["versionIdentifier"]
    assert re.fullmatch(load().shape_for("TrainedModelArn").metadata["pattern"], arn)
    assert version == "NULL"
    model = custom.get(arn)
    assert {name: model[name] for name in request} == request
    assert (model["versionIdentifier"], model["collaborationIdentifier"]) == ("NULL", custom.collaboration.id)
    shared = custom.provider.ml.get_collaboration_trained_model(**custom.in_collaboration, trainedModelArn=arn)
    assert (shared["creatorAccountId"], shared["resourceConfig"]) == (custom.runner.account, COMPUTE)
    assert "hyperparameters" not in shared


def test_status_follows_clock(custom: Custom) -> None:
    model = custom.train("m", custom.create_channel())["trainedModelArn"]
    delete, identifiers = (
        custom.runner.ml.delete_trained_model_output,
        {**custom.in_membership, "trainedModelArn": model},
    )
    for expected in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
        assert {custom.get(model)["status"] for _ in range(5)} == {expected}
        expect_error("ConflictException", delete, **identifiers)
        custom.runner.advance(101)
    assert custom.get(model)["status"] == "ACTIVE"
    expect_error("ConflictException", custom.runner.ml.cancel_trained_model, **identifiers)
    delete(**identifiers)
    for expected in ("DELETE_PENDING", "DELETE_IN_PROGRESS", "INACTIVE"):
        assert custom.get(model)["status"] == expected
        expect_error("ConflictException", delete, **identifiers)
        custom.runner.advance(51)
    [entry] = custom.runner.ml.list_trained_models(**custom.in_membership)["trainedModels"]
    assert (entry["name"], entry["status"]) == ("m", "INACTIVE")


@pytest.mark.parametrize("elapsed", [0, 101])
def test_training_can_be_cancelled(custom: Custom, elapsed: int) -> None:
    model = custom.train("m", custom.create_channel())["trainedModelArn"]
    identifiers = {**custom.in_membership, "trainedModelArn": model}
    custom.runner.advance(elapsed)
    custom.runner.ml.cancel_trained_model(**identifiers)
    for expected in ("CANCEL_PENDING", "CANCEL_IN_PROGRESS", "INACTIVE"):
        assert custom.get(model)["status"] == expected
        expect_error("ConflictException", custom.runner.ml.cancel_trained_model, **identifiers)
        custom.runner.advance(51)
    before = custom.get(model)["updateTime"]
    custom.runner.advance(1000)
    assert (custom.get(model)["status"], custom.get(model)["updateTime"]) == ("INACTIVE", before)


def test_new_version_has_same_arn(custom: Custom) -> None:
    channel, model = train_model(custom)
    second = custom.continue_training(channel, model)
    custom.runner.advance(201)
    third = custom.continue_training(channel, model)
    assert list_versions(custom, model) == ["NULL", second, third]
    assert list_versions(custom, model, status="ACTIVE") == ["NULL", second]
    assert list_versions(custom, model, status="CREATE_PENDING") == [third]
    assert list_versions(custom, model, status="INACTIVE") == []
    version = custom.get(model, versionIdentifier=second)
    base = {"channelName": "before", "versionIdentifier": "NULL", "modelName": "model"}
    assert version["incrementalTrainingDataChannels"] == [base]
    assert (
        "incrementalTrainingDataChannels"
        not in custom.runner.ml.list_trained_model_versions(
            **custom.in_membership, trainedModelArn=model, maxResults=1
        )["trainedModels"][0]
    )


def test_default_version_is_latest_or_base(custom: Custom) -> None:
    channel, model = train_model(custom)
    second = custom.continue_training(channel, model)
    identifiers = {**custom.in_membership, "trainedModelArn": model}
    assert custom.get(model)["versionIdentifier"] == second
    shared = custom.provider.ml.get_collaboration_trained_model(**custom.in_collaboration, trainedModelArn=model)
    assert shared["versionIdentifier"] == second
    # Without a version, CancelTrainedModel applies to the base version, which is ACTIVE; only the latest one is in training.
    expect_error("ConflictException", custom.runner.ml.cancel_trained_model, **identifiers)
    custom.runner.ml.delete_trained_model_output(**identifiers)
    custom.runner.advance(101)
    assert custom.get(model)["status"] == "CREATE_IN_PROGRESS"
    custom.runner.ml.cancel_trained_model(**identifiers, versionIdentifier=second)
    custom.runner.advance(101)
    entries = custom.runner.ml.list_trained_model_versions(**identifiers)["trainedModels"]
    assert [entry["status"] for entry in entries] == ["INACTIVE", "INACTIVE"]


def test_listing_has_one_entry_per_model_in_fixed_order(custom: Custom) -> None:
    channel, first = train_model(custom, "first")
    custom.train("second", channel)
    custom.runner.advance(201)
    version = custom.continue_training(channel, first, "first")
    for world, operation, key, identifiers in (
        (custom.runner, "list_trained_models", "trainedModels", custom.in_membership),
        (custom.provider, "list_collaboration_trained_models", "collaborationTrainedModels", custom.in_collaboration),
    ):
        pages = world.ml.get_paginator(operation).paginate(**identifiers, PaginationConfig={"PageSize": 1})
        entries = [(entry["name"], entry["versionIdentifier"]) for page in pages for entry in page[key]]
        assert entries == [("first", version), ("second", "NULL")]


def test_page_of_versions_has_ten_entries(custom: Custom) -> None:
    channel, model = train_model(custom)
    for _ in range(10):
        custom.continue_training(channel, model)
        custom.runner.advance(201)
    first = custom.runner.ml.list_trained_model_versions(**custom.in_membership, trainedModelArn=model)
    assert len(first["trainedModels"]) == 10
    assert len(list_versions(custom, model, nextToken=first["nextToken"])) == 1
    assert len(list_versions(custom, model, maxResults=100)) == 11


def test_incremental_training_requires_active_version(custom: Custom) -> None:
    channel, model = train_model(custom)
    other = model[:-1] + ("0" if model[-1] != "0" else "1")
    create = custom.runner.ml.create_trained_model
    for code, arn, more in (
        ("ResourceNotFoundException", other, {}),
        ("ResourceNotFoundException", model, {"versionIdentifier": "00000000-0000-0000-0000-000000000000"}),
    ):
        incremental = [{"trainedModelArn": arn, "channelName": "before", **more}]
        request = custom.build_model_request("model", channel, incrementalTrainingDataChannels=incremental)
        expect_error(code, create, **request)
    custom.continue_training(channel, model)
    latest = [{"trainedModelArn": model, "channelName": "before"}]
    # Without a version, training continues from the latest one, which is itself still in training.
    expect_error(
        "ValidationException",
        create,
        **custom.build_model_request("model", channel, incrementalTrainingDataChannels=latest),
    )
    duplicate = [{"trainedModelArn": model, "channelName": "training"}]
    expect_error(
        "ValidationException",
        create,
        **custom.build_model_request("x", channel, incrementalTrainingDataChannels=duplicate),
    )


def test_names_are_unique_in_collaboration(custom: Custom) -> None:
    channel, _ = train_model(custom, "n")
    expect_error("ConflictException", custom.runner.ml.create_trained_model, **custom.build_model_request("n", channel))


def test_training_requires_ability_and_valid_inputs(custom: Custom, stranger: ClockedWorld) -> None:
    channel = custom.create_channel()
    create, request = custom.runner.ml.create_trained_model, custom.build_model_request("m", channel)
    request_of_provider = {**request, "membershipIdentifier": custom.collaboration.find_membership(custom.provider)}
    expect_error("AccessDeniedException", custom.provider.ml.create_trained_model, **request_of_provider)
    expect_error("ResourceNotFoundException", stranger.ml.create_trained_model, **request)
    pending = custom.runner.ml.create_ml_input_channel(**custom.build_channel_request("pending"))["mlInputChannelArn"]
    expect_error("ValidationException", create, **custom.build_model_request("m", pending))
    membership = custom.collaboration.find_membership(custom.provider)
    other = associate(custom.provider, membership, create_algorithm(custom.provider, "other"), "other")
    expect_error("ValidationException", create, **{**request, "configuredModelAlgorithmAssociationArn": other})
    imageless = custom.provider.ml.create_configured_model_algorithm(name="x", roleArn=custom.provider.role)
    bare = associate(custom.provider, membership, imageless["configuredModelAlgorithmArn"], "bare")
    channel_of_bare = custom.create_channel("for bare", configuredModelAlgorithmAssociations=[bare])
    expect_error(
        "ValidationException",
        create,
        **custom.build_model_request("m", channel_of_bare, configuredModelAlgorithmAssociationArn=bare),
    )
    expect_error("ValidationException", create, **request, mlModelTrainingPayerAccountId="000000000000")
    assert custom.runner.ml.list_trained_models(**custom.in_membership)["trainedModels"] == []


def test_data_in_use_is_not_deleted(custom: Custom) -> None:
    channel = custom.create_channel()
    custom.train("m", channel)
    delete, identifiers = (
        custom.runner.ml.delete_ml_input_channel_data,
        {**custom.in_membership, "mlInputChannelArn": channel},
    )
    expect_error("ConflictException", delete, **identifiers)
    custom.runner.advance(201)
    delete(**identifiers)


@pytest.mark.parametrize(
    ("compute", "name", "value"),
    [
        ({"instanceType": "ml.m5.xlarge"}, "ml.m5.xlarge for custom model training jobs", 0),
        ({"instanceType": "ml.m5.4xlarge", "instanceCount": 4}, "ml.m5.4xlarge for custom model training jobs", 3),
    ],
)
def test_instance_types_have_quotas(custom: Custom, compute: dict[str, Any], name: str, value: int) -> None:
    request = custom.build_model_request("m", custom.create_channel(), resourceConfig={**compute, "volumeSizeInGB": 1})
    error = expect_error("ServiceQuotaExceededException", custom.runner.ml.create_trained_model, **request)
    assert (error["quotaName"], error["quotaValue"]) == (name, value)


def test_membership_trains_five_models_at_a_time(custom: Custom) -> None:
    channel, instance_types = custom.create_channel(), ["ml.m5.2xlarge", "ml.m5.4xlarge", "ml.m5.12xlarge"]
    for index in range(5):
        custom.train(f"m{index}", channel, resourceConfig={**COMPUTE, "instanceType": instance_types[index % 3]})
    request = custom.build_model_request("m5", channel)
    error = expect_error("ServiceQuotaExceededException", custom.runner.ml.create_trained_model, **request)
    assert (error["quotaName"], error["quotaValue"]) == ("Custom model training jobs in progress per membership", 5)
    custom.runner.advance(201)
    custom.train("m5", channel)


def test_account_trains_ten_models_at_a_time(provider: ClockedWorld, runner: ClockedWorld) -> None:
    before = runner.emulator.change_settings(instance_types=[])
    try:
        algorithm = create_algorithm(provider)
        collaborations = [collaborate(provider, runner) for _ in range(3)]
        customs = [
            Custom(
                collaboration, provider, runner, associate(provider, collaboration.find_membership(provider), algorithm)
            )
            for collaboration in collaborations
        ]
        channels = [custom.create_channel() for custom in customs]
        small = {"resourceConfig": {"instanceType": "ml.m5.large", "volumeSizeInGB": 1}}
        for custom, channel in zip(customs[:2], channels, strict=False):
            for index in range(5):
                custom.train(f"m{index}", channel, **small)
        request = customs[2].build_model_request("m", channels[2], **small)
        error = expect_error("ServiceQuotaExceededException", runner.ml.create_trained_model, **request)
        assert (error["quotaName"], error["quotaValue"]) == ("Custom model training jobs in progress per account", 10)
        runner.advance(201)
        request["resourceConfig"] = {**small["resourceConfig"], "instanceCount": 5}
        runner.ml.create_trained_model(**request)
        customs[1].train("m", channels[1], resourceConfig=request["resourceConfig"])
        request = customs[0].build_model_request("m", channels[0], **small)
        error = expect_error("ServiceQuotaExceededException", runner.ml.create_trained_model, **request)
        assert (error["quotaName"], error["quotaValue"]) == ("Instances for custom model training jobs", 10)
    finally:
        runner.emulator.change_settings(**before)


def test_version_101_exceeds_quota(custom: Custom) -> None:
    channel, model = train_model(custom)
    for _ in range(99):
        custom.continue_training(channel, model)
        custom.runner.advance(201)
    incremental = [{"trainedModelArn": model, "channelName": "before"}]
    request = custom.build_model_request("model", channel, incrementalTrainingDataChannels=incremental)
    error = expect_error("ServiceQuotaExceededException", custom.runner.ml.create_trained_model, **request)
    assert (error["quotaName"], error["quotaValue"]) == ("Versions per trained model", 100)


def test_fault_fails_training(custom: Custom) -> None:
    channel = custom.create_channel()
    custom.runner.add_fault("CreateTrainedModel", "fail_job", code="E1", message="{query}exit code 1")
    model = custom.train("m", channel)["trainedModelArn"]
    assert "statusDetails" not in custom.get(model)
    custom.runner.advance(201)
    failed_model = custom.get(model)
    assert (failed_model["status"], failed_model["statusDetails"]) == (
        "CREATE_FAILED",
        {"statusCode": "E1", "message": "exit code 1"},
    )
    custom.runner.ml.delete_trained_model_output(**custom.in_membership, trainedModelArn=model)


def test_versions_share_tags_of_their_arn(custom: Custom) -> None:
    channel, model = train_model(custom)
    custom.runner.ml.tag_resource(resourceArn=model, tags={"a": "1"})
    custom.continue_training(channel, model)
    assert custom.get(model)["tags"] == {"a": "1"}
