"""Inference jobs, export jobs and ML configurations of custom models, over real boto3."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_cleanroomsml._requests.request import load
from tests.emulator.clocked_world import ClockedWorld, expect_refusal
from tests.emulator.custom_models import Custom, associate, create_algorithm
from tests.helpers.collaboration import Collaboration, join_collaboration

NOWHERE = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def channel(custom: Custom) -> str:
    return custom.create_channel()


@pytest.fixture
def model(custom: Custom, channel: str) -> str:
    arn = str(custom.train("model", channel)["trainedModelArn"])
    custom.runner.push(201)
    return arn


def job(custom: Custom, arn: str) -> dict[str, Any]:
    found: dict[str, Any] = custom.runner.ml.get_trained_model_inference_job(
        **custom.of, trainedModelInferenceJobArn=arn
    )
    return found


def export_request(custom: Custom, model: str, name: str = "e", receiver: str = "", **more: Any) -> dict[str, Any]:
    output = {"members": [{"accountId": receiver or custom.runner.account}]}
    return {**custom.of, "name": name, "trainedModelArn": model, "outputConfiguration": output, **more}


def exports(custom: Custom, model: str, **more: Any) -> list[dict[str, Any]]:
    found = custom.provider.ml.list_collaboration_trained_model_export_jobs(
        **custom.within, trainedModelArn=model, **more
    )
    entries: list[dict[str, Any]] = found["collaborationTrainedModelExportJobs"]
    return entries


def test_an_inference_job_is_returned_as_created(custom: Custom, channel: str, model: str) -> None:
    asked = custom.build_inference_request(
        "i",
        model,
        channel,
        description="d",
        containerExecutionParameters={"maxPayloadInMB": 6},
        environment={"A": "1"},
        tags={"a": "1"},
        mlModelInferencePayerAccountId=custom.runner.account,
    )
    arn = custom.runner.ml.start_trained_model_inference_job(**asked)["trainedModelInferenceJobArn"]
    assert re.fullmatch(load().shape_for("TrainedModelInferenceJobArn").metadata["pattern"], arn)
    found = job(custom, arn)
    assert {name: found[name] for name in asked} == asked
    assert found["trainedModelVersionIdentifier"] == "NULL"
    assert found["configuredModelAlgorithmAssociationArn"] == custom.association


def test_the_status_of_an_inference_job_follows_the_clock(custom: Custom, channel: str, model: str) -> None:
    arn = custom.infer("i", model, channel)
    delete, of = custom.runner.ml.delete_trained_model_output, {**custom.of, "trainedModelArn": model}
    for expected in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
        assert job(custom, arn)["status"] == expected
        expect_refusal("ConflictException", delete, **of)
        custom.runner.push(101)
    assert job(custom, arn)["status"] == "ACTIVE"
    cancel = custom.runner.ml.cancel_trained_model_inference_job
    expect_refusal("ConflictException", cancel, **custom.of, trainedModelInferenceJobArn=arn)
    delete(**of)


def test_an_inference_job_is_cancelled(custom: Custom, channel: str, model: str) -> None:
    arn = custom.infer("i", model, channel)
    cancel = custom.runner.ml.cancel_trained_model_inference_job
    cancel(**custom.of, trainedModelInferenceJobArn=arn)
    for expected in ("CANCEL_PENDING", "CANCEL_IN_PROGRESS", "INACTIVE"):
        assert job(custom, arn)["status"] == expected
        expect_refusal("ConflictException", cancel, **custom.of, trainedModelInferenceJobArn=arn)
        custom.runner.push(51)


def test_inference_jobs_are_listed_by_model_and_version(
    custom: Custom, channel: str, model: str, stranger: ClockedWorld
) -> None:
    version = custom.continue_training(channel, model)
    other = custom.train("other", channel)["trainedModelArn"]
    custom.runner.push(201)
    custom.infer("latest", model, channel)
    custom.infer("named", model, channel, trainedModelVersionIdentifier=version)
    custom.infer("of other", other, channel)
    for world, operation, key, of in (
        (custom.runner, "list_trained_model_inference_jobs", "trainedModelInferenceJobs", custom.of),
        (
            custom.provider,
            "list_collaboration_trained_model_inference_jobs",
            "collaborationTrainedModelInferenceJobs",
            custom.within,
        ),
    ):
        for members, names in (
            ({}, ["latest", "named", "of other"]),
            ({"trainedModelArn": model}, ["latest", "named"]),
            ({"trainedModelArn": model, "trainedModelVersionIdentifier": version}, ["latest", "named"]),
            ({"trainedModelVersionIdentifier": NOWHERE}, []),
        ):
            pages = world.ml.get_paginator(operation).paginate(**of, **members, PaginationConfig={"PageSize": 2})
            assert [entry["name"] for page in pages for entry in page[key]] == names
        expect_refusal("AccessDeniedException", getattr(stranger.ml, operation), **of)


def test_inference_requires_abilities_and_valid_inputs(custom: Custom, channel: str, model: str) -> None:
    start, asked = (
        custom.runner.ml.start_trained_model_inference_job,
        custom.build_inference_request("i", model, channel),
    )
    provider = {**asked, "membershipIdentifier": custom.collaboration.find_membership(custom.provider)}
    expect_refusal("AccessDeniedException", custom.provider.ml.start_trained_model_inference_job, **provider)
    for receiver in (custom.provider.account, "000000000000"):
        output = {"outputConfiguration": {"members": [{"accountId": receiver}]}}
        expect_refusal("ValidationException", start, **{**asked, **output})
    expect_refusal("ResourceNotFoundException", start, **asked, trainedModelVersionIdentifier=NOWHERE)
    training = custom.train("in training", channel)["trainedModelArn"]
    expect_refusal("ValidationException", start, **{**asked, "trainedModelArn": training})
    pending = custom.runner.ml.create_ml_input_channel(**custom.build_channel_request("pending"))["mlInputChannelArn"]
    expect_refusal("ValidationException", start, **{**asked, "dataSource": {"mlInputChannelArn": pending}})
    trains = custom.provider.ml.create_configured_model_algorithm(name="x", roleArn=custom.provider.role)
    bare = associate(
        custom.provider,
        custom.collaboration.find_membership(custom.provider),
        trains["configuredModelAlgorithmArn"],
        "bare",
    )
    expect_refusal("ValidationException", start, **asked, configuredModelAlgorithmAssociationArn=bare)
    other = associate(
        custom.provider,
        custom.collaboration.find_membership(custom.provider),
        create_algorithm(custom.provider, "other"),
        "other",
    )
    custom.infer("i", model, channel, configuredModelAlgorithmAssociationArn=other)
    expect_refusal("ConflictException", start, **asked)


def test_inference_has_quotas_of_its_own(custom: Custom, channel: str, model: str) -> None:
    for index in range(3):
        custom.infer(f"i{index}", model, channel)
    start = custom.runner.ml.start_trained_model_inference_job
    full = expect_refusal(
        "ServiceQuotaExceededException", start, **custom.build_inference_request("i3", model, channel)
    )
    assert (full["quotaName"], full["quotaValue"]) == ("ml.m5.2xlarge for custom model inference jobs", 3)
    for index in range(3, 5):
        custom.infer(f"i{index}", model, channel, resourceConfig={"instanceType": "ml.m5.4xlarge"})
    full = expect_refusal(
        "ServiceQuotaExceededException", start, **custom.build_inference_request("i5", model, channel)
    )
    assert (full["quotaName"], full["quotaValue"]) == ("Custom model inference jobs in progress per membership", 5)
    custom.train("meanwhile", channel)


def test_an_export_is_listed_in_the_collaboration(custom: Custom, channel: str, model: str) -> None:
    asked = export_request(custom, model, description="d")
    custom.runner.ml.start_trained_model_export_job(**asked)
    for expected in ("CREATE_PENDING", "CREATE_IN_PROGRESS", "ACTIVE"):
        [entry] = exports(custom, model)
        assert entry["status"] == expected
        custom.runner.push(101)
    assert {name: entry[name] for name in asked} == asked
    assert (entry["creatorAccountId"], entry["trainedModelVersionIdentifier"]) == (custom.runner.account, "NULL")
    version = custom.continue_training(channel, model)
    custom.runner.push(201)
    custom.runner.ml.start_trained_model_export_job(**asked)
    custom.runner.ml.start_trained_model_export_job(**{**asked, "name": "f"})
    assert [entry["name"] for entry in exports(custom, model)] == ["e", "e", "f"]
    of_version = exports(custom, model, trainedModelVersionIdentifier=version)
    assert [(entry["name"], entry["status"]) for entry in of_version] == [
        ("e", "CREATE_PENDING"),
        ("f", "CREATE_PENDING"),
    ]
    assert exports(custom, model[:-4] + "0000") == []


def test_an_export_requires_abilities_of_its_receivers(custom: Custom, model: str, stranger: ClockedWorld) -> None:
    start = custom.runner.ml.start_trained_model_export_job
    start(**export_request(custom, model, receiver=custom.provider.account))
    expect_refusal("ConflictException", start, **export_request(custom, model))
    expect_refusal("ValidationException", start, **export_request(custom, model, "x", "000000000000"))
    own = {
        **export_request(custom, model),
        "membershipIdentifier": custom.collaboration.find_membership(custom.provider),
    }
    custom.provider.ml.start_trained_model_export_job(**own)
    expect_refusal("ResourceNotFoundException", stranger.ml.start_trained_model_export_job, **own)
    expect_refusal(
        "AccessDeniedException",
        stranger.ml.list_collaboration_trained_model_export_jobs,
        **custom.within,
        trainedModelArn=model,
    )
    assert [entry["name"] for entry in exports(custom, model)] == ["e", "e"]


def test_a_fault_fails_an_export(custom: Custom, model: str) -> None:
    custom.runner.add_fault("StartTrainedModelExportJob", "fail_job", code="E7", message="no bucket")
    custom.runner.ml.start_trained_model_export_job(**export_request(custom, model))
    custom.runner.push(201)
    [entry] = exports(custom, model)
    assert (entry["status"], entry["statusDetails"]) == ("CREATE_FAILED", {"statusCode": "E7", "message": "no bucket"})


def configure(custom: Custom, **more: Any) -> None:
    location = {"roleArn": custom.runner.role, **more}
    custom.runner.ml.put_ml_configuration(**custom.of, defaultOutputLocation=location)


def test_an_ml_configuration_replaces_an_earlier_one(custom: Custom) -> None:
    read = custom.runner.ml.get_ml_configuration
    expect_refusal("ResourceNotFoundException", read, **custom.of)
    configure(custom)
    first = read(**custom.of)
    assert first["defaultOutputLocation"] == {"roleArn": custom.runner.role}
    destination = {"s3Destination": {"s3Uri": "s3://bucket/ml"}}
    custom.runner.push(10)
    configure(custom, destination=destination)
    second = read(**custom.of)
    assert second["defaultOutputLocation"] == {"roleArn": custom.runner.role, "destination": destination}
    assert second["createTime"] == first["createTime"]
    assert second["updateTime"] > first["updateTime"]
    put = custom.runner.ml.put_ml_configuration
    expect_refusal("AccessDeniedException", put, **custom.of, defaultOutputLocation={"roleArn": custom.provider.role})
    other = {"membershipIdentifier": custom.collaboration.find_membership(custom.provider)}
    expect_refusal("AccessDeniedException", put, **other, defaultOutputLocation={"roleArn": custom.runner.role})
    expect_refusal("ConflictException", custom.runner.rooms.delete_membership, **custom.of)
    custom.runner.ml.delete_ml_configuration(**custom.of)
    expect_refusal("ResourceNotFoundException", custom.runner.ml.delete_ml_configuration, **custom.of)


def test_logs_are_published_with_a_configuration_at_the_end_of_the_job(custom: Custom, channel: str) -> None:
    def publication(model: str) -> tuple[str | None, str | None]:
        found = custom.get(model)
        return found.get("logsStatus"), found.get("metricsStatus")

    succeeded, failed = ("PUBLISH_SUCCEEDED",) * 2, ("PUBLISH_FAILED",) * 2
    without = custom.train("without", channel)["trainedModelArn"]
    assert publication(without) == (None, None)
    custom.runner.push(201)
    configure(custom)
    assert publication(without) == failed
    details = custom.get(without)["logsStatusDetails"]
    assert details == "Failed to publish logs as no ML Config role is set"
    with_one = custom.train("with", channel)["trainedModelArn"]
    custom.runner.push(201)
    arn = custom.infer("i", with_one, channel)
    custom.runner.ml.delete_ml_configuration(**custom.of)
    assert (publication(without), publication(with_one)) == (failed, succeeded)
    assert "logsStatusDetails" not in custom.get(with_one)
    custom.runner.push(201)
    assert job(custom, arn)["logsStatus"] == "PUBLISH_FAILED"


def test_each_member_sees_whether_its_own_logs_were_published(custom: Custom, channel: str) -> None:
    provider, runner = custom.provider, custom.runner
    model = custom.train("m", channel)["trainedModelArn"]

    def seen(world: ClockedWorld) -> list[str | None]:
        """What a member sees of the model, and of the inference job once there is one."""
        shared = world.ml.get_collaboration_trained_model(**custom.within, trainedModelArn=model)
        listed = world.ml.list_collaboration_trained_model_inference_jobs(**custom.within)
        jobs = listed["collaborationTrainedModelInferenceJobs"]
        assert shared.get("metricsStatus") == shared.get("logsStatus")
        return [found.get("logsStatus") for found in (shared, *jobs)]

    succeeded, failed = "PUBLISH_SUCCEEDED", "PUBLISH_FAILED"
    location = {"roleArn": provider.role}
    theirs = {"membershipIdentifier": custom.collaboration.find_membership(provider)}
    provider.ml.put_ml_configuration(**theirs, defaultOutputLocation=location)
    assert (seen(provider), seen(runner)) == ([None], [None])
    runner.push(201)
    assert (seen(provider), seen(runner)) == ([succeeded], [failed])
    # A configuration that comes or goes later publishes nothing of a job that has ended.
    configure(custom)
    provider.ml.delete_ml_configuration(**theirs)
    assert (seen(provider), seen(runner)) == ([succeeded], [failed])
    arn = custom.infer("i", model, channel)
    assert (seen(provider), seen(runner)) == ([succeeded, None], [failed, None])
    runner.push(201)
    assert (seen(provider), seen(runner)) == ([succeeded, failed], [failed, succeeded])
    assert (custom.get(model)["logsStatus"], job(custom, arn)["logsStatus"]) == (failed, succeeded)
    provider.ml.put_ml_configuration(**theirs, defaultOutputLocation=location)
    assert seen(provider) == [succeeded, failed]
    details = provider.ml.get_collaboration_trained_model(**custom.within, trainedModelArn=model)
    assert "logsStatusDetails" not in details


def test_a_member_that_joins_later_has_no_logs_of_ended_jobs(
    provider: ClockedWorld, runner: ClockedWorld, stranger: ClockedWorld
) -> None:
    made = provider.rooms.create_collaboration(
        name="c",
        description="d",
        creatorDisplayName="creator",
        creatorMemberAbilities=["CAN_QUERY"],
        members=[{"accountId": stranger.account, "displayName": "late", "memberAbilities": []}],
        queryLogStatus="DISABLED",
    )["collaboration"]["id"]
    alone = Custom(Collaboration(made, {}), provider, provider, "")
    alone.collaboration.memberships[provider.account] = join_collaboration(provider, made)
    alone.association = associate(provider, alone.collaboration.find_membership(provider), create_algorithm(provider))
    configure(alone)
    model = alone.train("m", alone.create_channel())["trainedModelArn"]
    provider.push(201)
    late = join_collaboration(stranger, made)
    stranger.ml.put_ml_configuration(membershipIdentifier=late, defaultOutputLocation={"roleArn": stranger.role})
    for world, status in ((provider, "PUBLISH_SUCCEEDED"), (stranger, "PUBLISH_FAILED")):
        found = world.ml.get_collaboration_trained_model(collaborationIdentifier=made, trainedModelArn=model)
        assert found["logsStatus"] == status
