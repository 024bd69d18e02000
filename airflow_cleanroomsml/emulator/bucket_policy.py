"""
Evaluates bucket policies.

moto applies every Deny statement unconditionally: it ignores conditions and all principals but ``*``. A policy that denies plain HTTP,
which most buckets have, would deny everything. Here a statement applies if its principal, action, resource and conditions match. The
emulator has no TLS but stands in for endpoints that do, so all requests count as encrypted. A condition on something the emulator does not
know counts as met in a Deny statement, and as not met in an Allow statement.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_cleanroomsml._training_data.policy_elements import list_principals, list_values, matches_wildcards


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
        text = f"the statement {self.statement} of the bucket policy denies it"
        if not self.unknown:
            return text
        return (
            f"{text} on conditions that the emulator cannot evaluate and counts as met ({', '.join(self.unknown)}); "
            "remove that statement from the policy here"
        )


def find_denial(policy: str, request: S3Request) -> Denial | None:
    """Return the statement that denies a request; one whose conditions are all known, if there is one."""
    denials = [
        Denial(str(statement.get("Sid") or f"number {number}"), unknown)
        for number, statement, unknown in _find_applicable(policy, request)
        if statement.get("Effect") == "Deny"
    ]
    return min(denials, key=lambda denial: bool(denial.unknown), default=None)


def is_allowed(policy: str, request: S3Request) -> bool:
    """Return whether a statement allows a request, whatever other statements deny."""
    return any(
        statement.get("Effect") == "Allow" and not unknown
        for _, statement, unknown in _find_applicable(policy, request)
    )


def _find_applicable(policy: str, request: S3Request) -> Iterator[tuple[int, dict[str, Any], tuple[str, ...]]]:
    """Yield the statements that apply, with their numbers from 1 and the condition keys that are unknown."""
    statements = json.loads(policy).get("Statement", [])
    for number, statement in enumerate(statements if isinstance(statements, list) else [statements], 1):
        if not _matches_request(statement, request):
            continue
        results = list(_evaluate_conditions(statement.get("Condition") or {}, request.context))
        if all(result is not False for result in results):
            yield number, statement, tuple(result for result in results if isinstance(result, str))


def _matches_request(statement: dict[str, Any], request: S3Request) -> bool:
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
        and _matches_element(statement, "Action", request.action, re.IGNORECASE)
        and _matches_element(statement, "Resource", request.resource)
    )


def _matches_element(statement: dict[str, Any], element: str, value: str, flags: int = 0) -> bool:
    """Return whether ``Action`` or ``Resource`` contains a value, or ``NotAction`` or ``NotResource`` does not."""
    negated = f"Not{element}"
    if negated in statement:
        return not any(matches_wildcards(pattern, value, flags) for pattern in list_values(statement[negated]))
    return any(matches_wildcards(pattern, value, flags) for pattern in list_values(statement.get(element, [])))


def _evaluate_conditions(
    conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, str | None]
) -> Iterator[bool | str]:
    """Yield whether each condition is met, or its key where that is unknown."""
    for operator, keys in conditions.items():
        for key, expected in keys.items():
            is_known = key.lower() in context
            met = _is_met(operator, list_values(expected), context[key.lower()]) if is_known else None
            yield key if met is None else met


def _is_met(operator: str, expected: list[str], value: str | None) -> bool | None:
    """Return whether a condition is met; None for an unknown operator."""
    if operator == "Null":
        return str(value is None).lower() in [text.lower() for text in expected]
    name = operator.removesuffix("IfExists")
    test = _OPERATORS.get(name.replace("Not", "", 1))
    if test is None:
        return None
    if value is None:
        # Without the key in the request, …IfExists and negated operators are met (IAM user guide, condition operators).
        return name != operator or "Not" in name
    return any(test(text, value) for text in expected) != ("Not" in name)


def _equals_ignoring_case(expected: str, value: str) -> bool:
    return expected.lower() == value.lower()


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "Bool": _equals_ignoring_case,
    "StringEquals": str.__eq__,
    "StringEqualsIgnoreCase": _equals_ignoring_case,
    "StringLike": matches_wildcards,
    # "ArnEquals and ArnLike behave identically" (IAM user guide, condition operators).
    "ArnEquals": matches_wildcards,
    "ArnLike": matches_wildcards,
}
