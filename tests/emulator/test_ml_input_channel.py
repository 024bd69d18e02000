"""ML input channels and the protected queries behind them, over real boto3."""

from __future__ import annotations

import re

from airflow_cleanroomsml._requests.request import load
from tests.emulator.clocked_world import ClockedWorld, expect_error
from tests.emulator.custom_models import SQL, Custom, associate, create_algorithm
from tests.helpers.collaboration import collaborate

DAY = 86_400


def read_status(custom: Custom, channel: str) -> str:
    return str(custom.runner.ml.get_ml_input_channel(**custom.in_membership, mlInputChannelArn=channel)["status"])


def find_query(custom: Custom, channel: str) -> dict[str, str]:
    response = custom.runner.ml.get_ml_input_channel(**custom.in_membership, mlInputChannelArn=channel)
    return {**custom.in_membership, "protectedQueryIdentifier": response["protectedQueryIdentifier"]}


def test_get_echoes_create_request(custom: Custom) -> None:
    key = f"arn:aws:kms:us-east-1:{custom.runner.account}:key/1"
    payers = {"computePayerAccountId": custom.provider.account}
    optional = {"description": "d", "kmsKeyArn": key, "tags": {"a": "1"}, "payerConfiguration": payers}
    request = custom.build_channel_request("c", **optional)
    arn = custom.runner.ml.create_ml_input_channel(**request)["mlInputChannelArn"]
    assert re.fullmatch(load().shape_for("MLInputChannelArn").metadata["pattern"], arn)
    channel = custom.runner.ml.get_ml_input_channel(**custom.in_membership, mlInputChannelArn=arn)
    assert {name: channel[name] for name in request} == request
    assert channel["collaborationIdentifier"] == custom.collaboration.id
    assert "numberOfRecords" not in channel
    [entry] = custom.runner.ml.list_ml_input_channels(**custom.in_membership)["mlInputChannelsList"]
    assert entry["protectedQueryIdentifier"] == channel["protectedQueryIdentifier"]


def test_other_member_sees_channel_without_query(custom: Custom, stranger: ClockedWorld) -> None:
    arn = custom.create_channel("c")
    channel = custom.provider.ml.get_collaboration_ml_input_channel(**custom.in_collaboration, mlInputChannelArn=arn)
    assert (channel["creatorAccountId"], channel["status"]) == (custom.runner.account, "ACTIVE")
    assert channel["membershipIdentifier"] == custom.collaboration.find_membership(custom.runner)
    assert SQL not in str(channel)
    listing = custom.provider.ml.list_collaboration_ml_input_channels
    assert [entry["name"] for entry in listing(**custom.in_collaboration)["collaborationMLInputChannelsList"]] == ["c"]
    expect_error(
        "AccessDeniedException",
        stranger.ml.get_collaboration_ml_input_channel,
        **custom.in_collaboration,
        mlInputChannelArn=arn,
    )
    expect_error(
        "ResourceNotFoundException",
        custom.provider.ml.get_ml_input_channel,
        membershipIdentifier=custom.collaboration.find_membership(custom.provider),
        mlInputChannelArn=arn,
    )


def test_deleting_data_keeps_channel_record(custom: Custom) -> None:
    arn = custom.runner.ml.create_ml_input_channel(**custom.build_channel_request())["mlInputChannelArn"]
    delete, identifiers = (
        custom.runner.ml.delete_ml_input_channel_data,
        {**custom.in_membership, "mlInputChannelArn": arn},
    )
    for expected in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
        assert read_status(custom, arn) == expected
        expect_error("ConflictException", delete, **identifiers)
        custom.runner.advance(101)
    assert read_status(custom, arn) == "ACTIVE"
    error = expect_error("ConflictException", custom.runner.cleanrooms.delete_membership, **custom.in_membership)
    assert f"while it has this ML input channel: {arn}." in error["Error"]["Message"]
    delete(**identifiers)
    for expected in ("DELETE_PENDING", "DELETE_IN_PROGRESS", "INACTIVE", "INACTIVE"):
        assert read_status(custom, arn) == expected
        expect_error("ConflictException", delete, **identifiers)
        custom.runner.advance(51)
    expect_error("ConflictException", custom.runner.ml.create_ml_input_channel, **custom.build_channel_request())


def test_data_is_kept_for_retention_period(custom: Custom) -> None:
    short, long = custom.create_channel("short", retentionInDays=1), custom.create_channel("long", retentionInDays=2)
    custom.runner.advance(DAY - 1000)
    assert [read_status(custom, arn) for arn in (short, long)] == ["ACTIVE", "ACTIVE"]
    before = custom.runner.ml.get_ml_input_channel(**custom.in_membership, mlInputChannelArn=short)
    custom.runner.advance(1000)
    assert [read_status(custom, arn) for arn in (short, long)] == ["INACTIVE", "ACTIVE"]
    after = custom.runner.ml.get_ml_input_channel(**custom.in_membership, mlInputChannelArn=short)
    assert round((after["updateTime"] - before["updateTime"]).total_seconds()) == DAY


