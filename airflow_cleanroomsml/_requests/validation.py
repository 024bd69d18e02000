"""
A value against its shape: turned into the type that the model asks for, every violation noted with its path.

botocore checks required members and minima only: maxima, patterns and enums reach the wire (tried with botocore 1.43.117).
docs/design/requests.md has the table of conversions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from numbers import Real
from operator import index
from typing import Any

from botocore.model import Shape

from airflow_cleanroomsml._requests.arns import kind, kinds
from airflow_cleanroomsml._requests.coercion import Entries, as_datetime, as_integer, as_number, container, is_truth
from airflow_cleanroomsml._requests.sensitive import is_sensitive

#: Given where an optional value turned out not to be one: the member is left out of the request.
ABSENT = object()

# The model writes "any character" with the surrogates in the wrong order, so Java refuses the characters above U+FFFF that the
# pattern was meant to allow. Which of the two the service does is not known: they are left to the service.
_SURROGATES = r"\uD800\uDBFF-\uDC00\uDFFF"
_ABOVE_BMP = re.compile("[\U00010000-\U0010ffff]")
_WHOLE = re.compile(r"\s*[+-]?\d{1,30}\s*", re.ASCII)
# Sequences that are one value each.
_NO_LISTS = (str, bytes, bytearray, memoryview)
# Characters of a value, and names of what is allowed, that a message shows.
_SHOWN = 60
_LISTED = 20
# Looking for a similar name takes about a millisecond: not for each of 100,000 items, nor for a text that is no name.
_SUGGESTIONS = 50
_LONGEST_NAME = 128


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
    if len(name) > _LONGEST_NAME:
        return ""
    by_lower = {item.lower().replace("_", ""): item for item in known}
    found = get_close_matches(name.lower().replace("_", ""), by_lower, n=1, cutoff=0.7)
    return f", did you mean {by_lower[found[0]]!r}?" if found else ""


@cache
def _pattern(text: str) -> re.Pattern[str] | None:
    """Compile a pattern of the model; None for one of Java that Python does not know: the service decides then."""
    try:
        return re.compile(text, re.ASCII)
    except re.error:
        return None


class RequestCheck:
    """
    Walks a value along its shape.

    :param convert: Turn rendered strings into what the model asks for; without it a value must have its type already, and None
        stands for nothing.

    ``left_out`` has the paths of what rendered to "None", ``base_versions`` those of version identifiers "NULL".
    """

    def __init__(self, *, convert: bool = True) -> None:
        self.convert = convert
        self.violations: list[Violation] = []
        self.left_out: list[str] = []
        self.base_versions: list[str] = []
        self._hidden = 0

    def value(self, shape: Shape, value: Any, path: str) -> Any:
        """The value in the shape's type; violations are noted and None is returned for what has none."""
        sensitive = is_sensitive(shape)
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
        for name, item in given.items():
            if name not in names:
                problem = unknown + self._suggestion(str(name), names)
                self.unknown(item, _join(path, self._name(name)), problem, f"allowed: {_listed(names)}")
        self._once(given, lambda name: _join(path, str(name) if name in names else self._name(name)))
        typed = {}
        for name, member in names.items():
            required = member in shape.required_members
            item = self.member(shape.members[member], given.get(name), _join(path, name), required=required)
            if item is not ABSENT:
                typed[member] = item
        if shape.metadata.get("union") and len(typed) != 1:
            self._note(path, f"{len(typed)} members given", f"exactly one of: {', '.join(names)}")
        return typed

    def member(self, shape: Shape, value: Any, path: str, *, required: bool) -> Any:
        """The value of a member, or ``ABSENT`` where it is left out of its structure."""
        if value is None:
            if required:
                self._note(path, "missing", "required")
            return ABSENT
        if not required and self._is_rendered_none(shape, value):
            self.left_out.append(path)
            return ABSENT
        if not required and self._is_base_version(value, path):
            self.base_versions.append(path)
            return ABSENT
        return self.value(shape, value, path)

    def unknown(self, value: Any, path: str, problem: str, allowed: str) -> None:
        """Note a member that the model does not know; an older one does not know all, and one that says nothing is as if not given."""
        if self.convert and _is_text(value, "None"):
            self.left_out.append(path)
        elif self._is_base_version(value, path):
            self.base_versions.append(path)
        elif value is not None:
            self._note(path, problem, allowed)

    def _is_base_version(self, value: Any, path: str) -> bool:
        """What CreateTrainedModel returns for the base version; a request, which wants 36 characters, names it by omission."""
        return self.convert and _is_text(value, "NULL") and path.replace("_", "").lower().endswith("versionidentifier")

    def _is_rendered_none(self, shape: Shape, value: Any) -> bool:
        """A template that rendered to None gives the text "None": nothing, unless the text itself is a possible value."""
        if not self.convert or not _is_text(value, "None"):
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
        typed: dict[Any, Any] = {}
        for position, (key, item) in enumerate(given.items(), 1):
            shown = f"of entry {position}" if self._hidden else self._shown(key)
            name = self.value(shape.key, key, f"{path} key {shown}")
            if name is not None and name in typed:  # 1 and "1" are one key
                self._note(f"{path} key {shown}", "given more than once", "allowed: once")
            typed[name] = self._item(shape.value, item, f"{path}[{shown.removeprefix('of ')}]")
        self._once(given, lambda key: f"{path} key {self._shown(key)}")
        return typed

    def _once(self, given: Mapping[Any, Any], path: Callable[[Any], str]) -> None:
        """No key twice: of JSON and Python literals the last value would be taken in silence."""
        for key in dict.fromkeys(given.repeated if isinstance(given, Entries) else ()):
            self._note(path(key), "given more than once", "allowed: once")

    def _item(self, shape: Shape, value: Any, path: str) -> Any:
        if value is None:
            self._note(path, "None", "a value is required")
            return None
        return self.value(shape, value, path)

    def _parsed(self, value: Any, kind: Any, path: str, word: str) -> Any:
        """A container, from JSON or a Python literal where a template rendered it to text."""
        found = value
        if isinstance(value, str) and self.convert:
            found = container(value)
        if isinstance(found, kind) and not isinstance(found, _NO_LISTS):
            return found
        # What stands in place of a structure may have its sensitive members in it.
        shown = "***" if kind is Mapping else self._shown(value)
        self._note(path or "request", f"{shown} is {_type(value)}", f"must be {word}")
        return None

    def _string(self, shape: Any, value: Any, path: str) -> Any:
        # An integer loses nothing as text. 1.10 has become 1.1 by then, and True could be "true" or "True": they are refused.
        if self.convert and not isinstance(value, (str, bool)):
            with suppress(TypeError, ValueError):  # ValueError: of more digits than Python writes
                value = str(index(value))
        if self.convert and shape.name == "ResourcePolicy":
            value = _as_json(value)
        if not isinstance(value, str):
            quotes = ", in quotes" if is_truth(value) or isinstance(value, (Real, Decimal)) else ""
            return self._note(path, f"{self._shown(value)} is {_type(value)}", f"must be a string{quotes}")
        value = str.__str__(value)  # numpy and enumerations have strings of their own types
        enum = shape.metadata.get("enum")
        if enum and value not in enum:
            problem = f"{self._shown(value)} is unknown{self._suggestion(value, enum)}"
            return self._note(path, problem, f"allowed: {_listed(enum)}")
        # A template of None renders to this text: said, for it is rarely what was meant.
        unit = "characters, the text 'None'" if self.convert and value == "None" else "characters"
        if self._size(shape, len(value), path, unit):
            self._match(shape, value, path)
        return value

    def _match(self, shape: Shape, value: str, path: str) -> None:
        pattern = shape.metadata.get("pattern")
        if not pattern:
            return
        text = _ABOVE_BMP.sub("x", value) if _SURROGATES in pattern else value
        compiled = _pattern(pattern)
        if compiled is None or compiled.fullmatch(text):
            return
        given, asked = kind(value), kinds(pattern)
        if asked and given and given not in asked and not self._hidden:
            self._note(path, f"{self._shown(value)} is the ARN of {given}", f"must be the ARN of {_either(asked)}")
        else:
            self._note(path, f"{self._shown(value)} does not match", f"pattern: {pattern}")

    def _integer(self, shape: Shape, value: Any, path: str) -> Any:
        number = value
        if isinstance(value, str) and self.convert and _WHOLE.fullmatch(value):
            number = int(value)
        return self._number(shape, number, path, as_integer, "must be an integer")

    def _float(self, shape: Shape, value: Any, path: str) -> Any:
        number = value
        if isinstance(value, str) and self.convert and value.isascii() and "_" not in value:
            with suppress(ValueError):
                number = float(value)
        return self._number(shape, number, path, as_number, "must be a number")

    def _number(
        self, shape: Shape, value: Any, path: str, convert: Callable[[Any], int | float], allowed: str
    ) -> int | float | None:
        number = None
        if self.convert or isinstance(value, (int, float)):
            with suppress(TypeError, ValueError, OverflowError):
                number = convert(value)
        if number is None:
            self._note(path, f"{self._shown(value)} is {_type(value)}", allowed)
        else:
            self._range(shape, number, path)
        return number

    def _boolean(self, _: Shape, value: Any, path: str) -> Any:
        if isinstance(value, bool) or (self.convert and is_truth(value)):
            return bool(value)
        if self.convert and isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        return self._note(path, f"{self._shown(value)} is {_type(value)}", "must be true or false")

    def _timestamp(self, _: Shape, value: Any, path: str) -> Any:
        try:
            return as_datetime(value)
        except (ValueError, OverflowError, OSError, TypeError):
            allowed = "must be a time: ISO 8601 (without an offset it is UTC) or seconds since 1970"
            return self._note(path, f"{self._shown(value)} is {_type(value)}", allowed)

    def _size(self, shape: Shape, size: int, path: str, unit: str) -> bool:
        """Whether a size is within the shape's bounds."""
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        good = (low is None or size >= low) and (high is None or size <= high)
        if not good:
            self._note(path, f"{size} {unit}", f"allowed: {_bounds(low, high)} {unit.split(',', maxsplit=1)[0]}")
        return good

    def _range(self, shape: Shape, number: float, path: str) -> None:
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if (low is not None and number < low) or (high is not None and number > high):
            self._note(path, f"{self._shown(number)} is out of range", f"allowed: {_bounds(low, high)}")

    def _note(self, path: str, problem: str, allowed: str) -> None:
        self.violations.append(Violation(path, problem, allowed))

    def _suggestion(self, name: str, known: Iterable[str]) -> str:
        return nearest(name, known) if len(self.violations) < _SUGGESTIONS else ""

    def _name(self, name: Any) -> str:
        text = str(name)
        return text if text.isprintable() and len(text) <= _SHOWN and not self._hidden else self._shown(name)

    def _shown(self, value: Any) -> str:
        if self._hidden:
            return "***"
        try:
            text = repr(value[: _SHOWN + 1]) if isinstance(value, str) else " ".join(repr(value).split())
        except ValueError:  # an integer of more digits than Python writes
            return "a number"
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


def _as_json(policy: Any) -> Any:
    """A policy as JSON, where it is a mapping, or the Python literal that a plain ``{{ … }}`` of one gives."""
    found = policy
    if isinstance(policy, str):
        with suppress(ValueError):
            json.loads(policy)
            return policy
        found = container(policy)
    if isinstance(found, Mapping) and not getattr(found, "repeated", ()):
        with suppress(TypeError):
            return json.dumps(dict(found))
    return policy


def _is_text(value: Any, text: str) -> bool:
    """Whether a value is a text; arrays compare each of their items, and have no truth."""
    return isinstance(value, str) and value == text


def _either(words: list[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _type(value: Any) -> str:
    name = type(value).__name__
    return {"str": "a string", "NoneType": "nothing"}.get(name, f"{'an' if name[0] in 'aeiou' else 'a'} {name}")


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    more = f", … and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return (", ".join(known[:_LISTED]) or "none") + more


def _bounds(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high}"
    if low == high:
        return f"{low}"
    return f"at least {low}" if high is None else f"{low} to {high}"
