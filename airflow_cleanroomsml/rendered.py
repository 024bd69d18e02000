"""What a rendered text says: a template gives text where a request has containers and times."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from datetime import date, datetime, timezone
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


def as_datetime(value: Any) -> datetime:
    """
    A time; a naive one is UTC, as everywhere in Airflow.

    :param value: A ``datetime`` or ``date``, ISO 8601, or seconds since 1970, 100,000,000 or more.
    """
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str) and re.fullmatch(r"\d{9,11}(\.\d+)?", value.strip()):
        value = float(value)
    if isinstance(value, (int, float)) and value < _EARLIEST:
        raise ValueError
    if isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, tz=timezone.utc)
    if isinstance(value, str):
        value = isoparse(value.strip().replace(" ", "T", 1))
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    raise TypeError
