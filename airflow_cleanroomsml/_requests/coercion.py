"""What a value of a task says: templates give text where a request has containers and times, XComs bring numbers of other libraries."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import date, datetime, timezone
from decimal import Decimal
from numbers import Real
from operator import index
from typing import Any

from dateutil.parser import isoparse

# 1973: a smaller number is a date without separators, such as 20261124, that was rendered to an integer.
_EARLIEST = 100_000_000


class Entries(dict[Any, Any]):
    """
    A mapping that was written as text.

    :param pairs: Keys and values as they were written; of a key that stands there twice the last value is kept.
    """

    def __init__(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        super().__init__()
        #: Keys that were written more than once.
        self.repeated: list[Any] = []
        for key, value in pairs:
            if key in self:
                self.repeated.append(key)
            self[key] = value


def container(text: str) -> Any:
    """JSON (``| tojson``), or the Python literal that a plain ``{{ … }}`` of a dict or list gives; other text stays what it is."""
    if not text.lstrip().startswith(("{", "[", "(")):
        return text
    for parse in (_json, _literal):
        try:
            return parse(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return text


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=Entries)


def _literal(text: str) -> Any:
    return _evaluated(ast.parse(text, mode="eval").body)


def _evaluated(node: ast.expr) -> Any:
    if isinstance(node, ast.Dict):
        if None in node.keys:
            raise ValueError("** in a dict")
        keys = [ast.literal_eval(key) for key in node.keys if key is not None]
        return Entries(zip(keys, map(_evaluated, node.values), strict=True))
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_evaluated(item) for item in node.elts]
    return ast.literal_eval(node)


def as_integer(value: Any) -> int:
    """
    An integer of any library; a whole number of another kind is one, a truth value is not.

    :raises TypeError, ValueError, OverflowError: It is no integer.
    """
    if isinstance(value, bool):
        raise TypeError
    with suppress(TypeError):
        return index(value)
    number = int(_finite(value))
    if number != value:
        raise ValueError
    return number


def as_number(value: Any) -> int | float:
    """
    A number of any library as Python's own; a truth value is none.

    :raises TypeError, ValueError, OverflowError: It is no number that JSON has.
    """
    if isinstance(value, bool):
        raise TypeError
    with suppress(TypeError):
        return index(value)
    return float(_finite(value))


def _finite(value: Any) -> Any:
    if not isinstance(value, (Real, Decimal)):
        raise TypeError
    if not math.isfinite(value):
        raise ValueError
    return value


def is_truth(value: Any) -> bool:
    """Whether it is True or False, of Python or of numpy, which declares its own as no kind of number."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return isinstance(value, bool) or (kind == "b" and getattr(value, "shape", None) == ())


def as_datetime(value: Any) -> datetime:
    """
    A time; a naive one is UTC, as everywhere in Airflow.

    :param value: A ``datetime`` or ``date``, ISO 8601, or seconds since 1970, 100,000,000 or more.
    """
    if isinstance(value, str):
        text = value.strip()
        if not re.fullmatch(r"\d{9,11}(\.\d+)?", text, re.ASCII):
            return _utc(isoparse(text.replace(" ", "T", 1)))
        value = float(text)
    if isinstance(value, datetime):
        return _utc(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    seconds = as_number(value)
    if seconds < _EARLIEST:
        raise ValueError
    return datetime.fromtimestamp(seconds, tz=timezone.utc)


def _utc(value: datetime) -> datetime:
    """The same in UTC, and of Python's own type: those of pendulum and pandas are others."""
    at = (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    return datetime(at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond, timezone.utc)
