"""Inference jobs, export jobs and ML configurations of custom models, over real boto3."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_cleanroomsml._requests.request import load
from tests.emulator.clocked_world import ClockedWorld, expect_error
from tests.emulator.custom_models import Custom, associate, create_algorithm
from tests.helpers.collaboration import Collaboration, join_collaboration

UNKNOWN_VERSION = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def channel(custom: Custom) -> str:
    return custom.create_channel()


@pytest.fixture
def model(custom: Custom, channel: str) -> str:
    arn = str(custom.train("model", channel)["trainedModelArn"])
    custom.runner.advance(201)
    return arn


def read_job(custom: Custom, arn: str) -> dict[str, Any]:
    response: dict[str, Any] = custom.runner.ml.get_trained_model_inference_job(
        **custom.in_membership, trainedModelInferenceJobArn=arn
    )
    return response


def build_export_request(
    custom: Custom, model: str, name: str = "e", receiver: str = "", **more: Any
) -> dict[str, Any]:
    output = {"members": [{"accountId": receiver or custom.runner.account}]}
    return {**custom.in_membership, "name": name, "trainedModelArn": model, "outputConfiguration": output, **more}


def list_exports(custom: Custom, model: str, **more: Any) -> list[dict[str, Any]]:
    response = custom.provider.ml.list_collaboration_trained_model_export_jobs(
        **custom.in_collaboration, trainedModelArn=model, **more
    )
    entries: list[dict[str, Any]] = response["collaborationTrainedModelExportJobs"]
    return entries


def test_get_echoes_inference_request(custom: Custom, channel: str, model: str) -> None:
    request = custom.build_inference_request(
        "i",
        model,
        channel,
        description="d",
        containerExecutionParameters={"maxPayloadInMB": 6},
        environment={"A": "1"},
        tags={"a": "1"},
        mlModelInferencePayerAccountId=custom.runner.account,
    )
    arn = custom.runner.ml.start_trained_model_inference_job(**request)["trainedModelInferenceJobArn"]
    assert re.fullmatch(load().shape_for("TrainedModelInferenceJobArn").metadata["pattern"], arn)
    job = read_job(custom, arn)
    assert {name: job[name] for name in request} == request
    assert job["trainedModelVersionIdentifier"] == "NULL"
    assert job["configuredModelAlgorithmAssociationArn"] == custom.association


def test_inference_job_status_follows_clock(custom: Custom, channel: str, model: str) -> None:
    arn = custom.infer("i", model, channel)
    delete, identifiers = (
        custom.runner.ml.delete_trained_model_output,
        {**custom.in_membership, "trainedModelArn": model},
    )
    for expected in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
        assert read_job(custom, arn)["status"] == expected
        expect_error("ConflictException", delete, **identifiers)
        custom.runner.advance(101)
    assert read_job(custom, arn)["status"] == "ACTIVE"
    cancel = custom.runner.ml.cancel_trained_model_inference_job
    expect_error("ConflictException", cancel, **custom.in_membership, trainedModelInferenceJobArn=arn)
    delete(**identifiers)


def test_inference_job_is_cancelled(custom: Custom, channel: str, model: str) -> None:
    arn = custom.infer("i", model, channel)
    cancel = custom.runner.ml.cancel_trained_model_inference_job
    cancel(**custom.in_membership, trainedModelInferenceJobArn=arn)
    for expected in ("CANCEL_PENDING", "CANCEL_IN_PROGRESS", "INACTIVE"):
        assert read_job(custom, arn)["status"] == expected
        expect_error("ConflictException", cancel, **custom.in_membership, trainedModelInferenceJobArn=arn)
        custom.runner.advance(51)


def test_inference_jobs_are_listed_by_model_and_version(
    custom: Custom, channel: str, model: str, stranger: ClockedWorld
) -> None:
    version = custom.continue_training(channel, model)
    other = custom.train("other", channel)["trainedModelArn"]
    custom.runner.advance(201)
    custom.infer("latest", model, channel)
    custom.infer("named", model, channel, trainedModelVersionIdentifier=version)
    custom.infer("of other", other, channel)
    for world, operation, key, identifiers in (
        (custom.runner, "list_trained_model_inference_jobs", "trainedModelInferenceJobs", custom.in_membership),
        (
            custom.provider,
            "list_collaboration_trained_model_inference_jobs",
            "collaborationTrainedModelInferenceJobs",
            custom.in_collaboration,
        ),
    ):
        for members, names in (
            ({}, ["latest", "named", "of other"]),
            ({"trainedModelArn": model}, ["latest", "named"]),
            ({"trainedModelArn": model, "trainedModelVersionIdentifier": version}, ["latest", "named"]),
            ({"trainedModelVersionIdentifier": UNKNOWN_VERSION}, []),
        ):
            pages = world.ml.get_paginator(operation).paginate(
                **identifiers, **members, PaginationConfig={"PageSize": 2}
            )
            assert [entry["name"] for page in pages for entry in page[key]] == names
        expect_error("AccessDeniedException", getattr(stranger.ml, operation), **identifiers)


def test_inference_requires_abilities_and_valid_inputs(custom: Custom, channel: str, model: str) -> None:
    start, request = (
        custom.runner.ml.start_trained_model_inference_job,
        custom.build_inference_request("i", model, channel),
    )
    request_of_provider = {**request, "membershipIdentifier": custom.collaboration.find_membership(custom.provider)}
    expect_error("AccessDeniedException", custom.provider.ml.start_trained_model_inference_job, **request_of_provider)
    for receiver in (custom.provider.account, "000000000000"):
        output = {"outputConfiguration": {"members": [{"accountId": receiver}]}}
        expect_error("ValidationException", start, **{**request, **output})
    expect_error("ResourceNotFoundException", start, **request, trainedModelVersionIdentifier=UNKNOWN_VERSION)
    model_in_training = custom.train("in training", channel)["trainedModelArn"]
    expect_error("ValidationException", start, **{**request, "trainedModelArn": model_in_training})
    pending = custom.runner.ml.create_ml_input_channel(**custom.build_channel_request("pending"))["mlInputChannelArn"]
    expect_error("ValidationException", start, **{**request, "dataSource": {"mlInputChannelArn": pending}})
    imageless = custom.provider.ml.create_configured_model_algorithm(name="x", roleArn=custom.provider.role)
    bare = associate(
        custom.provider,
        custom.collaboration.find_membership(custom.provider),
        imageless["configuredModelAlgorithmArn"],
        "bare",
    )
    expect_error("ValidationException", start, **request, configuredModelAlgorithmAssociationArn=bare)
    other = associate(
        custom.provider,
        custom.collaboration.find_membership(custom.provider),
        create_algorithm(custom.provider, "other"),
        "other",
    )
    custom.infer("i", model, channel, configuredModelAlgorithmAssociationArn=other)
    expect_error("ConflictException", start, **request)


def test_inference_has_separate_quotas(custom: Custom, channel: str, model: str) -> None:
    for index in range(3):
        custom.infer(f"i{index}", model, channel)
    start = custom.runner.ml.start_trained_model_inference_job
    error = expect_error("ServiceQuotaExceededException", start, **custom.build_inference_request("i3", model, channel))
    assert (error["quotaName"], error["quotaValue"]) == ("ml.m5.2xlarge for custom model inference jobs", 3)
    for index in range(3, 5):
        custom.infer(f"i{index}", model, channel, resourceConfig={"instanceType": "ml.m5.4xlarge"})
    error = expect_error("ServiceQuotaExceededException", start, **custom.build_inference_request("i5", model, channel))
    assert (error["quotaName"], error["quotaValue"]) == ("Custom model inference jobs in progress per membership", 5)
    custom.train("meanwhile", channel)


def test_export_is_listed_in_collaboration(custom: Custom, channel: str, model: str) -> None:
    request = build_export_request(custom, model, description="d")
    custom.runner.ml.start_trained_model_export_job(**request)
    for expected in ("CREATE_PENDING", "CREATE_IN_PROGRESS", "ACTIVE"):
        [entry] = list_exports(custom, model)
        assert entry["status"] == expected
        custom.runner.advance(101)
    assert {name: entry[name] for name in request} == request
    assert (entry["creatorAccountId"], entry["trainedModelVersionIdentifier"]) == (custom.runner.account, "NULL")
    version = custom.continue_training(channel, model)
    custom.runner.advance(201)
    custom.runner.ml.start_trained_model_export_job(**request)
    custom.runner.ml.start_trained_model_export_job(**{**request, "name": "f"})
    assert [entry["name"] for entry in list_exports(custom, model)] == ["e", "e", "f"]
    of_version = list_exports(custom, model, trainedModelVersionIdentifier=version)
    assert [(entry["name"], entry["status"]) for entry in of_version] == [
        ("e", "CREATE_PENDING"),
        ("f", "CREATE_PENDING"),
    ]
    assert list_exports(custom, model[:-4] + "0000") == []


def test_export_requires_abilities_of_receivers(custom: Custom, model: str, stranger: ClockedWorld) -> None:
    start = custom.runner.ml.start_trained_model_export_job
    start(**build_export_request(custom, model, receiver=custom.provider.account))
    expect_error("ConflictException", start, **build_export_request(custom, model))
    expect_error("ValidationException", start, **build_export_request(custom, model, "x", "000000000000"))
    request_of_provider = {
        **build_export_request(custom, model),
        "membershipIdentifier": custom.collaboration.find_membership(custom.provider),
    }
    custom.provider.ml.start_trained_model_export_job(**request_of_provider)
    expect_error("ResourceNotFoundException", stranger.ml.start_trained_model_export_job, **request_of_provider)
    expect_error(
        "AccessDeniedException",
        stranger.ml.list_collaboration_trained_model_export_jobs,
        **custom.in_collaboration,
        trainedModelArn=model,
    )
    assert [entry["name"] for entry in list_exports(custom, model)] == ["e", "e"]


def test_fault_fails_export(custom: Custom, model: str) -> None:
    custom.runner.add_fault("StartTrainedModelExportJob", "fail_job", code="E7", message="no bucket")
    custom.runner.ml.start_trained_model_export_job(**build_export_request(custom, model))
    custom.runner.advance(201)
    [entry] = list_exports(custom, model)
    assert (entry["status"], entry["statusDetails"]) == ("CREATE_FAILED", {"statusCode": "E7", "message": "no bucket"})


def configure(custom: Custom, **more: Any) -> None:
    location = {"roleArn": custom.runner.role, **more}
    custom.runner.ml.put_ml_configuration(**custom.in_membership, defaultOutputLocation=location)


def test_ml_configuration_replaces_earlier_one(custom: Custom) -> None:
    read = custom.runner.ml.get_ml_configuration
    expect_error("ResourceNotFoundException", read, **custom.in_membership)
    configure(custom)
    first = read(**custom.in_membership)
    assert first["defaultOutputLocation"] == {"roleArn": custom.runner.role}
    destination = {"s3Destination": {"s3Uri": "s3://bucket/ml"}}
    custom.runner.advance(10)
    configure(custom, destination=destination)
    second = read(**custom.in_membership)
    assert second["defaultOutputLocation"] == {"roleArn": custom.runner.role, "destination": destination}
    assert second["createTime"] == first["createTime"]
    assert second["updateTime"] > first["updateTime"]
    put = custom.runner.ml.put_ml_configuration
    expect_error(
        "AccessDeniedException", put, **custom.in_membership, defaultOutputLocation={"roleArn": custom.provider.role}
    )
    other = {"membershipIdentifier": custom.collaboration.find_membership(custom.provider)}
    expect_error("AccessDeniedException", put, **other, defaultOutputLocation={"roleArn": custom.runner.role})
    expect_error("ConflictException", custom.runner.cleanrooms.delete_membership, **custom.in_membership)
    custom.runner.ml.delete_ml_configuration(**custom.in_membership)
    expect_error("ResourceNotFoundException", custom.runner.ml.delete_ml_configuration, **custom.in_membership)


def test_logs_are_published_if_configured_when_job_ends(custom: Custom, channel: str) -> None:
    def read_publication(model: str) -> tuple[str | None, str | None]:
        response = custom.get(model)
        return response.get("logsStatus"), response.get("metricsStatus")

    succeeded, failed = ("PUBLISH_SUCCEEDED",) * 2, ("PUBLISH_FAILED",) * 2
    unconfigured = custom.train("without", channel)["trainedModelArn"]
    assert read_publication(unconfigured) == (None, None)
    custom.runner.advance(201)
    configure(custom)
    assert read_publication(unconfigured) == failed
    details = custom.get(unconfigured)["logsStatusDetails"]
    assert details == "Failed to publish logs as no ML Config role is set"
    configured = custom.train("with", channel)["trainedModelArn"]
    custom.runner.advance(201)
    arn = custom.infer("i", configured, channel)
    custom.runner.ml.delete_ml_configuration(**custom.in_membership)
    assert (read_publication(unconfigured), read_publication(configured)) == (failed, succeeded)
    assert "logsStatusDetails" not in custom.get(configured)
    custom.runner.advance(201)
    assert read_job(custom, arn)["logsStatus"] == "PUBLISH_FAILED"


def test_each_member_sees_status_of_its_own_logs(custom: Custom, channel: str) -> None:
    provider, runner = custom.provider, custom.runner
    model = custom.train("m", channel)["trainedModelArn"]

    def read_log_statuses(world: ClockedWorld) -> list[str | None]:
        """Read the statuses of logs that a member sees: the model's, then the inference job's if it exists."""
        shared_model = world.ml.get_collaboration_trained_model(**custom.in_collaboration, trainedModelArn=model)
        response = world.ml.list_collaboration_trained_model_inference_jobs(**custom.in_collaboration)
        jobs = response["collaborationTrainedModelInferenceJobs"]
        assert shared_model.get("metricsStatus") == shared_model.get("logsStatus")
        return [resource.get("logsStatus") for resource in (shared_model, *jobs)]

    succeeded, failed = "PUBLISH_SUCCEEDED", "PUBLISH_FAILED"
    location = {"roleArn": provider.role}
    membership_of_provider = {"membershipIdentifier": custom.collaboration.find_membership(provider)}
    provider.ml.put_ml_configuration(**membership_of_provider, defaultOutputLocation=location)
    assert (read_log_statuses(provider), read_log_statuses(runner)) == ([None], [None])
    runner.advance(201)
    assert (read_log_statuses(provider), read_log_statuses(runner)) == ([succeeded], [failed])
    # Creating or deleting a configuration does not change what was published of a job that has ended.
    configure(custom)
    provider.ml.delete_ml_configuration(**membership_of_provider)
    assert (read_log_statuses(provider), read_log_statuses(runner)) == ([succeeded], [failed])
    arn = custom.infer("i", model, channel)
    assert (read_log_statuses(provider), read_log_statuses(runner)) == ([succeeded, None], [failed, None])
    runner.advance(201)
    assert (read_log_statuses(provider), read_log_statuses(runner)) == ([succeeded, failed], [failed, succeeded])
    assert (custom.get(model)["logsStatus"], read_job(custom, arn)["logsStatus"]) == (failed, succeeded)
    provider.ml.put_ml_configuration(**membership_of_provider, defaultOutputLocation=location)
    assert read_log_statuses(provider) == [succeeded, failed]
    shared_model = provider.ml.get_collaboration_trained_model(**custom.in_collaboration, trainedModelArn=model)
    assert "logsStatusDetails" not in shared_model


def test_new_member_has_no_logs_of_ended_jobs(
    provider: ClockedWorld, runner: ClockedWorld, stranger: ClockedWorld
) -> None:
    identifier = provider.cleanrooms.create_collaboration(
        name="c",
        description="d",
        creatorDisplayName="creator",
        creatorMemberAbilities=["CAN_QUERY"],
        members=[{"accountId": stranger.account, "displayName": "late", "memberAbilities": []}],
        queryLogStatus="DISABLED",
    )["collaboration"]["id"]
    custom = Custom(Collaboration(identifier, {}), provider, provider, "")
    custom.collaboration.memberships[provider.account] = join_collaboration(provider, identifier)
    custom.association = associate(provider, custom.collaboration.find_membership(provider), create_algorithm(provider))
    configure(custom)
    model = custom.train("m", custom.create_channel())["trainedModelArn"]
    provider.advance(201)
    membership = join_collaboration(stranger, identifier)
    stranger.ml.put_ml_configuration(membershipIdentifier=membership, defaultOutputLocation={"roleArn": stranger.role})
    for world, status in ((provider, "PUBLISH_SUCCEEDED"), (stranger, "PUBLISH_FAILED")):
        response = world.ml.get_collaboration_trained_model(collaborationIdentifier=identifier, trainedModelArn=model)
        assert response["logsStatus"] == status
