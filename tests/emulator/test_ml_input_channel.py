"""ML input channels and the protected queries behind them, over real boto3."""

from __future__ import annotations

import re

from airflow_cleanroomsml._requests.request import load
from tests.emulator.clocked_world import ClockedWorld, expect_refusal
from tests.emulator.custom_models import SQL, Custom, associate, create_algorithm
from tests.helpers.collaboration import collaborate

DAY = 86_400


def status(custom: Custom, channel: str) -> str:
    return str(custom.runner.ml.get_ml_input_channel(**custom.of, mlInputChannelArn=channel)["status"])


def query(custom: Custom, channel: str) -> dict[str, str]:
    found = custom.runner.ml.get_ml_input_channel(**custom.of, mlInputChannelArn=channel)
    return {**custom.of, "protectedQueryIdentifier": found["protectedQueryIdentifier"]}


def test_it_is_returned_as_created(custom: Custom) -> None:
    key = f"arn:aws:kms:us-east-1:{custom.runner.account}:key/1"
    payers = {"computePayerAccountId": custom.provider.account}
    more = {"description": "d", "kmsKeyArn": key, "tags": {"a": "1"}, "payerConfiguration": payers}
    asked = custom.build_channel_request("c", **more)
    arn = custom.runner.ml.create_ml_input_channel(**asked)["mlInputChannelArn"]
    assert re.fullmatch(load().shape_for("MLInputChannelArn").metadata["pattern"], arn)
    found = custom.runner.ml.get_ml_input_channel(**custom.of, mlInputChannelArn=arn)
    assert {name: found[name] for name in asked} == asked
    assert found["collaborationIdentifier"] == custom.collaboration.id
    assert "numberOfRecords" not in found
    [entry] = custom.runner.ml.list_ml_input_channels(**custom.of)["mlInputChannelsList"]
    assert entry["protectedQueryIdentifier"] == found["protectedQueryIdentifier"]


def test_the_other_member_sees_it_without_its_query(custom: Custom, stranger: ClockedWorld) -> None:
    arn = custom.create_channel("c")
    found = custom.provider.ml.get_collaboration_ml_input_channel(**custom.within, mlInputChannelArn=arn)
    assert (found["creatorAccountId"], found["status"]) == (custom.runner.account, "ACTIVE")
    assert found["membershipIdentifier"] == custom.collaboration.find_membership(custom.runner)
    assert SQL not in str(found)
    listing = custom.provider.ml.list_collaboration_ml_input_channels
    assert [entry["name"] for entry in listing(**custom.within)["collaborationMLInputChannelsList"]] == ["c"]
    expect_refusal(
        "AccessDeniedException",
        stranger.ml.get_collaboration_ml_input_channel,
        **custom.within,
        mlInputChannelArn=arn,
    )
    expect_refusal(
        "ResourceNotFoundException",
        custom.provider.ml.get_ml_input_channel,
        membershipIdentifier=custom.collaboration.find_membership(custom.provider),
        mlInputChannelArn=arn,
    )


def test_deleting_its_data_keeps_its_record(custom: Custom) -> None:
    arn = custom.runner.ml.create_ml_input_channel(**custom.build_channel_request())["mlInputChannelArn"]
    delete, of = custom.runner.ml.delete_ml_input_channel_data, {**custom.of, "mlInputChannelArn": arn}
    for expected in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
        assert status(custom, arn) == expected
        expect_refusal("ConflictException", delete, **of)
        custom.runner.push(101)
    assert status(custom, arn) == "ACTIVE"
    expect_refusal("ConflictException", custom.runner.rooms.delete_membership, **custom.of)
    delete(**of)
    for expected in ("DELETE_PENDING", "DELETE_IN_PROGRESS", "INACTIVE", "INACTIVE"):
        assert status(custom, arn) == expected
        expect_refusal("ConflictException", delete, **of)
        custom.runner.push(51)
    expect_refusal("ConflictException", custom.runner.ml.create_ml_input_channel, **custom.build_channel_request())


def test_its_data_is_kept_for_the_retention_period(custom: Custom) -> None:
    short, long = custom.create_channel("short", retentionInDays=1), custom.create_channel("long", retentionInDays=2)
    custom.runner.push(DAY - 1000)
    assert [status(custom, arn) for arn in (short, long)] == ["ACTIVE", "ACTIVE"]
    before = custom.runner.ml.get_ml_input_channel(**custom.of, mlInputChannelArn=short)
    custom.runner.push(1000)
    assert [status(custom, arn) for arn in (short, long)] == ["INACTIVE", "ACTIVE"]
    after = custom.runner.ml.get_ml_input_channel(**custom.of, mlInputChannelArn=short)
    assert round((after["updateTime"] - before["updateTime"]).total_seconds()) == DAY


