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


def without(name: str, **more: Any) -> dict[str, Any]:
    return {key: value for key, value in {**VALID, **more}.items() if key != name}


@pytest.mark.parametrize(
    "policy",
    [
        {"Statement": VALID},
        {"Statement": []},
        {"Version": "2008-10-17", "Id": "p", "Statement": [VALID, {**VALID, "Sid": "two"}]},
        {"Statement": {**VALID, "Action": ["s3:Get*"], "Resource": ["a", "b"], "Principal": {"AWS": ["1", "2"]}}},
        {"Statement": without("Action", NotAction=["s3:Get*"])},
        {"Statement": without("Resource", NotResource="a")},
        {"Statement": without("Principal", NotPrincipal={"Service": "s3.amazonaws.com", "Federated": ["x"]})},
        {"Statement": {**VALID, "Condition": {}}},
        {"Statement": {**VALID, "Condition": {"Bool": {"aws:SecureTransport": [True, "false"]}}}},
        {"Statement": {**VALID, "Condition": {"NumericLessThanEquals": {"s3:max-keys": 10, "a:b": ["1", 2]}}}},
        {"Statement": {**VALID, "Condition": {"ForAllValues:StringLikeIfExists": {"aws:TagKeys": ["a"]}}}},
        {"Statement": {**VALID, "Condition": {"Null": {"a:b": "true"}, "NotIpAddress": {"aws:SourceIp": "::1/128"}}}},
    ],
)
def test_a_policy_of_the_grammar_is_accepted(policy: dict[str, Any]) -> None:
    assert find_policy_problem(json.dumps(policy), ("Principal", "Action", "Resource")) == ""


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("{", "is not JSON"),
        ([VALID], "must be an object"),
        ({}, "Statement is missing"),
        ({"Statement": ["x"]}, "Statement must be"),
        ({"Statement": VALID, "Statements": []}, "Statements: no such element; allowed: Version, Id, Statement"),
        ({"Version": "2012-10-18", "Statement": VALID}, "Version must be"),
        ({"Statement": {**VALID, "Effect": "allow"}}, "statement number 1: Effect must be"),
        ({"Statement": [VALID, {**VALID, "Sid": "two", "Actions": "s3:*"}]}, "statement two: Actions: no such element"),
        ({"Statement": without("Action")}, "either Action or NotAction"),
        ({"Statement": {**VALID, "NotAction": "s3:*"}}, "either Action or NotAction"),
        ({"Statement": without("Resource")}, "either Resource or NotResource"),
        ({"Statement": without("Principal")}, "either Principal or NotPrincipal"),
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
def test_a_policy_outside_of_the_grammar_is_refused(policy: Any, says: str) -> None:
    text = policy if isinstance(policy, str) else json.dumps(policy)
    assert says in find_policy_problem(text, ("Principal", "Action", "Resource"))


def test_a_malformed_bucket_policy_is_not_stored(world: World) -> None:
    s3 = world.client("s3")
    with pytest.raises(ClientError, match=r"MalformedPolicy.*either Action or NotAction"):
        s3.put_bucket_policy(Bucket=world.bucket, Policy=json.dumps({"Statement": without("Action")}))
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
        # Each of the six components of an ARN is compared separately, so that a wildcard stands for a part of one. What a pattern with
        # fewer components does is not documented.
        ({"Condition": {"ArnLike": {"aws:PrincipalArn": "arn:*:role/job"}}}, True, False),
        ({"Condition": {"ArnEquals": {"aws:PrincipalArn": ["arn:*:role/job", "arn:*:user/*"]}}}, True, False),
        ({"Condition": {"ArnEquals": {"aws:PrincipalArn": ["arn:*", "arn:aws:iam::*:role/job"]}}}, True, True),
        ({"Condition": {"ArnLike": {"aws:PrincipalArn": "arn:*:user/*"}}}, False, False),
        ({"Condition": {"ArnLike": {"aws:PrincipalArn": "arn:*:role/job:*:*:*"}}}, False, False),
    ],
)
def test_what_cannot_be_evaluated_denies_and_allows_nothing(more: dict[str, Any], denied: bool, allowed: bool) -> None:
    request = S3Request(
        ROLE,
        ACCOUNT,
        "s3:PutObject",
        OBJECT,
        {"aws:principalaccount": ACCOUNT, "aws:principalarn": ROLE},
    )
    name = next(iter(more)).removeprefix("Not")
    deny = {"Statement": {**without(name), **more, "Effect": "Deny"}}
    assert (find_denial(json.dumps(deny), request) is not None) is denied
    allow = {"Statement": {**without(name), **more}}
    assert is_allowed(json.dumps(allow), request) is allowed


def start(partner: World, arn: str, **more: Any) -> bool:
    """Start a generation job; return whether that is allowed."""
    given = {"name": "x", "configuredAudienceModelArn": arn, "seedAudience": partner.write_seed(), **more}
    try:
        partner.ml.start_audience_generation_job(**given)
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
def test_a_policy_of_a_configured_audience_model_is_evaluated(
    world: World, partner: World, more: dict[str, Any], allowed: bool
) -> None:
    arn, collaboration = world.create_configured_model(), collaborate(world, partner).id
    names = {"account": partner.account, "collaboration": collaboration}
    text = json.dumps(more)
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value)
    (element,) = more
    given = statement(arn, partner.account)
    given.pop(element.removeprefix("Not"), None)
    put(world, arn, {**given, **json.loads(text)})
    assert start(partner, arn, collaborationId=collaboration) is allowed


def test_a_deny_with_not_action_denies(world: World, partner: World) -> None:
    arn, collaboration = world.create_configured_model(), collaborate(world, partner).id
    deny = {"Effect": "Deny", "Principal": "*", "NotAction": "cleanrooms-ml:Get*", "Resource": "*"}
    put(world, arn, statement(arn, partner.account), deny)
    assert not start(partner, arn, collaborationId=collaboration)


def test_a_malformed_policy_of_a_configured_audience_model_is_not_stored(world: World) -> None:
    arn = world.create_configured_model()
    with pytest.raises(ClientError, match=r"ValidationException.*Condition must be"):
        put(world, arn, statement(arn, ACCOUNT, Condition=[{"StringEquals": {COLLABORATION: "x"}}]))
