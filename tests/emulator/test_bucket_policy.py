"""Policies of buckets that a job reads from and writes to, as real buckets have them."""

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


def deny(**more: Any) -> dict[str, Any]:
    return {"Sid": "S", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*", **more}


def asked(principal: str = ROLE, headers: dict[str, str | None] | None = None) -> S3Request:
    known = {"aws:securetransport": "true", "aws:principalarn": principal, "aws:principalaccount": ACCOUNT}
    return S3Request(principal, ACCOUNT, "s3:PutObject", OBJECT, {**known, **(headers or {})})


def denial(*statements: dict[str, Any], **headers: str | None) -> Denial | None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    return find_denial(policy, asked(headers=headers))


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
def test_a_condition_that_is_not_met_denies_nothing(condition: dict[str, Any]) -> None:
    assert denial(deny(Condition=condition)) is None


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
def test_a_condition_that_is_met_denies(condition: dict[str, Any]) -> None:
    assert denial(deny(Condition=condition)) == Denial("S")


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
def test_an_unknown_condition_denies_and_is_named(condition: dict[str, Any], keys: tuple[str, ...]) -> None:
    found = denial(deny(Condition=condition))
    assert found == Denial("S", keys)
    assert all(key in str(found) for key in keys)
    assert "cannot evaluate" in str(found)


def test_a_statement_with_known_conditions_is_named_first() -> None:
    unknown = deny(Sid="Unknown", Condition={"StringEquals": {"aws:SourceVpce": "v"}})
    assert denial(unknown, deny(Sid="")) == Denial("number 2")
    assert str(Denial("number 2")) == "statement number 2 of the bucket policy"


@pytest.mark.parametrize(
    ("header", "value", "denied"),
    [("aws:kms", "aws:kms", False), ("aws:kms", "AES256", True), ("aws:kms", None, True)],
)
def test_known_headers_are_evaluated(header: str, value: str | None, denied: bool) -> None:
    key = "s3:x-amz-server-side-encryption"
    found = denial(deny(Condition={"StringNotEquals": {key: header}}), **{key: value})
    assert (found == Denial("S")) is denied
    assert denial(deny(Condition={"StringEquals": {key: "AES256"}}), **{key: None}) is None
    assert denial(deny(Condition={"StringEqualsIfExists": {key: "AES256"}}), **{key: None}) == Denial("S")


@pytest.mark.parametrize(
    ("more", "denied"),
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
def test_a_statement_applies_by_principal_action_and_resource(more: dict[str, Any], denied: bool) -> None:
    assert (denial(deny(**more)) is not None) is denied


@pytest.mark.parametrize(
    ("named", "principal", "denied"),
    [
        ({"AWS": [ROLE, ROOT]}, ROLE, False),
        ({"AWS": [ROLE]}, ROLE, False),
        ({"AWS": ROOT}, ROLE, True),
        ({"AWS": ACCOUNT}, ROOT, False),
        ({"AWS": f"{ROLE}-2"}, ROLE, True),
        ({"Service": "s3.amazonaws.com"}, ROLE, True),
    ],
)
def test_not_principal_denies_everyone_else(named: Any, principal: str, denied: bool) -> None:
    statement = {key: value for key, value in deny(NotPrincipal=named).items() if key != "Principal"}
    found = find_denial(json.dumps({"Statement": statement}), asked(principal))
    assert (found is not None) is denied


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
    statement = {key: value for key, value in deny(**change).items() if key != name.removeprefix("Not")}
    assert (denial(statement) is not None) is denied


def test_an_unknown_condition_allows_nothing() -> None:
    def allowed(condition: dict[str, Any]) -> bool:
        return is_allowed(json.dumps({"Statement": deny(Effect="Allow", Condition=condition)}), asked())

    assert allowed({"Bool": {"aws:SecureTransport": "true"}})
    assert not allowed(TLS)
    assert not allowed({"StringEquals": {"aws:SourceVpce": "v"}})


def restrict(world: World, *statements: dict[str, Any]) -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    world.client("s3").put_bucket_policy(Bucket=world.bucket, Policy=text)


def of_bucket(world: World, **more: Any) -> dict[str, Any]:
    arn = f"arn:aws:s3:::{world.bucket}"
    return deny(Resource=[arn, f"{arn}/*"], **more)


def exported(world: World, job: str) -> dict[str, Any]:
    size = {"type": "PERCENTAGE", "value": 20}
    world.ml.start_audience_export_job(name="e", audienceGenerationJobArn=job, audienceSize=size)
    while True:
        (found,) = world.ml.list_audience_export_jobs(audienceGenerationJobArn=job)["audienceExportJobs"]
        if found["status"] in ("ACTIVE", "CREATE_FAILED"):
            return dict(found)


def test_a_bucket_that_denies_plain_http_is_usable(world: World) -> None:
    restrict(world, of_bucket(world, Condition=TLS))
    export = exported(world, world.generate_audience())
    assert export["status"] == "ACTIVE", export
    s3 = world.client("s3")
    (written,) = s3.list_objects_v2(Bucket=world.bucket, Prefix="audiences/")["Contents"]
    assert s3.get_object(Bucket=world.bucket, Key=written["Key"])["Body"].read().startswith(b'{"user_id"')
    assert s3.head_object(Bucket=world.bucket, Key=written["Key"])["ContentLength"] == written["Size"]
    assert s3.delete_objects(Bucket=world.bucket, Delete={"Objects": [{"Key": written["Key"]}]})["Deleted"]


def test_an_exempted_role_can_write(world: World) -> None:
    job = world.generate_audience()
    statement = of_bucket(world, NotPrincipal={"AWS": [world.role, f"arn:aws:iam::{world.account}:root"]})
    del statement["Principal"]
    restrict(world, statement)
    assert exported(world, job)["status"] == "ACTIVE"


@pytest.mark.parametrize(
    ("more", "says"),
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
def test_a_failed_export_says_which_statement_denies_it_and_why(world: World, more: dict[str, Any], says: str) -> None:
    job = world.generate_audience()
    if "Principal" in more:
        more = {"Principal": {"AWS": world.role}}
    restrict(world, of_bucket(world, **more))
    details = exported(world, job)["statusDetails"]
    assert details["statusCode"] == "ACCESS_DENIED"
    assert f"User: {world.role} is not authorized to perform: s3:PutObject" in details["message"]
    assert says in details["message"]
    assert "role needs" not in details["message"]


def test_a_client_is_denied_by_its_headers(world: World) -> None:
    s3 = world.client("s3")
    key = "s3:x-amz-server-side-encryption"
    restrict(world, of_bucket(world, Action="s3:PutObject", Condition={"StringNotEquals": {key: "AES256"}}))
    s3.put_object(Bucket=world.bucket, Key="k", Body=b"", ServerSideEncryption="AES256")
    with pytest.raises(ClientError, match="explicit deny in a resource-based policy: statement S") as caught:
        s3.put_object(Bucket=world.bucket, Key="k", Body=b"")
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_denied_deletion_deletes_nothing(world: World) -> None:
    s3 = world.client("s3")
    s3.put_object(Bucket=world.bucket, Key="k", Body=b"")
    restrict(world, of_bucket(world, Action="s3:DeleteObject"))
    (error,) = s3.delete_objects(Bucket=world.bucket, Delete={"Objects": [{"Key": "k"}]})["Errors"]
    assert error["Code"] == "AccessDenied"
    with pytest.raises(ClientError, match="explicit deny in a resource-based policy: statement S of the bucket policy"):
        s3.delete_object(Bucket=world.bucket, Key="k")


def test_a_policy_recognises_an_assumed_role(world: World) -> None:
    restrict(world, of_bucket(world, Principal={"AWS": world.role}))
    client = world.make_client_of_role("s3", world.role)
    with pytest.raises(ClientError, match=f"User: {world.role} is not authorized"):
        client.put_object(Bucket=world.bucket, Key="k", Body=b"")
    world.client("s3").put_object(Bucket=world.bucket, Key="k", Body=b"")


def test_an_anonymous_request_is_allowed_what_everyone_is(world: World) -> None:
    world.client("s3").put_object(Bucket=world.bucket, Key="k", Body=b"content")
    url = f"{world.emulator.url}/{world.bucket}/k"
    own = {"AWS": f"arn:aws:iam::{world.account}:root"}
    restrict(world, of_bucket(world, Effect="Allow", Principal=own))
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url)
    restrict(world, of_bucket(world, Effect="Allow"))
    assert urllib.request.urlopen(url).read() == b"content"


def test_moto_calls_the_replaced_policy_evaluation() -> None:
    create_app("s3")
    assert FakeBucket.get_permission.__module__ == "airflow_cleanroomsml.emulator.moto_s3"