def test_creation_requires_ability_and_valid_inputs(custom: Custom) -> None:
    create = custom.runner.ml.create_ml_input_channel
    provider = custom.provider
    request = custom.build_channel_request()
    foreign_input = {**request["inputChannel"], "roleArn": provider.role}
    expect_error("AccessDeniedException", create, **{**request, "inputChannel": foreign_input})
    request_of_provider = {**request, "membershipIdentifier": custom.collaboration.find_membership(provider)}
    expect_error("AccessDeniedException", provider.ml.create_ml_input_channel, **request_of_provider)
    expect_error("ResourceNotFoundException", create, **request_of_provider)
    unknown = [custom.association[:-1] + ("0" if custom.association[-1] != "0" else "1")]
    expect_error("ResourceNotFoundException", create, **{**request, "configuredModelAlgorithmAssociations": unknown})
    payer = {"payerConfiguration": {"computePayerAccountId": "000000000000"}}
    expect_error("ValidationException", create, **request, **payer)
    assert custom.runner.ml.list_ml_input_channels(**custom.in_membership)["mlInputChannelsList"] == []


def test_resources_of_another_collaboration_are_not_found(custom: Custom) -> None:
    other = collaborate(custom.provider, custom.runner)
    association = associate(
        custom.provider, other.find_membership(custom.provider), create_algorithm(custom.provider, "other")
    )
    request = custom.build_channel_request(configuredModelAlgorithmAssociations=[association])
    expect_error("ResourceNotFoundException", custom.runner.ml.create_ml_input_channel, **request)


def test_channel_101_exceeds_quota(custom: Custom) -> None:
    for index in range(100):
        custom.runner.ml.create_ml_input_channel(**custom.build_channel_request(f"c{index}"))
    create, request = custom.runner.ml.create_ml_input_channel, custom.build_channel_request("c100")
    error = expect_error("ServiceQuotaExceededException", create, **request)
    assert (error["quotaName"], error["quotaValue"]) == ("Active ML input channels per membership", 100)


def test_query_status_follows_channel(custom: Custom) -> None:
    arn = custom.runner.ml.create_ml_input_channel(**custom.build_channel_request())["mlInputChannelArn"]
    identifiers = find_query(custom, arn)
    for expected in ("SUBMITTED", "STARTED", "SUCCESS"):
        protected_query = custom.runner.cleanrooms.get_protected_query(**identifiers)["protectedQuery"]
        assert protected_query["status"] == expected
        assert protected_query["sqlParameters"] == {"queryString": SQL}
        custom.runner.advance(101)
    expect_error(
        "ConflictException", custom.runner.cleanrooms.update_protected_query, **identifiers, targetStatus="CANCELLED"
    )
    expect_error(
        "ResourceNotFoundException",
        custom.provider.cleanrooms.get_protected_query,
        **{**identifiers, "membershipIdentifier": custom.collaboration.find_membership(custom.provider)},
    )


def test_channel_fails_if_query_is_cancelled(custom: Custom) -> None:
    arn = custom.runner.ml.create_ml_input_channel(**custom.build_channel_request())["mlInputChannelArn"]
    identifiers = find_query(custom, arn)
    custom.runner.advance(101)
    response = custom.runner.cleanrooms.update_protected_query(**identifiers, targetStatus="CANCELLED")
    assert (response["protectedQuery"]["status"], read_status(custom, arn)) == ("CANCELLING", "CREATE_IN_PROGRESS")
    custom.runner.advance(101)
    assert custom.runner.cleanrooms.get_protected_query(**identifiers)["protectedQuery"]["status"] == "CANCELLED"
    channel = custom.runner.ml.get_ml_input_channel(**custom.in_membership, mlInputChannelArn=arn)
    assert (channel["status"], channel["statusDetails"]["statusCode"]) == ("CREATE_FAILED", "QUERY_CANCELLED")
    custom.runner.ml.delete_ml_input_channel_data(**custom.in_membership, mlInputChannelArn=arn)


def test_queries_are_listed_newest_first(custom: Custom) -> None:
    queries = [find_query(custom, custom.create_channel(f"c{index}"))["protectedQueryIdentifier"] for index in range(3)]
    custom.runner.ml.create_ml_input_channel(**custom.build_channel_request("c3"))
    listing = custom.runner.cleanrooms.get_paginator("list_protected_queries")
    for size in (1, 2, 100):
        pages = listing.paginate(**custom.in_membership, status="SUCCESS", PaginationConfig={"PageSize": size})
        assert [entry["id"] for page in pages for entry in page["protectedQueries"]] == queries[::-1]


def test_error_of_injected_fault_quotes_query(custom: Custom) -> None:
    custom.runner.add_fault("CreateMLInputChannel", "fail_job", code="E42", message="near '{query}': no such table")
    arn = custom.create_channel("bad")
    channel = custom.runner.ml.get_ml_input_channel(**custom.in_membership, mlInputChannelArn=arn)
    details = {"statusCode": "E42", "message": f"near '{SQL}': no such table"}
    assert (channel["status"], channel["statusDetails"]) == ("CREATE_FAILED", details)
    protected_query = custom.runner.cleanrooms.get_protected_query(**find_query(custom, arn))["protectedQuery"]
    assert (protected_query["status"], protected_query["error"]) == (
        "FAILED",
        {"code": details["statusCode"], "message": details["message"]},
    )
    assert read_status(custom, custom.create_channel("good")) == "ACTIVE"


def test_tags_can_be_changed(custom: Custom) -> None:
    arn = custom.create_channel(tags={"a": "1"})
    custom.runner.ml.tag_resource(resourceArn=arn, tags={"b": "2"})
    custom.runner.ml.untag_resource(resourceArn=arn, tagKeys=["a"])
    channel = custom.runner.ml.get_ml_input_channel(**custom.in_membership, mlInputChannelArn=arn)
    assert channel["tags"] == custom.runner.ml.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "2"}
