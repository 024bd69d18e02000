"""
What a bucket policy says about a request.

moto takes every statement that denies an action for one that always holds: it looks neither at conditions nor at principals other than
``*``. So a policy that refuses plain HTTP, which most buckets have, refuses everything there. Here a statement holds if its principal,
action, resource and conditions do. The emulator has no TLS, but stands in for endpoints that have nothing else, so all requests count as
encrypted. A condition on what it does not know is undecided: to deny it counts as met, to allow it does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class S3Request:
    """
    What a policy decides on.

    :param principal: ARN of who asks: a role, or the root of an account; empty for nobody that is known.
    :param account: Its account.
    :param action: For instance ``s3:PutObject``.
    :param resource: ARN of the object.
    :param context: Condition keys in lower case and their values; None for a key that the request does not have. All others are unknown.
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

    :param statement: Its ``Sid``, or its place in the policy.
    :param unknown: Condition keys that had to be known to decide on it.
    """

    statement: str
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"the statement {self.statement} of the bucket policy denies it"
        if not self.unknown:
            return text
        return (
            f"{text} on conditions that the emulator cannot evaluate and counts as met ({', '.join(self.unknown)}); "
            "leave that statement out of the policy here"
        )


def find_denial(policy: str, request: S3Request) -> Denial | None:
    """The statement that denies a request, one that certainly does if there is one."""
    denials = [
        Denial(str(statement.get("Sid") or f"number {number}"), unknown)
        for number, statement, unknown in _applicable(policy, request)
        if statement.get("Effect") == "Deny"
    ]
    return min(denials, key=lambda denial: bool(denial.unknown), default=None)


def is_allowed(policy: str, request: S3Request) -> bool:
    """Whether a statement allows a request, whatever others deny."""
    return any(
        statement.get("Effect") == "Allow" and not unknown for _, statement, unknown in _applicable(policy, request)
    )


def _applicable(policy: str, request: S3Request) -> Iterator[tuple[int, dict[str, Any], tuple[str, ...]]]:
    """The statements that apply, with their numbers from 1, and the condition keys of each that are unknown."""
    found = json.loads(policy).get("Statement", [])
    for number, statement in enumerate(found if isinstance(found, list) else [found], 1):
        if not _is_about(statement, request):
            continue
        verdicts = list(_conditions(statement.get("Condition") or {}, request.context))
        if all(verdict is not False for verdict in verdicts):
            yield number, statement, tuple(verdict for verdict in verdicts if isinstance(verdict, str))


def _is_about(statement: dict[str, Any], request: S3Request) -> bool:
    root = re.compile(rf"(arn:[a-z-]+:iam::)?{request.account}(:root)?")
    if "NotPrincipal" in statement:
        named = _principals(statement["NotPrincipal"])
        # The root of an account does not stand for its roles here (user guide of IAM, NotPrincipal).
        is_root = root.fullmatch(request.principal) is not None
        principal = not any(text == request.principal or (is_root and root.fullmatch(text)) for text in named)
    else:
        named = _principals(statement.get("Principal", {}))
        principal = any(text in ("*", request.principal) or root.fullmatch(text) for text in named)
    return (
        principal
        and _matches(statement, "Action", request.action, re.IGNORECASE)
        and _matches(statement, "Resource", request.resource)
    )


def _principals(value: Any) -> list[str]:
    """The principals of AWS, no services or users of other identity providers among them."""
    return _texts(value.get("AWS", []) if isinstance(value, dict) else value)


def _matches(statement: dict[str, Any], element: str, value: str, flags: int = 0) -> bool:
    """Whether ``Action`` or ``Resource`` names a value, or its opposite does not."""
    opposite = f"Not{element}"
    if opposite in statement:
        return not any(_like(pattern, value, flags) for pattern in _texts(statement[opposite]))
    return any(_like(pattern, value, flags) for pattern in _texts(statement.get(element, [])))


def _conditions(conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, str | None]) -> Iterator[bool | str]:
    """Whether each condition is met, or the key for which that is not known."""
    for operator, keys in conditions.items():
        for key, expected in keys.items():
            known = key.lower() in context
            met = _is_met(operator, _texts(expected), context[key.lower()]) if known else None
            yield key if met is None else met


def _is_met(operator: str, expected: list[str], value: str | None) -> bool | None:
    """Whether one condition is met; None where the operator is not known."""
    if operator == "Null":
        return str(value is None).lower() in [text.lower() for text in expected]
    name = operator.removesuffix("IfExists")
    test = _OPERATORS.get(name.replace("Not", "", 1))
    if test is None:
        return None
    if value is None:
        return name != operator or "Not" in name
    return any(test(text, value) for text in expected) != ("Not" in name)


def _like(pattern: str, value: str, flags: int = 0) -> bool:
    """Whether a value matches a pattern with ``*`` and ``?``."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, flags | re.DOTALL) is not None


def _is_equal_in_any_case(expected: str, value: str) -> bool:
    return expected.lower() == value.lower()


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "Bool": _is_equal_in_any_case,
    "StringEquals": str.__eq__,
    "StringEqualsIgnoreCase": _is_equal_in_any_case,
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
}


def _texts(value: Any) -> list[str]:
    """The entries of a list, or a single one, as text; JSON's booleans are spelled as policies spell them."""
    return [
        item if isinstance(item, str) else json.dumps(item) for item in (value if isinstance(value, list) else [value])
    ]
