"""moto's S3 with bucket policies evaluated by :mod:`airflow_cleanroomsml.emulator.bucket_policy`."""

from __future__ import annotations

import re
from typing import Any
from xml.sax.saxutils import escape

from flask import Response
from flask import request as flask_request

from airflow_cleanroomsml._requests.arns import parse_arn
from airflow_cleanroomsml._training_data.policy_elements import find_policy_problem
from airflow_cleanroomsml.emulator import _compat
from airflow_cleanroomsml.emulator.bucket_policy import S3Request, find_denial, is_allowed

#: Header in which the emulator's own S3 requests name the role of their job.
ROLE_HEADER = "x-emulator-role"
#: moto derives the action from the HTTP method, which gives two actions that S3 does not have.
_ACTIONS = {"s3:HeadObject": "s3:GetObject", "s3:PostObject": "s3:PutObject"}
_AMZ_HEADERS = re.compile(r"x-amz-[a-z-]+")


def create_app(service: Any) -> Any:
    """
    Create moto's WSGI application for a service.

    :param service: moto's name of the service.
    """
    app = _compat.create_moto_app(service)
    # Only when S3 is first used: replacing the method imports moto's S3 and IAM, which takes about as long as the emulator takes to start.
    if str(service).startswith("s3"):
        _compat.replace_policy_evaluation(_get_permission)
        app.before_request(_check_policy)
    return app


def _check_policy() -> Any:
    """Refuse a bucket policy that does not follow the grammar, which moto stores as it is."""
    if flask_request.method != "PUT" or "policy" not in flask_request.args:
        return None
    problem = find_policy_problem(flask_request.get_data(as_text=True), ("Principal", "Action", "Resource"))
    if not problem:
        return None
    error = f"<Error><Code>MalformedPolicy</Code><Message>{escape(problem)}</Message></Error>"
    return Response(error, 400, content_type="application/xml")


def _get_permission(bucket: Any, action: str, resource: str) -> Any:
    """
    Evaluate the policy of a bucket for the current request, in place of ``FakeBucket.get_permission``.

    :raises S3ClientError: The policy denies the request; the message names the statement.
    """
    if bucket.policy is None:
        return _compat.get_permission_result("NEUTRAL")
    policy, s3_request = bucket.policy.decode(), _build_request(bucket, action, resource)
    denial = find_denial(policy, s3_request)
    if denial is None:
        return _compat.get_permission_result("PERMITTED" if is_allowed(policy, s3_request) else "NEUTRAL")
    error = _compat.build_s3_access_denied(
        f'User: {s3_request.principal} is not authorized to perform: {s3_request.action} on resource: "{resource}" '
        f"with an explicit deny in a resource-based policy: {denial}"
    )
    # DeleteObjects reports each object in a response with status 200, so no exception may end it.
    if error is None or "delete" in flask_request.args:
        return _compat.get_permission_result("DENIED")
    raise error


def _build_request(bucket: Any, action: str, resource: str) -> S3Request:
    headers = flask_request.headers
    principal = headers.get(ROLE_HEADER) or _find_principal(bucket)
    caller = parse_arn(principal)
    account = caller.account if caller else ""
    context: dict[str, str | None] = {
        "aws:securetransport": "true",
        "aws:principalarn": principal or None,
        "aws:principalaccount": account or None,
    }
    if ROLE_HEADER not in headers:
        # AWS does not document which headers, for instance for encryption, Clean Rooms ML sends, so for its own requests they are
        # unknown rather than absent.
        names = _AMZ_HEADERS.findall(bucket.policy.decode().lower())
        context.update({f"s3:{name}": headers.get(name) for name in names})
    return S3Request(principal, account, _ACTIONS.get(action, action), resource, context)


def _find_principal(bucket: Any) -> str:
    """Return the ARN of the caller: an assumed role, or the root of its account; empty for an unsigned request."""
    # A presigned URL carries the credential in its query string.
    authorization = flask_request.headers.get("Authorization", "")
    credential = flask_request.args.get("X-Amz-Credential") or authorization.partition("Credential=")[2]
    if not credential:
        return ""
    key = credential.split("/")[0]
    account = key if re.fullmatch(r"\d{12}", key) else _compat.find_account(key)
    role = _compat.find_assumed_role(account, bucket.partition, key)
    return role or f"arn:{bucket.partition}:iam::{account}:root"
