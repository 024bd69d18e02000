"""IAM policies in every form that the grammar allows, and in forms that it does not (IAM user guide, reference_policies_grammar)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_cleanroomsml._training_data.policy_elements import find_policy_problem
from airflow_cleanroomsml.emulator.bucket_policy import S3Request, find_denial, is_allowed
from tests.emulator.test_edges import partner, put, statement
from tests.helpers.collaboration import collaborate
from tests.support import World

__all__ = ["partner"]
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/job"
OBJECT = "arn:aws:s3:::bucket/folder/key"
COLLABORATION = "cleanrooms-ml:CollaborationId"
VALID = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}


def omit(name: str, **more: Any) -> dict[str, Any]:
    """Build a valid statement without one of its elements, and with others."""
    return {key: value for key, value in {**VALID, **more}.items() if key != name}


@pytest.mark.parametrize(
    "policy",
    [
        {"Statement": VALID},
        {"Statement": []},
        {"Version": "2008-10-17", "Id": "p", "Statement": [VALID, {**VALID, "Sid": "two"}]},
        {"Statement": {**VALID, "Action": ["s3:Get*"], "Resource": ["a", "b"], "Principal": {"AWS": ["1", "2"]}}},
        {"Statement": omit("Action", NotAction=["s3:Get*"])},
        {"Statement": omit("Resource", NotResource="a")},
        {"Statement": omit("Principal", NotPrincipal={"Service": "s3.amazonaws.com", "Federated": ["x"]})},
        {"Statement": {**VALID, "Condition": {}}},
        {"Statement": {**VALID, "Condition": {"Bool": {"aws:SecureTransport": [True, "false"]}}}},
        {"Statement": {**VALID, "Condition": {"NumericLessThanEquals": {"s3:max-keys": 10, "a:b": ["1", 2]}}}},
        {"Statement": {**VALID, "Condition": {"ForAllValues:StringLikeIfExists": {"aws:TagKeys": ["a"]}}}},
        {"Statement": {**VALID, "Condition": {"Null": {"a:b": "true"}, "NotIpAddress": {"aws:SourceIp": "::1/128"}}}},
    ],
)
def test_valid_policy_is_accepted(policy: dict[str, Any]) -> None:
    assert find_policy_problem(json.dumps(policy), ("Principal", "Action", "Resource")) == ""


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("{", "is not JSON"),
        ([VALID], "must be an object"),
        ({}, "Statement is missing"),
        ({"Statement": ["x"]}, "Statement must be"),
        ({"Statement": VALID, "Statements": []}, "Statements: no such element; allowed: Version, Id, Statement"),
        ({"Version": "2012-10-18", "Statement": VALID}, "Version must be"),
        ({"Statement": {**VALID, "Effect": "allow"}}, "statement number 1: Effect must be"),
        ({"Statement": [VALID, {**VALID, "Sid": "two", "Actions": "s3:*"}]}, "statement two: Actions: no such element"),
        ({"Statement": omit("Action")}, "either Action or NotAction"),
        ({"Statement": {**VALID, "NotAction": "s3:*"}}, "either Action or NotAction"),
        ({"Statement": omit("Resource")}, "either Resource or NotResource"),
        ({"Statement": omit("Principal")}, "either Principal or NotPrincipal"),
        ({"Statement": {**VALID, "Action": {"a": "b"}}}, "Action must be"),
        ({"Statement": {**VALID, "Resource": []}}, "Resource must be a string, or a non-empty list of strings"),
        ({"Statement": {**VALID, "Resource": [1]}}, "Resource must be"),
        ({"Statement": {**VALID, "Principal": [ACCOUNT]}}, "Principal must be"),
        ({"Statement": {**VALID, "Principal": ACCOUNT}}, "Principal must be"),
        ({"Statement": {**VALID, "Principal": {"Aws": ACCOUNT}}}, "Principal must be"),
        ({"Statement": {**VALID, "Condition": [{"Bool": {}}]}}, "Condition must be"),
        ({"Statement": {**VALID, "Condition": {"Bool": ["x"]}}}, "Condition must be"),
        ({"Statement": {**VALID, "Condition": {"Bool": {"a:b": {"c": "d"}}}}}, "Condition must be"),
        ({"Statement": {**VALID, "Condition": {"Bool": {"a:b": None}}}}, "Condition must be"),
        (
            {"Statement": {**VALID, "Condition": {"StringEqual": {"a:b": "c"}}}},
            "StringEqual: unknown condition operator",
        ),
        (
            {"Statement": {**VALID, "Condition": {"NullIfExists": {"a:b": "true"}}}},
            "NullIfExists: unknown condition operator",
        ),
        ('{"Statement": {"Effect": "Allow", "Effect": "Deny"}}', "Effect appears twice"),
    ],
)
def test_invalid_policy_is_rejected(policy: Any, message: str) -> None:
    text = policy if isinstance(policy, str) else json.dumps(policy)
    assert message in find_policy_problem(text, ("Principal", "Action", "Resource"))


def test_malformed_bucket_policy_is_not_stored(world: World) -> None:
    s3 = world.client("s3")
    with pytest.raises(ClientError, match=r"MalformedPolicy.*either Action or NotAction"):
        s3.put_bucket_policy(Bucket=world.bucket, Policy=json.dumps({"Statement": omit("Action")}))
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket=world.bucket)
    policy = json.dumps({"Version": "2012-10-17", "Statement": {**VALID, "Resource": f"arn:aws:s3:::{world.bucket}/*"}})
    s3.put_bucket_policy(Bucket=world.bucket, Policy=policy)
    assert json.loads(s3.get_bucket_policy(Bucket=world.bucket)["Policy"]) == json.loads(policy)


@pytest.mark.parametrize(
    ("more", "denied", "allowed"),
    [
        ({"Resource": "arn:aws:s3:::bucket/${aws:PrincipalTag/team}/*"}, True, False),
        ({"Resource": "arn:aws:s3:::other/${aws:PrincipalTag/team}/*"}, False, False),
        ({"NotResource": "arn:aws:s3:::bucket/${aws:PrincipalTag/team}/*"}, True, False),
        ({"NotResource": "arn:aws:s3:::other/${aws:PrincipalTag/team}/*"}, True, True),
        ({"Condition": {"StringEquals": {"aws:PrincipalAccount": "${aws:SourceAccount}"}}}, True, False),
        ({"Condition": {"StringEquals": {"aws:PrincipalAccount": ["1", ACCOUNT]}}}, True, True),
        ({"Condition": {"StringNotEquals": {"aws:PrincipalAccount": ["1", ACCOUNT]}}}, False, False),
        ({"Condition": {"ForAnyValue:StringEquals": {"aws:PrincipalAccount": ["1"]}}}, True, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8"]}}}, True, False),
        ({"Condition": {"ArnLike": {"aws:PrincipalArn": ["arn:aws:iam::*:role/j*"]}}}, True, True),
        # The six components of an ARN are compared separately, so a wildcard matches within one of them. AWS does not document what a
        # pattern with fewer components matches.
        ({"Condition": {"ArnLike": {"aws:PrincipalArn": "arn:*:role/job"}}}, True, False),
        ({"Condition": {"ArnEquals": {"aws:PrincipalArn": ["arn:*:role/job", "arn:*:user/*"]}}}, True, False),
        ({"Condition": {"ArnEquals": {"aws:PrincipalArn": ["arn:*", "arn:aws:iam::*:role/job"]}}}, True, True),
        ({"Condition": {"ArnLike": {"aws:PrincipalArn": "arn:*:user/*"}}}, False, False),
        ({"Condition": {"ArnLike": {"aws:PrincipalArn": "arn:*:role/job:*:*:*"}}}, False, False),
    ],
)
def test_unsupported_elements_deny_and_never_allow(more: dict[str, Any], denied: bool, allowed: bool) -> None:
    request = S3Request(
        ROLE,
        ACCOUNT,
        "s3:PutObject",
        OBJECT,
        {"aws:principalaccount": ACCOUNT, "aws:principalarn": ROLE},
    )
    name = next(iter(more)).removeprefix("Not")
    deny = {"Statement": {**omit(name), **more, "Effect": "Deny"}}
    assert (find_denial(json.dumps(deny), request) is not None) is denied
    allow = {"Statement": {**omit(name), **more}}
    assert is_allowed(json.dumps(allow), request) is allowed


def start(partner: World, arn: str, **more: Any) -> bool:
    """Start a generation job, and return whether that is allowed."""
    request = {"name": "x", "configuredAudienceModelArn": arn, "seedAudience": partner.write_seed(), **more}
    try:
        partner.ml.start_audience_generation_job(**request)
    except partner.ml.exceptions.AccessDeniedException:
        return False
    return True


@pytest.mark.parametrize(
    ("more", "allowed"),
    [
        ({"Principal": {"AWS": "{account}"}}, True),
        ({"Principal": {"AWS": ["arn:aws:iam::{account}:root", ACCOUNT]}}, True),
        ({"Principal": {"AWS": ACCOUNT}}, False),
        ({"Principal": {"Service": "cleanrooms-ml.amazonaws.com"}}, False),
        ({"NotPrincipal": {"AWS": ACCOUNT}}, True),
        ({"NotPrincipal": {"AWS": ["{account}", ACCOUNT]}}, False),
        ({"Action": ["cleanrooms-ml:Get*", "CLEANROOMS-ML:startaudiencegenerationjob"]}, True),
        ({"NotAction": "cleanrooms-ml:Get*"}, True),
        ({"NotAction": ["cleanrooms-ml:Start*"]}, False),
        ({"Resource": "*"}, True),
        ({"NotResource": "arn:aws:s3:::*"}, True),
        ({"NotResource": ["*"]}, False),
        ({"Condition": {"StringEquals": {COLLABORATION: ["{collaboration}", "x"]}}}, True),
        ({"Condition": {"StringEquals": {COLLABORATION.lower(): "{collaboration}"}}}, True),
        ({"Condition": {"StringLike": {COLLABORATION: ["x", "*-*"]}}}, True),
        ({"Condition": {"StringNotEquals": {COLLABORATION: ["x", "y"]}}}, True),
        ({"Condition": {"StringNotEquals": {COLLABORATION: ["x", "{collaboration}"]}}}, False),
        ({"Condition": {"Null": {COLLABORATION: False}}}, True),
        ({"Condition": {"Null": {COLLABORATION: "true"}}}, False),
        ({"Condition": {"StringEquals": {"aws:PrincipalAccount": "{account}"}}}, True),
        ({"Condition": {"StringEquals": {"aws:PrincipalOrgID": ["o-1"]}}}, False),
    ],
)
def test_policy_of_configured_audience_model_is_evaluated(
    world: World, partner: World, more: dict[str, Any], allowed: bool
) -> None:
    arn, collaboration = world.create_configured_model(), collaborate(world, partner).id
    names = {"account": partner.account, "collaboration": collaboration}
    text = json.dumps(more)
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value)
    (element,) = more
    elements = statement(arn, partner.account)
    elements.pop(element.removeprefix("Not"), None)
    put(world, arn, {**elements, **json.loads(text)})
    assert start(partner, arn, collaborationId=collaboration) is allowed


def test_deny_with_not_action_denies(world: World, partner: World) -> None:
    arn, collaboration = world.create_configured_model(), collaborate(world, partner).id
    deny = {"Effect": "Deny", "Principal": "*", "NotAction": "cleanrooms-ml:Get*", "Resource": "*"}
    put(world, arn, statement(arn, partner.account), deny)
    assert not start(partner, arn, collaborationId=collaboration)


def test_malformed_policy_of_configured_audience_model_is_not_stored(world: World) -> None:
    arn = world.create_configured_model()
    with pytest.raises(ClientError, match=r"ValidationException.*Condition must be"):
        put(world, arn, statement(arn, ACCOUNT, Condition=[{"StringEquals": {COLLABORATION: "x"}}]))
