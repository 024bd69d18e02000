"""
moto's S3, whose bucket policies are evaluated by :mod:`airflow_cleanroomsml.emulator.bucket_policy`.

``FakeBucket.get_permission``, ``S3ClientError`` and the stores of STS are moto's own: tests hold them to what is used here.
"""

from __future__ import annotations

import re
from typing import Any

from flask import request as flask_request
from moto.moto_server.werkzeug_app import create_backend_app

from airflow_cleanroomsml.emulator.bucket_policy import S3Request, find_denial, is_allowed

#: Header by which the emulator's own reads and writes name the role of their job.
ROLE_HEADER = "x-emulator-role"
#: What moto calls the actions of objects by their HTTP methods, and what S3 calls them.
_ACTIONS = {"s3:HeadObject": "s3:GetObject", "s3:PostObject": "s3:PutObject"}
_AMZ_HEADERS = re.compile(r"x-amz-[a-z-]+")


def create_app(service: Any) -> Any:
    """
    The application of a service of moto.

    :param service: moto's name of it.
    """
    app = create_backend_app(service)
    if service.startswith("s3"):
        _evaluate_policies()
    return app


def _evaluate_policies() -> None:
    """Let the policies of moto's buckets be evaluated here."""
    from moto.s3 import models

    bucket: Any = models.FakeBucket
    # A moto that asks by another name goes on with its own evaluation.
    if hasattr(bucket, "get_permission"):
        bucket.get_permission = _get_permission


def _get_permission(bucket: Any, action: str, resource: str) -> Any:
    """
    What the policy of a bucket says about the present request.

    :raises S3ClientError: It is denied; the message names the statement.
    """
    from moto.iam.access_control import PermissionResult

    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    policy, s3_request = bucket.policy.decode(), _s3_request(bucket, action, resource)
    denial = find_denial(policy, s3_request)
    if denial is None:
        return PermissionResult.PERMITTED if is_allowed(policy, s3_request) else PermissionResult.NEUTRAL
    if "delete" in flask_request.args:  # DeleteObjects answers for each object
        return PermissionResult.DENIED
    return _refuse(s3_request, str(denial))


def _s3_request(bucket: Any, action: str, resource: str) -> S3Request:
    headers = flask_request.headers
    principal = headers.get(ROLE_HEADER) or _principal(bucket)
    account = principal.split(":")[4] if principal else ""
    context: dict[str, str | None] = {
        "aws:securetransport": "true",
        "aws:principalarn": principal or None,
        "aws:principalaccount": account or None,
    }
    if ROLE_HEADER not in headers:
        # Which headers Clean Rooms ML itself sends, to ask for encryption for instance, is not documented.
        named = _AMZ_HEADERS.findall(bucket.policy.decode().lower())
        context.update({f"s3:{name}": headers.get(name) for name in named})
    return S3Request(principal, account, _ACTIONS.get(action, action), resource, context)


def _principal(bucket: Any) -> str:
    """Who asks: the role of an assumed one, else the account; nobody if the request is not signed."""
    from moto.iam.models import get_account_id_from
    from moto.sts.models import sts_backends

    credential = flask_request.args.get("X-Amz-Credential") or _credential(
        flask_request.headers.get("Authorization", "")
    )
    if not credential:
        return ""
    key = credential.split("/")[0]
    account = key if re.fullmatch(r"\d{12}", key) else get_account_id_from(key)
    session = sts_backends[account][bucket.partition].get_assumed_role_from_access_key(key)
    return str(session.role_arn) if session else f"arn:{bucket.partition}:iam::{account}:root"


def _credential(authorization: str) -> str:
    return authorization.partition("Credential=")[2]


def _refuse(request: S3Request, why: str) -> Any:
    from moto.s3.exceptions import S3ClientError

    raise S3ClientError(
        "AccessDenied",
        f'User: {request.principal} is not authorized to perform: {request.action} on resource: "{request.resource}" with an '
        f"explicit deny in a resource-based policy: {why}",
    )
