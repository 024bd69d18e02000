"""
Evaluates bucket policies.

moto applies every Deny statement unconditionally: it ignores conditions and all principals but ``*``. A policy that denies plain HTTP,
which most buckets have, would deny everything. Here a statement applies if its principal, action, resource and conditions match. The
emulator has no TLS but stands in for endpoints that do, so all requests count as encrypted. A condition on something the emulator does not
know counts as met in a Deny statement, and as not met in an Allow statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_cleanroomsml._training_data.policy_elements import (
    evaluate_conditions,
    list_principals,
    list_statements,
    matches_element,
)


@dataclass(frozen=True)
class S3Request:
    """
    What a policy decides on.

    :param principal: ARN of the caller: a role, or the root of an account; empty for an anonymous request.
    :param account: Account of the caller.
    :param action: For instance ``s3:PutObject``.
    :param resource: ARN of the object.
    :param context: Condition keys in lower case and their values; None for a key that the request does not have. All other keys are
        unknown.
    """

    principal: str
    account: str
    action: str
    resource: str
    context: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Denial:
    """
    A statement that denies a request.

    :param statement: Its ``Sid``, or its position in the policy.
    :param unknown: Condition keys that the emulator cannot evaluate.
    """

    statement: str
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"statement {self.statement} of the bucket policy"
        if not self.unknown:
            return text
        return (
            f"{text}, whose conditions the emulator cannot evaluate and counts as met ({', '.join(self.unknown)}); "
            "leave it out of the policy when you use the emulator"
        )


def find_denial(policy: str, request: S3Request) -> Denial | None:
    """Return the statement that denies a request; one whose conditions are all known, if there is one."""
    denials = [
        Denial(str(statement.get("Sid") or f"number {number}"), unknown)
        for number, statement, unknown in _find_applicable(policy, request)
        if statement.get("Effect") == "Deny"
    ]
    # A statement that certainly denies explains the error better than one whose conditions are unknown.
    return min(denials, key=lambda denial: bool(denial.unknown), default=None)


def is_allowed(policy: str, request: S3Request) -> bool:
    """Return whether a statement allows a request, whatever other statements deny."""
    return any(
        statement.get("Effect") == "Allow" and not unknown
        for _, statement, unknown in _find_applicable(policy, request)
    )


def _find_applicable(policy: str, request: S3Request) -> Iterator[tuple[int, dict[str, Any], tuple[str, ...]]]:
    """Yield the statements that apply, with their numbers from 1 and the condition keys that are unknown."""
    for number, statement in enumerate(list_statements(policy), 1):
        if not _matches_request(statement, request):
            continue
        results = list(evaluate_conditions(statement.get("Condition") or {}, request.context))
        if all(result is not False for result in results):
            yield number, statement, tuple(result for result in results if isinstance(result, str))


def _matches_request(statement: dict[str, Any], request: S3Request) -> bool:
    # The account id, and the ARN of its root, mean the same principal (IAM user guide, AWS account principals).
    root = re.compile(rf"(arn:[a-z-]+:iam::)?{request.account}(:root)?")
    if "NotPrincipal" in statement:
        principals = list_principals(statement["NotPrincipal"])
        # In NotPrincipal the root of an account does not stand for the roles in it (IAM user guide, NotPrincipal).
        is_root = root.fullmatch(request.principal) is not None
        applies = not any(text == request.principal or (is_root and root.fullmatch(text)) for text in principals)
    else:
        principals = list_principals(statement.get("Principal", {}))
        applies = any(text in ("*", request.principal) or root.fullmatch(text) for text in principals)
    return (
        applies
        and matches_element(statement, "Action", request.action, re.IGNORECASE)
        and matches_element(statement, "Resource", request.resource)
    )
