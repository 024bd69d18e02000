"""Trained models and their versions, over real boto3."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_cleanroomsml._requests.request import load
from tests.emulator.clocked_world import ClockedWorld, expect_refusal
from tests.emulator.custom_models import COMPUTE, Custom, associate, create_algorithm
from tests.helpers.collaboration import collaborate


def versions(custom: Custom, model: str, **more: Any) -> list[str]:
    found = custom.runner.ml.list_trained_model_versions(**custom.of, trainedModelArn=model, **more)
    return [entry["versionIdentifier"] for entry in found["trainedModels"]]


def trained(custom: Custom, name: str = "model") -> tuple[str, str]:
    """Channel and model, both ACTIVE."""
    channel = custom.create_channel(f"channel of {name}")
    model = custom.train(name, channel)["trainedModelArn"]
    custom.runner.push(201)
    return channel, model


def test_it_is_returned_as_created(custom: Custom) -> None:
    channel = custom.create_channel()
    asked = custom.build_model_request(
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
    made = custom.runner.ml.create_trained_model(**asked)
    arn, version = made["trainedModelArn"], made["versionIdentifier"]
    assert re.fullmatch(load().shape_for("TrainedModelArn").metadata["pattern"], arn)
    assert version == "NULL"
    found = custom.get(arn)
    assert {name: found[name] for name in asked} == asked
    assert (found["versionIdentifier"], found["collaborationIdentifier"]) == ("NULL", custom.collaboration.id)
    seen = custom.provider.ml.get_collaboration_trained_model(**custom.within, trainedModelArn=arn)
    assert (seen["creatorAccountId"], seen["resourceConfig"]) == (custom.runner.account, COMPUTE)
    assert "hyperparameters" not in seen


def test_its_status_follows_the_clock(custom: Custom) -> None:
    model = custom.train("m", custom.create_channel())["trainedModelArn"]
    delete, of = custom.runner.ml.delete_trained_model_output, {**custom.of, "trainedModelArn": model}
    for expected in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
        assert {custom.get(model)["status"] for _ in range(5)} == {expected}
        expect_refusal("ConflictException", delete, **of)
        custom.runner.push(101)
    assert custom.get(model)["status"] == "ACTIVE"
    expect_refusal("ConflictException", custom.runner.ml.cancel_trained_model, **of)
    delete(**of)
    for expected in ("DELETE_PENDING", "DELETE_IN_PROGRESS", "INACTIVE"):
        assert custom.get(model)["status"] == expected
        expect_refusal("ConflictException", delete, **of)
        custom.runner.push(51)
    [entry] = custom.runner.ml.list_trained_models(**custom.of)["trainedModels"]
    assert (entry["name"], entry["status"]) == ("m", "INACTIVE")


@pytest.mark.parametrize("waited", [0, 101])
def test_it_can_be_cancelled_during_training(custom: Custom, waited: int) -> None:
    model = custom.train("m", custom.create_channel())["trainedModelArn"]
    of = {**custom.of, "trainedModelArn": model}
    custom.runner.push(waited)
    custom.runner.ml.cancel_trained_model(**of)
    for expected in ("CANCEL_PENDING", "CANCEL_IN_PROGRESS", "INACTIVE"):
        assert custom.get(model)["status"] == expected
        expect_refusal("ConflictException", custom.runner.ml.cancel_trained_model, **of)
        custom.runner.push(51)
    before = custom.get(model)["updateTime"]
    custom.runner.push(1000)
    assert (custom.get(model)["status"], custom.get(model)["updateTime"]) == ("INACTIVE", before)


def test_a_further_version_has_the_same_arn(custom: Custom) -> None:
    channel, model = trained(custom)
    second = custom.continue_training(channel, model)
    custom.runner.push(201)
    third = custom.continue_training(channel, model)
    assert versions(custom, model) == ["NULL", second, third]
    assert versions(custom, model, status="ACTIVE") == ["NULL", second]
    assert versions(custom, model, status="CREATE_PENDING") == [third]
    assert versions(custom, model, status="INACTIVE") == []
    found = custom.get(model, versionIdentifier=second)
    shown = {"channelName": "before", "versionIdentifier": "NULL", "modelName": "model"}
    assert found["incrementalTrainingDataChannels"] == [shown]
    assert (
        "incrementalTrainingDataChannels"
        not in custom.runner.ml.list_trained_model_versions(**custom.of, trainedModelArn=model, maxResults=1)[
            "trainedModels"
        ][0]
    )


def test_the_default_version_is_the_latest_or_the_base(custom: Custom) -> None:
    channel, model = trained(custom)
    second = custom.continue_training(channel, model)
    of = {**custom.of, "trainedModelArn": model}
    assert custom.get(model)["versionIdentifier"] == second
    seen = custom.provider.ml.get_collaboration_trained_model(**custom.within, trainedModelArn=model)
    assert seen["versionIdentifier"] == second
    # The base version is ACTIVE: there is nothing to cancel, though the latest one is trained.
    expect_refusal("ConflictException", custom.runner.ml.cancel_trained_model, **of)
    custom.runner.ml.delete_trained_model_output(**of)
    custom.runner.push(101)
    assert custom.get(model)["status"] == "CREATE_IN_PROGRESS"
    custom.runner.ml.cancel_trained_model(**of, versionIdentifier=second)
    custom.runner.push(101)
    found = custom.runner.ml.list_trained_model_versions(**of)["trainedModels"]
    assert [entry["status"] for entry in found] == ["INACTIVE", "INACTIVE"]


def test_a_listing_has_one_entry_per_model_in_a_fixed_position(custom: Custom) -> None:
    channel, first = trained(custom, "first")
    custom.train("second", channel)
    custom.runner.push(201)
    version = custom.continue_training(channel, first, "first")
    for world, operation, key, of in (
        (custom.runner, "list_trained_models", "trainedModels", custom.of),
        (custom.provider, "list_collaboration_trained_models", "collaborationTrainedModels", custom.within),
    ):
        pages = world.ml.get_paginator(operation).paginate(**of, PaginationConfig={"PageSize": 1})
        found = [(entry["name"], entry["versionIdentifier"]) for page in pages for entry in page[key]]
        assert found == [("first", version), ("second", "NULL")]


def test_a_page_of_versions_has_ten_entries(custom: Custom) -> None:
    channel, model = trained(custom)
    for _ in range(10):
        custom.continue_training(channel, model)
        custom.runner.push(201)
    first = custom.runner.ml.list_trained_model_versions(**custom.of, trainedModelArn=model)
    assert len(first["trainedModels"]) == 10
    assert len(versions(custom, model, nextToken=first["nextToken"])) == 1
    assert len(versions(custom, model, maxResults=100)) == 11


def test_incremental_training_requires_an_active_version(custom: Custom) -> None:
    channel, model = trained(custom)
    other = model[:-1] + ("0" if model[-1] != "0" else "1")
    create = custom.runner.ml.create_trained_model
    for code, arn, more in (
        ("ResourceNotFoundException", other, {}),
        ("ResourceNotFoundException", model, {"versionIdentifier": "00000000-0000-0000-0000-000000000000"}),
    ):
        incremental = [{"trainedModelArn": arn, "channelName": "before", **more}]
        asked = custom.build_model_request("model", channel, incrementalTrainingDataChannels=incremental)
        expect_refusal(code, create, **asked)
    custom.continue_training(channel, model)
    again = [{"trainedModelArn": model, "channelName": "before"}]
    # The latest version is meant, and that one is still trained.
    expect_refusal(
        "ValidationException",
        create,
        **custom.build_model_request("model", channel, incrementalTrainingDataChannels=again),
    )
    same = [{"trainedModelArn": model, "channelName": "training"}]
    expect_refusal(
        "ValidationException", create, **custom.build_model_request("x", channel, incrementalTrainingDataChannels=same)
    )


def test_names_are_unique_in_a_collaboration(custom: Custom) -> None:
    channel, _ = trained(custom, "n")
    expect_refusal(
        "ConflictException", custom.runner.ml.create_trained_model, **custom.build_model_request("n", channel)
    )


def test_training_requires_ability_and_valid_inputs(custom: Custom, stranger: ClockedWorld) -> None:
    channel = custom.create_channel()
    create, asked = custom.runner.ml.create_trained_model, custom.build_model_request("m", channel)
    provider = {**asked, "membershipIdentifier": custom.collaboration.find_membership(custom.provider)}
    expect_refusal("AccessDeniedException", custom.provider.ml.create_trained_model, **provider)
    expect_refusal("ResourceNotFoundException", stranger.ml.create_trained_model, **asked)
    pending = custom.runner.ml.create_ml_input_channel(**custom.build_channel_request("pending"))["mlInputChannelArn"]
    expect_refusal("ValidationException", create, **custom.build_model_request("m", pending))
    membership = custom.collaboration.find_membership(custom.provider)
    other = associate(custom.provider, membership, create_algorithm(custom.provider, "other"), "other")
    expect_refusal("ValidationException", create, **{**asked, "configuredModelAlgorithmAssociationArn": other})
    imageless = custom.provider.ml.create_configured_model_algorithm(name="x", roleArn=custom.provider.role)
    bare = associate(custom.provider, membership, imageless["configuredModelAlgorithmArn"], "bare")
    made_for = custom.create_channel("for bare", configuredModelAlgorithmAssociations=[bare])
    expect_refusal(
        "ValidationException",
        create,
        **custom.build_model_request("m", made_for, configuredModelAlgorithmAssociationArn=bare),
    )
    expect_refusal("ValidationException", create, **asked, mlModelTrainingPayerAccountId="000000000000")
    assert custom.runner.ml.list_trained_models(**custom.of)["trainedModels"] == []


def test_data_in_use_is_not_deleted(custom: Custom) -> None:
    channel = custom.create_channel()
    custom.train("m", channel)
    delete, of = custom.runner.ml.delete_ml_input_channel_data, {**custom.of, "mlInputChannelArn": channel}
    expect_refusal("ConflictException", delete, **of)
    custom.runner.push(201)
    delete(**of)


@pytest.mark.parametrize(
    ("compute", "name", "value"),
    [
        ({"instanceType": "ml.m5.xlarge"}, "ml.m5.xlarge for custom model training jobs", 0),
        ({"instanceType": "ml.m5.4xlarge", "instanceCount": 4}, "ml.m5.4xlarge for custom model training jobs", 3),
    ],
)
def test_most_instance_types_have_a_quota_of_zero(
    custom: Custom, compute: dict[str, Any], name: str, value: int
) -> None:
    asked = custom.build_model_request("m", custom.create_channel(), resourceConfig={**compute, "volumeSizeInGB": 1})
    full = expect_refusal("ServiceQuotaExceededException", custom.runner.ml.create_trained_model, **asked)
    assert (full["quotaName"], full["quotaValue"]) == (name, value)


def test_a_membership_trains_five_models_at_a_time(custom: Custom) -> None:
    channel, kinds = custom.create_channel(), ["ml.m5.2xlarge", "ml.m5.4xlarge", "ml.m5.12xlarge"]
    for index in range(5):
        custom.train(f"m{index}", channel, resourceConfig={**COMPUTE, "instanceType": kinds[index % 3]})
    asked = custom.build_model_request("m5", channel)
    full = expect_refusal("ServiceQuotaExceededException", custom.runner.ml.create_trained_model, **asked)
    assert (full["quotaName"], full["quotaValue"]) == ("Custom model training jobs in progress per membership", 5)
    custom.runner.push(201)
    custom.train("m5", channel)


def test_an_account_trains_ten_models_at_a_time_with_all_instance_types(
    provider: ClockedWorld, runner: ClockedWorld
) -> None:
    before = runner.emulator.change_settings(instance_types=[])
    try:
        used = create_algorithm(provider)
        made = [collaborate(provider, runner) for _ in range(3)]
        customs = [
            Custom(one, provider, runner, associate(provider, one.find_membership(provider), used)) for one in made
        ]
        channels = [custom.create_channel() for custom in customs]
        small = {"resourceConfig": {"instanceType": "ml.m5.large", "volumeSizeInGB": 1}}
        for custom, channel in zip(customs[:2], channels, strict=False):
            for index in range(5):
                custom.train(f"m{index}", channel, **small)
        asked = customs[2].build_model_request("m", channels[2], **small)
        full = expect_refusal("ServiceQuotaExceededException", runner.ml.create_trained_model, **asked)
        assert (full["quotaName"], full["quotaValue"]) == ("Custom model training jobs in progress per account", 10)
        runner.push(201)
        asked["resourceConfig"] = {**small["resourceConfig"], "instanceCount": 5}
        runner.ml.create_trained_model(**asked)
        customs[1].train("m", channels[1], resourceConfig=asked["resourceConfig"])
        asked = customs[0].build_model_request("m", channels[0], **small)
        full = expect_refusal("ServiceQuotaExceededException", runner.ml.create_trained_model, **asked)
        assert (full["quotaName"], full["quotaValue"]) == ("Instances for custom model training jobs", 10)
    finally:
        runner.emulator.change_settings(**before)


def test_a_hundred_and_first_version_exceeds_the_quota(custom: Custom) -> None:
    channel, model = trained(custom)
    for _ in range(99):
        custom.continue_training(channel, model)
        custom.runner.push(201)
    incremental = [{"trainedModelArn": model, "channelName": "before"}]
    asked = custom.build_model_request("model", channel, incrementalTrainingDataChannels=incremental)
    full = expect_refusal("ServiceQuotaExceededException", custom.runner.ml.create_trained_model, **asked)
    assert (full["quotaName"], full["quotaValue"]) == ("Versions per trained model", 100)


def test_a_fault_fails_its_training(custom: Custom) -> None:
    channel = custom.create_channel()
    custom.runner.add_fault("CreateTrainedModel", "fail_job", code="E1", message="{query}exit code 1")
    model = custom.train("m", channel)["trainedModelArn"]
    assert "statusDetails" not in custom.get(model)
    custom.runner.push(201)
    found = custom.get(model)
    assert (found["status"], found["statusDetails"]) == (
        "CREATE_FAILED",
        {"statusCode": "E1", "message": "exit code 1"},
    )
    custom.runner.ml.delete_trained_model_output(**custom.of, trainedModelArn=model)


def test_versions_share_the_tags_of_their_arn(custom: Custom) -> None:
    channel, model = trained(custom)
    custom.runner.ml.tag_resource(resourceArn=model, tags={"a": "1"})
    custom.continue_training(channel, model)
    assert custom.get(model)["tags"] == {"a": "1"}
