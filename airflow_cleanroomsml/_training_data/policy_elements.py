"""Elements of IAM policy statements: lists, principals, wildcards and conditions (IAM user guide, reference_policies_elements)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any


def list_values(value: Any) -> list[str]:
    """Return the values of an element, which may be a single one; JSON's true and false become the text that policies use."""
    return [
        item if isinstance(item, str) else json.dumps(item) for item in (value if isinstance(value, list) else [value])
    ]


def list_principals(principal: Any) -> list[str]:
    """Return the AWS principals of an element, without services and users of other identity providers."""
    return list_values(principal.get("AWS", []) if isinstance(principal, dict) else principal)


def list_statements(policy: Any) -> list[dict[str, Any]]:
    """
    Return the statements of a policy, which may have a single one.

    :param policy: The document, as JSON or parsed.
    """
    document = json.loads(policy) if isinstance(policy, str) else policy
    statements = document.get("Statement", [])
    return statements if isinstance(statements, list) else [statements]


def matches_wildcards(pattern: str, value: str, flags: int = 0) -> bool:
    """
    Return whether a value matches a pattern with ``*`` and ``?``.

    Not :mod:`fnmatch`: policies have no character sets in brackets.

    :param flags: Flags of :mod:`re`.
    """
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, flags | re.DOTALL) is not None


def matches_element(statement: dict[str, Any], element: str, value: str, flags: int = 0) -> bool:
    """Return whether ``Action`` or ``Resource`` contains a value, or ``NotAction`` or ``NotResource`` does not."""
    negated = f"Not{element}"
    if negated in statement:
        return not any(matches_wildcards(pattern, value, flags) for pattern in list_values(statement[negated]))
    return any(matches_wildcards(pattern, value, flags) for pattern in list_values(statement.get(element, [])))


def evaluate_conditions(
    conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, str | None]
) -> Iterator[bool | str]:
    """
    Yield whether each condition is met, or its key where that is unknown.

    :param conditions: ``Condition`` of a statement.
    :param context: Condition keys in lower case and their values; None for a key that the request does not have.
    """
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
    # Negated operators are met if none of the values matches (IAM user guide, conditions with multiple context keys or values).
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
