"""
A value against its shape: turned into the type that the model asks for, every violation noted with its path.

botocore checks required members and minima only: maxima, patterns and enums reach the wire (tried with botocore 1.43.117).
What becomes what is listed in ARCHITECTURE.md.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from difflib import get_close_matches
from functools import cache
from typing import Any

from botocore.model import Shape
from dateutil.parser import isoparse

#: Given where an optional value turned out not to be one: the member is left out of the request.
ABSENT = object()

# The model writes "any character" with the surrogates in the wrong order, so Java refuses the characters above U+FFFF that the
# pattern was meant to allow. Which of the two the service does is not known: they are left to the service.
_SURROGATES = r"\uD800\uDBFF-\uDC00\uDFFF"
_ABOVE_BMP = re.compile("[\U00010000-\U0010ffff]")
_WHOLE = re.compile(r"\s*[+-]?\d{1,30}\s*", re.ASCII)
# 1973: a smaller number is a date without separators, such as 20261124, that was rendered to an integer.
_EARLIEST = 100_000_000
_SHOWN = 60


@dataclass(frozen=True)
class Violation:
    """
    One thing that is wrong with a request.

    :param path: Where, in the operator's own spelling, for instance ``output_config.destination.s3Destination.s3Uri``.
    :param problem: What is wrong with the value.
    :param allowed: What is allowed.
    """

    path: str
    problem: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; {self.allowed}"


def nearest(name: str, known: Iterable[str]) -> str:
    """A suggestion for a misspelt name, or nothing."""
    by_lower = {item.lower().replace("_", ""): item for item in known}
    found = get_close_matches(name.lower().replace("_", ""), by_lower, n=1, cutoff=0.7)
    return f", did you mean {by_lower[found[0]]!r}?" if found else ""


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII)


class RequestCheck:
    """
    Walks a value along its shape.

    :param convert: Turn rendered strings into what the model asks for; without it a value must have its type already, and None
        stands for nothing.
    """

    def __init__(self, *, convert: bool = True) -> None:
        self.convert = convert
        self.violations: list[Violation] = []
        self.left_out: list[str] = []
        self._hidden = 0

    def value(self, shape: Shape, value: Any, path: str) -> Any:
        """The value in the shape's type; violations are noted and None is returned for what has none."""
        sensitive = bool(shape.metadata.get("sensitive"))
        self._hidden += sensitive
        try:
            return _BY_TYPE[shape.type_name](self, shape, value, path)
        finally:
            self._hidden -= sensitive

    def structure(
        self,
        shape: Any,
        value: Any,
        path: str,
        *,
        spelling: Mapping[str, str] | None = None,
        unknown: str = "no such member",
    ) -> dict[str, Any]:
        """
        A structure, member by member.

        :param spelling: Spelling of the members in ``value`` where it is not the API's own.
        :param unknown: How to call a member that is not in the model.
        """
        given = self._parsed(value, Mapping, path, "a mapping")
        names = spelling or {name: name for name in shape.members}
        if given is None:
            return {}
        for name in given:
            if name not in names:
                allowed = f"allowed: {', '.join(names) or 'none'}"
                shown = "***" if self._hidden else str(name)
                self._note(_join(path, shown), unknown + nearest(str(name), names), allowed)
        typed = {}
        for name, member in names.items():
            item = self._member(shape, member, given.get(name), _join(path, name))
            if item is not ABSENT:
                typed[member] = item
        if shape.metadata.get("union") and len(typed) != 1:
            self._note(path, f"{len(typed)} members given", f"exactly one of: {', '.join(names)}")
        return typed

    def _member(self, structure: Any, member: str, value: Any, path: str) -> Any:
        shape = structure.members[member]
        required = member in structure.required_members
        if value is None:
            if required:
                self._note(path, "missing", "required")
            return ABSENT
        if not required and self._is_rendered_none(shape, value):
            self.left_out.append(path)
            return ABSENT
        return self.value(shape, value, path)

    def _is_rendered_none(self, shape: Shape, value: Any) -> bool:
        """A template that rendered to None gives the text "None": nothing, unless the text itself is a possible value."""
        if not self.convert or value != "None":
            return False
        probe = RequestCheck()
        probe.value(shape, value, "")
        return bool(probe.violations)

    def _list(self, shape: Any, value: Any, path: str) -> Any:
        given = self._parsed(value, Sequence, path, "a list")
        if given is None:
            return None
        self._size(shape, len(given), path, "items")
        return [self._item(shape.member, item, f"{path}[{index}]") for index, item in enumerate(given)]

    def _map(self, shape: Any, value: Any, path: str) -> Any:
        given = self._parsed(value, Mapping, path, "a mapping")
        if given is None:
            return None
        self._size(shape, len(given), path, "entries")
        return {
            self.value(shape.key, key, f"{path} key {self._shown(key)}"): self._item(
                shape.value, item, f"{path}[{self._shown(key)}]"
            )
            for key, item in given.items()
        }

    def _item(self, shape: Shape, value: Any, path: str) -> Any:
        if value is None:
            self._note(path, "None", "a value is required")
            return None
        return self.value(shape, value, path)

    def _parsed(self, value: Any, kind: Any, path: str, word: str) -> Any:
        """A container, from JSON or a Python literal where a template rendered it to text."""
        found = value
        if isinstance(value, str) and self.convert:
            found = _container(value)
        if isinstance(found, kind) and not isinstance(found, (str, bytes)):
            return found
        # What stands in place of a structure may have its sensitive members in it.
        shown = "***" if kind is Mapping else self._shown(value)
        self._note(path or "request", f"{shown} is {_type(value)}", f"must be {word}")
        return None

    def _string(self, shape: Any, value: Any, path: str) -> Any:
        # An integer loses nothing as text. 1.10 has become 1.1 by then, and True could be "true" or "True": they are refused.
        if self.convert and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if self.convert and isinstance(value, Mapping) and shape.name == "ResourcePolicy":
            value = json.dumps(value)  # rendered to native objects, its JSON text comes as what it says
        if not isinstance(value, str):
            return self._note(path, f"{self._shown(value)} is {_type(value)}", "must be a string")
        enum = shape.metadata.get("enum")
        if enum and value not in enum:
            return self._note(
                path, f"{self._shown(value)} is unknown{nearest(value, enum)}", f"allowed: {', '.join(enum)}"
            )
        if self._size(shape, len(value), path, "characters"):
            self._match(shape, value, path)
        return value

    def _match(self, shape: Shape, value: str, path: str) -> None:
        pattern = shape.metadata.get("pattern")
        if not pattern:
            return
        text = _ABOVE_BMP.sub("x", value) if _SURROGATES in pattern else value
        if not _pattern(pattern).fullmatch(text):
            self._note(path, f"{self._shown(value)} does not match", f"pattern: {pattern}")

    def _integer(self, shape: Shape, value: Any, path: str) -> Any:
        rendered = self.convert and isinstance(value, str) and _WHOLE.fullmatch(value)
        whole = isinstance(value, float) and value.is_integer()
        number = int(value) if rendered or whole else value
        if isinstance(number, bool) or not isinstance(number, int):
            return self._note(path, f"{self._shown(value)} is {_type(value)}", "must be an integer")
        self._range(shape, number, path)
        return number

    def _float(self, shape: Shape, value: Any, path: str) -> Any:
        number = value
        if self.convert and isinstance(value, str):
            try:
                number = float(value)
            except ValueError:
                number = value
        if isinstance(number, bool) or not isinstance(number, (int, float)) or math.isnan(number):
            return self._note(path, f"{self._shown(value)} is {_type(value)}", "must be a number")
        self._range(shape, number, path)
        return number

    def _boolean(self, _: Shape, value: Any, path: str) -> Any:
        if isinstance(value, bool):
            return value
        if self.convert and isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        return self._note(path, f"{self._shown(value)} is {_type(value)}", "must be true or false")

    def _timestamp(self, _: Shape, value: Any, path: str) -> Any:
        try:
            return _as_datetime(value)
        except (ValueError, OverflowError, OSError, TypeError):
            allowed = "must be a time: ISO 8601 (without an offset it is UTC) or seconds since 1970"
            return self._note(path, f"{self._shown(value)} is {_type(value)}", allowed)

    def _size(self, shape: Shape, size: int, path: str, unit: str) -> bool:
        """Whether a size is within the shape's bounds."""
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        good = (low is None or size >= low) and (high is None or size <= high)
        if not good:
            self._note(path, f"{size} {unit}", f"allowed: {_bounds(low, high)} {unit}")
        return good

    def _range(self, shape: Shape, number: float, path: str) -> None:
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if (low is not None and number < low) or (high is not None and number > high):
            self._note(path, f"{self._shown(number)} is out of range", f"allowed: {_bounds(low, high)}")

    def _note(self, path: str, problem: str, allowed: str) -> None:
        self.violations.append(Violation(path, problem, allowed))

    def _shown(self, value: Any) -> str:
        if self._hidden:
            return "***"
        text = repr(value)
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_BY_TYPE: dict[str, Callable[[RequestCheck, Any, Any, str], Any]] = {
    "structure": RequestCheck.structure,
    "list": RequestCheck._list,
    "map": RequestCheck._map,
    "string": RequestCheck._string,
    "integer": RequestCheck._integer,
    "long": RequestCheck._integer,
    "float": RequestCheck._float,
    "double": RequestCheck._float,
    "boolean": RequestCheck._boolean,
    "timestamp": RequestCheck._timestamp,
}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _type(value: Any) -> str:
    name = type(value).__name__
    return {"str": "a string", "NoneType": "nothing"}.get(name, f"{'an' if name[0] in 'aeiou' else 'a'} {name}")


def _bounds(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high}"
    return f"at least {low}" if high is None else f"{low} to {high}"


def _container(text: str) -> Any:
    """What a rendered text says: JSON (``| tojson``), or the Python literal that a plain ``{{ … }}`` of a dict or list gives."""
    if not text.lstrip().startswith(("{", "[", "(")):
        return text
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return text


def _as_datetime(value: Any) -> datetime:
    """A time; a naive one is UTC, as everywhere in Airflow."""
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
