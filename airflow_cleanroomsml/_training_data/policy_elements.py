"""Elements of IAM policy statements: lists, principals, wildcards and conditions (IAM user guide, reference_policies_elements)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

#: A policy variable (IAM user guide, reference_policies_variables).
_VARIABLE = re.compile(r"\$\{[^}]*\}")
_VERSIONS = ("2012-10-17", "2008-10-17")
_PRINCIPALS = ("AWS", "CanonicalUser", "Federated", "Service")
_ELEMENTS = (
    "Sid",
    "Effect",
    *(f"{no}{name}" for name in ("Principal", "Action", "Resource") for no in ("", "Not")),
    "Condition",
)
#: All condition operators (IAM user guide, reference_policies_elements_condition_operators).
_ORDERINGS = ("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals")
_OPERATOR = re.compile(
    r"Null|(For(AllValues|AnyValue):)?("
    r"String(Not)?(Equals|EqualsIgnoreCase|Like)|Arn(Not)?(Equals|Like)|(Not)?IpAddress|Bool|BinaryEquals|"
    rf"(Numeric|Date)({'|'.join(_ORDERINGS)}))(IfExists)?"
)


def find_policy_problem(policy: str, pairs: Iterable[str]) -> str:
    """
    Check that a policy follows the grammar (IAM user guide, reference_policies_grammar).

    :param policy: The document, as JSON.
    :param pairs: Elements of which each statement needs one, or else its negation: ``Principal``, ``Action``, ``Resource``.
    :return: What is wrong with it; empty if nothing is.
    """
    try:
        _check_document(json.loads(policy, object_pairs_hook=_require_unique), pairs)
    except _PolicyError as error:
        return str(error)
    except (ValueError, RecursionError):
        return "the policy is not JSON"
    return ""


class _PolicyError(Exception):
    """A policy does not follow the grammar."""


def _require_unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in members]
    for name in names:
        if names.count(name) > 1:
            raise _PolicyError(f"{name} appears twice")
    return dict(members)


def _check_document(document: Any, pairs: Iterable[str]) -> None:
    if not isinstance(document, dict):
        raise _PolicyError("the policy must be an object")
    _check_names(document, ("Version", "Id", "Statement"))
    if document.get("Version", _VERSIONS[0]) not in _VERSIONS:
        raise _PolicyError(f"Version must be {' or '.join(_VERSIONS)}")
    if "Statement" not in document:
        raise _PolicyError("Statement is missing")
    statements = list_statements(document)
    if not all(isinstance(statement, dict) for statement in statements):
        raise _PolicyError("Statement must be an object, or a list of objects")
    for number, statement in enumerate(statements, 1):
        _check_statement(statement, f"statement {statement.get('Sid') or f'number {number}'}", pairs)


def _check_names(members: Mapping[str, Any], known: Iterable[str], where: str = "") -> None:
    for name in members:
        if name not in known:
            raise _PolicyError(f"{where}{name}: no such element; allowed: {', '.join(known)}")


def _check_statement(statement: Mapping[str, Any], label: str, pairs: Iterable[str]) -> None:
    where = f"{label}: "
    _check_names(statement, _ELEMENTS, where)
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise _PolicyError(f"{where}Effect must be Allow or Deny")
    for pair in pairs:
        present = [name for name in (pair, f"Not{pair}") if name in statement]
        if len(present) != 1:
            raise _PolicyError(f"{where}it needs either {pair} or Not{pair}")
        is_valid = _is_principal if pair == "Principal" else _is_text
        if not is_valid(statement[present[0]]):
            what = (
                f"* or an object of {', '.join(_PRINCIPALS)}"
                if pair == "Principal"
                else "a string, or a non-empty list of strings"
            )
            raise _PolicyError(f"{where}{present[0]} must be {what}")
    conditions = statement.get("Condition", {})
    if not isinstance(conditions, dict) or not all(_is_condition(keys) for keys in conditions.values()):
        raise _PolicyError(f"{where}Condition must be an object of operators, each an object of keys and their values")
    for operator in conditions:
        if not _OPERATOR.fullmatch(operator):
            raise _PolicyError(f"{where}{operator}: unknown condition operator")


def _is_text(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(each, str) for each in values)


def _is_principal(value: Any) -> bool:
    if not isinstance(value, dict):
        return bool(value == "*")
    return bool(value) and all(name in _PRINCIPALS and _is_text(values) for name, values in value.items())


def _is_condition(keys: Any) -> bool:
    if not isinstance(keys, dict):
        return False
    values = [item for value in keys.values() for item in (value if isinstance(value, list) else [value])]
    return all(isinstance(value, (str, bool, int, float)) for value in values)


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


def matches_element(statement: Mapping[str, Any], element: str, value: str, flags: int = 0) -> bool:
    """
    Return whether ``Action`` or ``Resource`` contains a value, or ``NotAction`` or ``NotResource`` does not.

    What a policy variable such as ``${aws:username}`` stands for is not known, so a pattern with one applies to all that it may stand for
    in a Deny statement, and to nothing in an Allow statement.

    :param flags: Flags of :mod:`re`.
    """
    is_negated = f"Not{element}" in statement
    patterns = list_values(statement.get(f"Not{element}" if is_negated else element, []))
    if (statement.get("Effect") == "Deny") is is_negated:
        patterns = [pattern for pattern in patterns if not _VARIABLE.search(pattern)]
    found = any(matches_wildcards(_VARIABLE.sub("*", pattern), value, flags) for pattern in patterns)
    return found is not is_negated


def evaluate_conditions(
    conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, str | None]
) -> Iterator[bool | str]:
    """
    Yield whether each condition is met, or its key where that is unknown.

    It is unknown if the key is, if the operator compares numbers, times, addresses or sets of values, if a value has a policy variable, or
    if it depends on a pattern for ARNs that has fewer than six components.

    :param conditions: ``Condition`` of a statement.
    :param context: Condition keys in lower case and their values; None for a key that the request does not have.
    """
    for operator, keys in conditions.items():
        for key, expected in keys.items():
            is_known = key.lower() in context
            met = _is_met(operator, list_values(expected), context[key.lower()]) if is_known else None
            yield key if met is None else met


def _is_met(operator: str, expected: list[str], value: str | None) -> bool | None:
    """Return whether a condition is met; None for an operator or a value that cannot be evaluated."""
    if operator == "Null":
        return str(value is None).lower() in [text.lower() for text in expected]
    name = operator.removesuffix("IfExists")
    test = _OPERATORS.get(name.replace("Not", "", 1))
    if test is None:
        return None
    if value is None:
        # Without the key in the request, …IfExists and negated operators are met (IAM user guide, condition operators).
        return name != operator or "Not" in name
    if any(_VARIABLE.search(text) for text in expected):
        return None
    results = [test(text, value) for text in expected]
    if None in results and True not in results:
        return None
    # Negated operators are met if none of the values matches (IAM user guide, conditions with multiple context keys or values).
    return any(results) != ("Not" in name)


def _matches_arn(pattern: str, arn: str) -> bool | None:
    """
    Match an ARN: each of its six components is compared separately, with wildcards (IAM user guide, ARN condition operators).

    :return: None if the pattern has fewer components and would match as plain text with wildcards: AWS does not document what it does.
    """
    patterns, parts = pattern.split(":", 5), arn.split(":", 5)
    if len(patterns) < 6:
        return None if matches_wildcards(pattern, arn) else False
    return len(patterns) == len(parts) and all(map(matches_wildcards, patterns, parts))


def _equals_ignoring_case(expected: str, value: str) -> bool:
    return expected.lower() == value.lower()


_OPERATORS: dict[str, Callable[[str, str], bool | None]] = {
    "Bool": _equals_ignoring_case,
    "StringEquals": str.__eq__,
    "StringEqualsIgnoreCase": _equals_ignoring_case,
    "StringLike": matches_wildcards,
    # "ArnEquals and ArnLike behave identically" (IAM user guide, condition operators).
    "ArnEquals": _matches_arn,
    "ArnLike": _matches_arn,
}
