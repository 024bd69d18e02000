"""Checks arguments of an operator that are not part of a request like those that are."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from botocore.model import Shape

from airflow_cleanroomsml._requests.coercion import is_text
from airflow_cleanroomsml._requests.request import find_argument_shapes
from airflow_cleanroomsml._requests.validation import ABSENT, RequestCheck
from airflow_cleanroomsml._requests.violations import Violation, raise_for_violations
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS_ML

log = logging.getLogger(__name__)

BOOLEAN = Shape("Boolean", {"type": "boolean"})
STRING = Shape("String", {"type": "string", "min": 1})
TIME = Shape("Time", {"type": "timestamp"})


def integer(low: int, high: int | None = None) -> Shape:
    """Return the shape of an integer within bounds."""
    return _build_bounded("integer", low, high)


def number(low: float | None = None, high: float | None = None) -> Shape:
    """Return the shape of a number within bounds."""
    return _build_bounded("double", low, high)


def _build_bounded(kind: str, low: float | None, high: float | None) -> Shape:
    bounds = {name: bound for name, bound in (("min", low), ("max", high)) if bound is not None}
    return Shape(kind.title(), {"type": kind, **bounds})


def choice(*words: str) -> Shape:
    """Return the shape of a text that is one of some words."""
    return Shape("Choice", {"type": "string", "enum": list(words)})


def member(operation: str, argument: str) -> Shape:
    """
    Return the shape of a request's member.

    :param operation: boto3's method name.
    :param argument: The member in snake_case.
    """
    return find_argument_shapes(CLEAN_ROOMS_ML, operation)[argument]


def check_arguments(
    shapes: Mapping[str, Shape],
    given: Mapping[str, Any],
    *,
    required: Collection[str] = (),
    set_in_dag: Collection[str] = (),
) -> dict[str, Any]:
    """
    Check rendered arguments, and convert them to their types.

    :param shapes: What each argument has to be.
    :param given: The arguments; those that are None are omitted.
    :param required: Arguments that must not be None.
    :param set_in_dag: Optional arguments that the Dag sets: without the value of one of them the task would do something else.
    :raises InvalidRequestError: Arguments are not valid; every violation is in the message.
    """
    check, values = RequestCheck(), dict[str, Any]()
    for name, shape in shapes.items():
        if name in set_in_dag and (given.get(name) is None or is_text(given[name], "None")):
            advice = f"correct the template or the output that it comes from; to omit it, set {name}=None in the Dag"
            check.violations.append(Violation(name, "None, although the Dag sets it", advice))
            continue
        value = check.check_member(shape, given.get(name), name, required=name in required)
        if value is not ABSENT:
            values[name] = value
    # Jinja renders None to this text, so an optional argument that is None would otherwise be refused.
    for path in check.left_out:
        log.warning('%s rendered to "None"; omitting it.', path)
    raise_for_violations("Nothing was sent, because the arguments are not valid:", check.violations)
    return values
