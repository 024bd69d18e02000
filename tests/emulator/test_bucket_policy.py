"""Bucket policies are evaluated as on AWS, for requests of jobs and of clients."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.s3.models import FakeBucket

from airflow_cleanroomsml.emulator.bucket_policy import Denial, S3Request, find_denial, is_allowed
from airflow_cleanroomsml.emulator.moto_s3 import create_app
from tests.support import World

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/job"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
OBJECT = "arn:aws:s3:::bucket/folder/key"
TLS = {"Bool": {"aws:SecureTransport": "false"}}


def build_statement(**changes: Any) -> dict[str, Any]:
    return {"Sid": "S", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*", **changes}


def build_request(principal: str = ROLE, headers: dict[str, str | None] | None = None) -> S3Request:
    keys = {"aws:securetransport": "true", "aws:principalarn": principal, "aws:principalaccount": ACCOUNT}
    return S3Request(principal, ACCOUNT, "s3:PutObject", OBJECT, {**keys, **(headers or {})})


def evaluate_statements(*statements: dict[str, Any], **headers: str | None) -> Denial | None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    return find_denial(policy, build_request(headers=headers))


@pytest.mark.parametrize(
    "condition",
    [
        TLS,
        {"Bool": {"aws:SecureTransport": False}},
        {"Bool": {"AWS:SECURETRANSPORT": ["false"]}},
        {"BoolIfExists": {"aws:SecureTransport": "false"}},
        {"StringEquals": {"aws:PrincipalAccount": "999999999999"}},
        {"StringNotEquals": {"aws:PrincipalAccount": [ACCOUNT, "999999999999"]}},
        {"StringNotEqualsIgnoreCase": {"aws:PrincipalArn": ROLE.upper()}},
        {"StringNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/j?b"}},
        {"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}},
        {"ArnNotEquals": {"aws:PrincipalArn": ROLE}},
        {"Null": {"aws:PrincipalArn": "true"}},
        {**TLS, "StringNotEquals": {"aws:SourceVpce": "vpce-1"}},
    ],
)
def test_unmet_condition_does_not_deny(condition: dict[str, Any]) -> None:
    assert evaluate_statements(build_statement(Condition=condition)) is None


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"Bool": {"aws:SecureTransport": "true"}},
        {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}},
        {"StringNotEquals": {"aws:PrincipalAccount": "999999999999"}},
        {"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/j?b"}},
        {"Null": {"aws:PrincipalArn": "false"}},
    ],
)
def test_met_condition_denies(condition: dict[str, Any]) -> None:
    assert evaluate_statements(build_statement(Condition=condition)) == Denial("S")


@pytest.mark.parametrize(
    ("condition", "keys"),
    [
        ({"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}, ("aws:PrincipalOrgID",)),
        ({"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}, ("aws:SourceVpce",)),
        ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, ("aws:SourceIp",)),
        ({"Null": {"s3:x-amz-server-side-encryption": "true"}}, ("s3:x-amz-server-side-encryption",)),
        ({"ForAnyValue:StringEquals": {"aws:PrincipalArn": ROLE}}, ("aws:PrincipalArn",)),
        (
            {"StringNotEquals": {"aws:SourceVpce": "v", "aws:PrincipalOrgID": "o"}},
            ("aws:SourceVpce", "aws:PrincipalOrgID"),
        ),
    ],
)
def test_unknown_condition_denies_and_is_named(condition: dict[str, Any], keys: tuple[str, ...]) -> None:
    result = evaluate_statements(build_statement(Condition=condition))
    assert result == Denial("S", keys)
    assert all(key in str(result) for key in keys)
    assert "cannot evaluate" in str(result)


def test_statement_with_known_conditions_is_named_first() -> None:
    unknown = build_statement(Sid="Unknown", Condition={"StringEquals": {"aws:SourceVpce": "v"}})
    assert evaluate_statements(unknown, build_statement(Sid="")) == Denial("number 2")
    assert str(Denial("number 2")) == "statement number 2 of the bucket policy"


@pytest.mark.parametrize(
    ("header", "value", "denied"),
    [("aws:kms", "aws:kms", False), ("aws:kms", "AES256", True), ("aws:kms", None, True)],
)
def test_known_headers_are_evaluated(header: str, value: str | None, denied: bool) -> None:
    key = "s3:x-amz-server-side-encryption"
    result = evaluate_statements(build_statement(Condition={"StringNotEquals": {key: header}}), **{key: value})
    assert (result == Denial("S")) is denied
    assert evaluate_statements(build_statement(Condition={"StringEquals": {key: "AES256"}}), **{key: None}) is None
    assert evaluate_statements(
        build_statement(Condition={"StringEqualsIfExists": {key: "AES256"}}), **{key: None}
    ) == Denial("S")


@pytest.mark.parametrize(
    ("changes", "denied"),
    [
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": [ROLE]}}, True),
        ({"Principal": {"AWS": ROOT}}, True),
        ({"Principal": {"AWS": ACCOUNT}}, True),
        ({"Principal": {"AWS": f"{ROLE}-2"}}, False),
        ({"Principal": {"AWS": "999999999999"}}, False),
        ({"Principal": {"Service": "logging.s3.amazonaws.com"}}, False),
        ({"Action": "s3:putobject"}, True),
        ({"Action": ["s3:Get*", "s3:Delete*"]}, False),
        ({"Resource": "arn:aws:s3:::bucket/folder/*"}, True),
        ({"Resource": "arn:aws:s3:::bucket/Folder/*"}, False),
        ({"Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/k.y"]}, False),
    ],
)
def test_statement_matches_principal_action_and_resource(changes: dict[str, Any], denied: bool) -> None:
    assert (evaluate_statements(build_statement(**changes)) is not None) is denied


@pytest.mark.parametrize(
    ("not_principal", "principal", "denied"),
    [
        ({"AWS": [ROLE, ROOT]}, ROLE, False),
        ({"AWS": [ROLE]}, ROLE, False),
        ({"AWS": ROOT}, ROLE, True),
        ({"AWS": ACCOUNT}, ROOT, False),
        ({"AWS": f"{ROLE}-2"}, ROLE, True),
        ({"Service": "s3.amazonaws.com"}, ROLE, True),
    ],
)
def test_not_principal_denies_all_others(not_principal: Any, principal: str, denied: bool) -> None:
    statement = {key: value for key, value in build_statement(NotPrincipal=not_principal).items() if key != "Principal"}
    result = find_denial(json.dumps({"Statement": statement}), build_request(principal))
    assert (result is not None) is denied


@pytest.mark.parametrize(
    ("change", "denied"),
    [
        ({"NotAction": "s3:Put*"}, False),
        ({"NotAction": "s3:Get*"}, True),
        ({"NotResource": "arn:aws:s3:::bucket/folder/*"}, False),
        ({"NotResource": "arn:aws:s3:::other/*"}, True),
    ],
)
def test_not_action_and_not_resource_are_evaluated(change: dict[str, Any], denied: bool) -> None:
    (name,) = change
    statement = {key: value for key, value in build_statement(**change).items() if key != name.removeprefix("Not")}
    assert (evaluate_statements(statement) is not None) is denied


def test_unknown_condition_does_not_allow() -> None:
    def allows(condition: dict[str, Any]) -> bool:
        return is_allowed(
            json.dumps({"Statement": build_statement(Effect="Allow", Condition=condition)}), build_request()
        )

    assert allows({"Bool": {"aws:SecureTransport": "true"}})
    assert not allows(TLS)
    assert not allows({"StringEquals": {"aws:SourceVpce": "v"}})


def put_policy(world: World, *statements: dict[str, Any]) -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    world.client("s3").put_bucket_policy(Bucket=world.bucket, Policy=text)


def build_bucket_statement(world: World, **changes: Any) -> dict[str, Any]:
    arn = f"arn:aws:s3:::{world.bucket}"
    return build_statement(Resource=[arn, f"{arn}/*"], **changes)


def run_export(world: World, job: str) -> dict[str, Any]:
    size = {"type": "PERCENTAGE", "value": 20}
    world.ml.start_audience_export_job(name="e", audienceGenerationJobArn=job, audienceSize=size)
    while True:
        (export,) = world.ml.list_audience_export_jobs(audienceGenerationJobArn=job)["audienceExportJobs"]
        if export["status"] in ("ACTIVE", "CREATE_FAILED"):
            return dict(export)


def test_bucket_that_denies_plain_http_is_usable(world: World) -> None:
    put_policy(world, build_bucket_statement(world, Condition=TLS))
    export = run_export(world, world.generate_audience())
    assert export["status"] == "ACTIVE", export
    s3 = world.client("s3")
    (entry,) = s3.list_objects_v2(Bucket=world.bucket, Prefix="audiences/")["Contents"]
    assert s3.get_object(Bucket=world.bucket, Key=entry["Key"])["Body"].read().startswith(b'{"user_id"')
    assert s3.head_object(Bucket=world.bucket, Key=entry["Key"])["ContentLength"] == entry["Size"]
    assert s3.delete_objects(Bucket=world.bucket, Delete={"Objects": [{"Key": entry["Key"]}]})["Deleted"]


def test_exempted_role_can_write(world: World) -> None:
    job = world.generate_audience()
    statement = build_bucket_statement(world, NotPrincipal={"AWS": [world.role, f"arn:aws:iam::{world.account}:root"]})
    del statement["Principal"]
    put_policy(world, statement)
    assert run_export(world, job)["status"] == "ACTIVE"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}},
            "cannot evaluate and counts as met (aws:SourceVpce)",
        ),
        (
            {"Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}},
            "cannot evaluate and counts as met (s3:x-amz-server-side-encryption)",
        ),
        (
            {"Principal": {"AWS": "{role}"}},
            "explicit deny in a resource-based policy: statement S of the bucket policy",
        ),
    ],
)
def test_failed_export_names_denying_statement_and_reason(world: World, changes: dict[str, Any], message: str) -> None:
    job = world.generate_audience()
    if "Principal" in changes:
        changes = {"Principal": {"AWS": world.role}}
    put_policy(world, build_bucket_statement(world, **changes))
    details = run_export(world, job)["statusDetails"]
    assert details["statusCode"] == "ACCESS_DENIED"
    assert f"User: {world.role} is not authorized to perform: s3:PutObject" in details["message"]
    assert message in details["message"]
    assert "role needs" not in details["message"]


def test_put_is_denied_by_its_headers(world: World) -> None:
    s3 = world.client("s3")
    key = "s3:x-amz-server-side-encryption"
    put_policy(
        world, build_bucket_statement(world, Action="s3:PutObject", Condition={"StringNotEquals": {key: "AES256"}})
    )
    s3.put_object(Bucket=world.bucket, Key="k", Body=b"", ServerSideEncryption="AES256")
    with pytest.raises(ClientError, match="explicit deny in a resource-based policy: statement S") as caught:
        s3.put_object(Bucket=world.bucket, Key="k", Body=b"")
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_denied_deletion_deletes_nothing(world: World) -> None:
    s3 = world.client("s3")
    s3.put_object(Bucket=world.bucket, Key="k", Body=b"")
    put_policy(world, build_bucket_statement(world, Action="s3:DeleteObject"))
    (error,) = s3.delete_objects(Bucket=world.bucket, Delete={"Objects": [{"Key": "k"}]})["Errors"]
    assert error["Code"] == "AccessDenied"
    with pytest.raises(ClientError, match="explicit deny in a resource-based policy: statement S of the bucket policy"):
        s3.delete_object(Bucket=world.bucket, Key="k")


def test_policy_recognises_assumed_role(world: World) -> None:
    put_policy(world, build_bucket_statement(world, Principal={"AWS": world.role}))
    client = world.make_client_of_role("s3", world.role)
    with pytest.raises(ClientError, match=f"User: {world.role} is not authorized"):
        client.put_object(Bucket=world.bucket, Key="k", Body=b"")
    world.client("s3").put_object(Bucket=world.bucket, Key="k", Body=b"")


def test_anonymous_request_is_allowed_by_public_policy(world: World) -> None:
    world.client("s3").put_object(Bucket=world.bucket, Key="k", Body=b"content")
    url = f"{world.emulator.url}/{world.bucket}/k"
    account_root = {"AWS": f"arn:aws:iam::{world.account}:root"}
    put_policy(world, build_bucket_statement(world, Effect="Allow", Principal=account_root))
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url)
    put_policy(world, build_bucket_statement(world, Effect="Allow"))
    assert urllib.request.urlopen(url).read() == b"content"


def test_moto_calls_replaced_policy_evaluation() -> None:
    create_app("s3")
    assert FakeBucket.get_permission.__module__ == "airflow_cleanroomsml.emulator.moto_s3"