def test_creation_requires_ability_and_valid_inputs(custom: Custom) -> None:
    create = custom.runner.ml.create_ml_input_channel
    provider = custom.provider
    asked = custom.build_channel_request()
    foreign = {**asked["inputChannel"], "roleArn": provider.role}
    expect_refusal("AccessDeniedException", create, **{**asked, "inputChannel": foreign})
    cannot_query = {**asked, "membershipIdentifier": custom.collaboration.find_membership(provider)}
    expect_refusal("AccessDeniedException", provider.ml.create_ml_input_channel, **cannot_query)
    expect_refusal("ResourceNotFoundException", create, **cannot_query)
    unknown = [custom.association[:-1] + ("0" if custom.association[-1] != "0" else "1")]
    expect_refusal("ResourceNotFoundException", create, **{**asked, "configuredModelAlgorithmAssociations": unknown})
    payer = {"payerConfiguration": {"computePayerAccountId": "000000000000"}}
    expect_refusal("ValidationException", create, **asked, **payer)
    assert custom.runner.ml.list_ml_input_channels(**custom.of)["mlInputChannelsList"] == []


def test_resources_of_another_collaboration_are_not_found(custom: Custom) -> None:
    other = collaborate(custom.provider, custom.runner)
    elsewhere = associate(
        custom.provider, other.find_membership(custom.provider), create_algorithm(custom.provider, "other")
    )
    asked = custom.build_channel_request(configuredModelAlgorithmAssociations=[elsewhere])
    expect_refusal("ResourceNotFoundException", custom.runner.ml.create_ml_input_channel, **asked)


def test_a_hundred_and_first_channel_exceeds_the_quota(custom: Custom) -> None:
    for index in range(100):
        custom.runner.ml.create_ml_input_channel(**custom.build_channel_request(f"c{index}"))
    create, asked = custom.runner.ml.create_ml_input_channel, custom.build_channel_request("c100")
    full = expect_refusal("ServiceQuotaExceededException", create, **asked)
    assert (full["quotaName"], full["quotaValue"]) == ("Active ML input channels per membership", 100)


def test_its_query_runs_as_long_as_it_does(custom: Custom) -> None:
    arn = custom.runner.ml.create_ml_input_channel(**custom.build_channel_request())["mlInputChannelArn"]
    of = query(custom, arn)
    for expected in ("SUBMITTED", "STARTED", "SUCCESS"):
        found = custom.runner.rooms.get_protected_query(**of)["protectedQuery"]
        assert found["status"] == expected
        assert found["sqlParameters"] == {"queryString": SQL}
        custom.runner.push(101)
    expect_refusal("ConflictException", custom.runner.rooms.update_protected_query, **of, targetStatus="CANCELLED")
    expect_refusal(
        "ResourceNotFoundException",
        custom.provider.rooms.get_protected_query,
        **{**of, "membershipIdentifier": custom.collaboration.find_membership(custom.provider)},
    )


def test_it_fails_when_its_query_is_cancelled(custom: Custom) -> None:
    arn = custom.runner.ml.create_ml_input_channel(**custom.build_channel_request())["mlInputChannelArn"]
    of = query(custom, arn)
    custom.runner.push(101)
    made = custom.runner.rooms.update_protected_query(**of, targetStatus="CANCELLED")["protectedQuery"]
    assert (made["status"], status(custom, arn)) == ("CANCELLING", "CREATE_IN_PROGRESS")
    custom.runner.push(101)
    assert custom.runner.rooms.get_protected_query(**of)["protectedQuery"]["status"] == "CANCELLED"
    found = custom.runner.ml.get_ml_input_channel(**custom.of, mlInputChannelArn=arn)
    assert (found["status"], found["statusDetails"]["statusCode"]) == ("CREATE_FAILED", "QUERY_CANCELLED")
    custom.runner.ml.delete_ml_input_channel_data(**custom.of, mlInputChannelArn=arn)


def test_the_newest_query_is_listed_first(custom: Custom) -> None:
    queries = [query(custom, custom.create_channel(f"c{index}"))["protectedQueryIdentifier"] for index in range(3)]
    custom.runner.ml.create_ml_input_channel(**custom.build_channel_request("c3"))
    listing = custom.runner.rooms.get_paginator("list_protected_queries")
    for size in (1, 2, 100):
        pages = listing.paginate(**custom.of, status="SUCCESS", PaginationConfig={"PageSize": size})
        assert [entry["id"] for page in pages for entry in page["protectedQueries"]] == queries[::-1]


def test_a_fault_fails_it_with_an_error_that_quotes_its_query(custom: Custom) -> None:
    custom.runner.add_fault("CreateMLInputChannel", "fail_job", code="E42", message="near '{query}': no such table")
    arn = custom.create_channel("bad")
    found = custom.runner.ml.get_ml_input_channel(**custom.of, mlInputChannelArn=arn)
    details = {"statusCode": "E42", "message": f"near '{SQL}': no such table"}
    assert (found["status"], found["statusDetails"]) == ("CREATE_FAILED", details)
    failed = custom.runner.rooms.get_protected_query(**query(custom, arn))["protectedQuery"]
    assert (failed["status"], failed["error"]) == (
        "FAILED",
        {"code": details["statusCode"], "message": details["message"]},
    )
    assert status(custom, custom.create_channel("good")) == "ACTIVE"


def test_its_tags_can_be_changed(custom: Custom) -> None:
    arn = custom.create_channel(tags={"a": "1"})
    custom.runner.ml.tag_resource(resourceArn=arn, tags={"b": "2"})
    custom.runner.ml.untag_resource(resourceArn=arn, tagKeys=["a"])
    found = custom.runner.ml.get_ml_input_channel(**custom.of, mlInputChannelArn=arn)
    assert found["tags"] == custom.runner.ml.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "2"}
