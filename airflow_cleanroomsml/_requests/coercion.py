"""Converts the values of tasks: templates render containers and times to text, and XComs contain numbers of other libraries."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date, datetime, timezone
from decimal import Decimal
from numbers import Real
from operator import index
from typing import Any

from dateutil.parser import isoparse

# March 1973. A smaller number is probably a date without separators, such as {{ ds_nodash }}, that was rendered to an integer.
_EARLIEST = 100_000_000
#: What :func:`as_datetime` accepts, for error messages.
TIME_FORMATS = f"ISO 8601 (without an offset it is UTC), or seconds since 1970 (at least {_EARLIEST:,})"


class Entries(dict[Any, Any]):
    """
    A mapping parsed from text.

    :param pairs: Keys and values in order; the last value of a repeated key wins.
    """

    def __init__(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        super().__init__()
        #: Keys that occur more than once.
        self.repeated: list[Any] = []
        for key, value in pairs:
            if key in self:
                self.repeated.append(key)
            self[key] = value


def parse_container(text: str) -> Any:
    """Parse JSON (``| tojson``), or the Python literal to which ``{{ … }}`` renders a dict or list; return any other text unchanged."""
    # Anything else stays text: the name "1" and the description "None" are valid strings.
    if not text.lstrip().startswith(("{", "[", "(")):
        return text
    for parse in (_parse_json, _parse_literal):
        try:
            return parse(text.strip())
        # Python's parser raises the last two for deeply nested text.
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return text


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=Entries)


def _parse_literal(text: str) -> Any:
    return _evaluate(ast.parse(text, mode="eval").body)


# ast.literal_eval() would drop repeated keys.
def _evaluate(node: ast.expr) -> Any:
    if isinstance(node, ast.Dict):
        if None in node.keys:
            raise ValueError("** in a dict")
        keys = [ast.literal_eval(key) for key in node.keys if key is not None]
        return Entries(zip(keys, map(_evaluate, node.values), strict=True))
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_evaluate(item) for item in node.elts]
    return ast.literal_eval(node)


def convert_policy(policy: Any) -> Any:
    """Convert a policy to JSON, from a mapping or from the Python literal to which a template ``{{ … }}`` renders one."""
    content = policy
    if isinstance(policy, str):
        with suppress(ValueError):
            json.loads(policy)
            return policy
        content = parse_container(policy)
    if isinstance(content, Mapping) and not getattr(content, "repeated", ()):
        with suppress(TypeError):
            return json.dumps(dict(content))
    return policy


def is_text(value: Any, text: str) -> bool:
    """Return whether a value is a certain text."""
    # A numpy array compares each of its items with ==, and has no truth value.
    return isinstance(value, str) and value == text


def as_integer(value: Any) -> int:
    """
    Convert an integer of any library, or another number without a fraction; True and False are rejected.

    :raises TypeError, ValueError, OverflowError: The value is not an integer.
    """
    if isinstance(value, bool):
        raise TypeError
    with suppress(TypeError):
        return index(value)
    number = int(_require_finite(value))
    if number != value:
        raise ValueError
    return number


def as_number(value: Any) -> int | float:
    """
    Convert a number of any library; True and False are rejected.

    :raises TypeError, ValueError, OverflowError: The value is not a finite number.
    """
    if isinstance(value, bool):
        raise TypeError
    with suppress(TypeError):
        return index(value)
    return float(_require_finite(value))


def _require_finite(value: Any) -> Any:
    if not isinstance(value, (Real, Decimal)):
        raise TypeError
    if not math.isfinite(value):
        raise ValueError
    return value


def is_boolean(value: Any) -> bool:
    """Return whether a value is True or False, of Python or of numpy."""
    # numpy's bool is not a subclass of bool, nor registered as any kind of number.
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return isinstance(value, bool) or (kind == "b" and getattr(value, "shape", None) == ())


def as_datetime(value: Any) -> datetime:
    """
    Convert a time; one without an offset is UTC, as everywhere in Airflow.

    :param value: A ``datetime`` or ``date``, ISO 8601, or seconds since 1970, 100,000,000 or more.
    :raises TypeError, ValueError, OverflowError, OSError: The value is not a time.
    """
    if isinstance(value, str):
        text = value.strip()
        # As many digits as the seconds of the years 1973 to 5138 have; fewer are a date such as 20261124.
        if not re.fullmatch(r"\d{9,11}(\.\d+)?", text, re.ASCII):
            return _to_utc(isoparse(text.replace(" ", "T", 1)))
        value = float(text)
    if isinstance(value, datetime):
        return _to_utc(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    seconds = as_number(value)
    if seconds < _EARLIEST:
        raise ValueError
    return datetime.fromtimestamp(seconds, tz=timezone.utc)


def _to_utc(value: datetime) -> datetime:
    # botocore serialises Python's datetime, so the subclasses of pendulum and pandas are converted to it.
    at = (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    return datetime(at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond, timezone.utc)
