"""
Checks a value against its shape, and converts it to the type that the service model requires.

botocore only checks required members, minimum lengths and minimum values: maxima, patterns and enums reach the service (tried with
botocore 1.43.117). docs/design/requests.md lists the conversions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import cache
from numbers import Real
from operator import index
from typing import Any, ClassVar

from botocore.model import Shape

from airflow_cleanroomsml._requests.arns import describe_arn, describe_pattern
from airflow_cleanroomsml._requests.coercion import (
    TIME_FORMATS,
    Entries,
    as_datetime,
    as_integer,
    as_number,
    convert_policy,
    is_boolean,
    is_text,
    parse_container,
)
from airflow_cleanroomsml._requests.sensitive import is_sensitive
from airflow_cleanroomsml._requests.violations import (
    Violation,
    count,
    describe_type,
    format_bounds,
    format_names,
    is_within,
    join_alternatives,
    join_path,
    suggest_name,
)

#: Marks a member that is omitted from its structure.
ABSENT = object()

# The models spell "any character" with the surrogates in the wrong order, so a Java service rejects the characters above U+FFFF that the
# pattern was meant to allow. Whether AWS rejects them is not known, so they are sent.
_SURROGATES = r"\uD800\uDBFF-\uDC00\uDFFF"
_ABOVE_BMP = re.compile("[\U00010000-\U0010ffff]")
# Bounded, because parsing a number takes quadratic time in its digits.
_INTEGER = re.compile(r"\s*[+-]?\d{1,30}\s*", re.ASCII)
# Sequences that are not lists.
_SINGLE_VALUES = (str, bytes, bytearray, memoryview)
#: Most characters of a value that a message shows.
_MOST_SHOWN = 60
#: Searching for a similar name takes about a millisecond, so not for each of 100,000 items.
_MOST_SUGGESTIONS = 50


@cache
def _compile_pattern(text: str) -> re.Pattern[str] | None:
    """Compile a pattern of the model; None for Java syntax that Python does not support, which only the service can check."""
    try:
        return re.compile(text, re.ASCII)
    except re.error:
        return None


class RequestCheck:
    """
    Checks and converts values, and collects violations.

    :param convert: Whether to convert rendered templates to the required types; otherwise values must already have them.

    ``left_out`` has the paths of members that rendered to "None", ``base_versions`` those of version identifiers that are "NULL".
    """

    def __init__(self, *, convert: bool = True) -> None:
        self.convert = convert
        self.violations: list[Violation] = []
        self.left_out: list[str] = []
        self.base_versions: list[str] = []
        # Number of sensitive shapes around the current value; messages must not quote what is inside them.
        self._hidden = 0

    def check_value(self, shape: Shape, value: Any, path: str) -> Any:
        """Check a value and return it in the type of its shape; None if it cannot be converted."""
        sensitive = is_sensitive(shape)
        self._hidden += sensitive
        try:
            return self._CHECKS[shape.type_name](self, shape, value, path)
        finally:
            self._hidden -= sensitive

    def check_structure(
        self,
        shape: Any,
        value: Any,
        path: str,
        *,
        spelling: Mapping[str, str] | None = None,
        unknown: str = "no such member",
    ) -> dict[str, Any]:
        """
        Check a structure, member by member.

        :param spelling: The model's name of each member by its name in ``value``, if they differ.
        :param unknown: Message for a member that is not in the model.
        """
        members = self._parse_container(value, Mapping, path, "a mapping")
        names = spelling or {name: name for name in shape.members}
        if members is None:
            return {}
        for name, item in members.items():
            if name not in names:
                problem = unknown + self._suggest(str(name), names)
                self.reject_unknown(
                    item, join_path(path, self._format_name(name)), problem, f"allowed: {format_names(names)}"
                )
        self._check_repeated_keys(
            members, lambda name: join_path(path, str(name) if name in names else self._format_name(name))
        )
        typed = {}
        for name, member in names.items():
            required = member in shape.required_members
            item = self.check_member(shape.members[member], members.get(name), join_path(path, name), required=required)
            if item is not ABSENT:
                typed[member] = item
        if shape.metadata.get("union") and len(typed) != 1:
            self._add_violation(path, f"{len(typed)} members given", f"exactly one of: {', '.join(names)}")
        return typed

    def check_member(self, shape: Shape, value: Any, path: str, *, required: bool) -> Any:
        """Check a member of a structure and return its value; ``ABSENT`` if it is omitted."""
        if value is None:
            if required:
                self._add_violation(path, "missing", "required")
            return ABSENT
        if not required and self._is_rendered_none(shape, value):
            self.left_out.append(path)
            return ABSENT
        if not required and self._is_base_version(value, path):
            self.base_versions.append(path)
            return ABSENT
        return self.check_value(shape, value, path)

    def reject_unknown(self, value: Any, path: str, problem: str, allowed: str) -> None:
        """Report a member that the model does not know, unless it has no value: an older model may lack a new argument that is not used."""
        if self.convert and is_text(value, "None"):
            self.left_out.append(path)
        elif self._is_base_version(value, path):
            self.base_versions.append(path)
        elif value is not None:
            self._add_violation(path, problem, allowed)

    def _is_base_version(self, value: Any, path: str) -> bool:
        # CreateTrainedModel returns "NULL" as the identifier of the base version, but requests must have a UUID there, or omit it (API
        # reference, CreateTrainedModel). The path is compared without underscores, because nested members have the API's own spelling.
        return self.convert and is_text(value, "NULL") and path.replace("_", "").lower().endswith("versionidentifier")

    def _is_rendered_none(self, shape: Shape, value: Any) -> bool:
        # Jinja renders None to the text "None". Where that is a valid value, as for a description, it is sent.
        if not self.convert or not is_text(value, "None"):
            return False
        # A check of its own, so that the violations of this trial are not reported.
        probe = RequestCheck()
        probe.check_value(shape, value, "")
        return bool(probe.violations)

    def _check_list(self, shape: Any, value: Any, path: str) -> Any:
        items = self._parse_container(value, Sequence, path, "a list")
        if items is None:
            return None
        self._check_size(shape, len(items), path, "items")
        return [self._check_item(shape.member, item, f"{path}[{index}]") for index, item in enumerate(items)]

    def _check_map(self, shape: Any, value: Any, path: str) -> Any:
        entries = self._parse_container(value, Mapping, path, "a mapping")
        if entries is None:
            return None
        self._check_size(shape, len(entries), path, "entries")
        typed: dict[Any, Any] = {}
        for position, (key, item) in enumerate(entries.items(), 1):
            # A key of a confidential map, such as the name of an environment variable, may itself be confidential.
            label = f"of entry {position}" if self._hidden else self._format_value(key)
            name = self.check_value(shape.key, key, f"{path} key {label}")
            if name is not None and name in typed:  # 1 and "1" become the same key
                self._add_violation(f"{path} key {label}", "given more than once", "allowed: once")
            typed[name] = self._check_item(shape.value, item, f"{path}[{label.removeprefix('of ')}]")
        self._check_repeated_keys(entries, lambda key: f"{path} key {self._format_value(key)}")
        return typed

    def _check_repeated_keys(self, mapping: Mapping[Any, Any], path: Callable[[Any], str]) -> None:
        # json.loads() and ast.literal_eval() would silently take the last value.
        for key in dict.fromkeys(mapping.repeated if isinstance(mapping, Entries) else ()):
            self._add_violation(path(key), "given more than once", "allowed: once")

    def _check_item(self, shape: Shape, value: Any, path: str) -> Any:
        if value is None:
            self._add_violation(path, "None", "a value is required")
            return None
        return self.check_value(shape, value, path)

    def _parse_container(self, value: Any, kind: Any, path: str, word: str) -> Any:
        """Return a container, which may be rendered to JSON or a Python literal; None for any other value."""
        parsed = value
        if isinstance(value, str) and self.convert:
            parsed = parse_container(value)
        if isinstance(parsed, kind) and not isinstance(parsed, _SINGLE_VALUES):
            return parsed
        # Text in place of a structure may contain the values of sensitive members, wherever they are.
        text = "***" if kind is Mapping else self._format_value(value)
        self._add_violation(path or "request", f"{text} is {describe_type(value)}", f"must be {word}")
        return None

    def _check_string(self, shape: Any, value: Any, path: str) -> Any:
        # Only integers are converted to text: 1.10 would become "1.1", and True could mean "true" or "True".
        if self.convert and not isinstance(value, (str, bool)):
            with suppress(TypeError, ValueError):  # ValueError: more digits than Python converts
                value = str(index(value))
        if self.convert and shape.name == "ResourcePolicy":
            value = convert_policy(value)
        if not isinstance(value, str):
            quotes = ", in quotes" if is_boolean(value) or isinstance(value, (Real, Decimal)) else ""
            return self._add_violation(
                path, f"{self._format_value(value)} is {describe_type(value)}", f"must be a string{quotes}"
            )
        value = str.__str__(value)  # numpy's strings and str enums are subclasses
        enum = shape.metadata.get("enum")
        if enum and value not in enum:
            problem = f"{self._format_value(value)} is unknown{self._suggest(value, enum)}"
            return self._add_violation(path, problem, f"allowed: {format_names(enum)}")
        # One violation is enough: a value of the wrong length rarely matches the pattern, whose message says less.
        if self._check_length(shape, value, path):
            self._check_pattern(shape, value, path)
        return value

    def _check_pattern(self, shape: Shape, value: str, path: str) -> None:
        pattern = shape.metadata.get("pattern")
        if not pattern:
            return
        text = _ABOVE_BMP.sub("x", value) if _SURROGATES in pattern else value
        compiled = _compile_pattern(pattern)
        # The service matches the whole value, whereas the pattern itself has no anchors.
        if compiled is None or compiled.fullmatch(text):
            return
        # The pattern of an ARN is long, and the usual mistake is the ARN of another kind of resource.
        kind, expected = describe_arn(value), describe_pattern(pattern)
        if expected and kind and kind not in expected and not self._hidden:
            self._add_violation(
                path,
                f"{self._format_value(value)} is the ARN of {kind}",
                f"must be the ARN of {join_alternatives(expected)}",
            )
        else:
            self._add_violation(path, f"{self._format_value(value)} does not match", f"pattern: {pattern}")

    def _check_integer(self, shape: Shape, value: Any, path: str) -> Any:
        number = value
        if isinstance(value, str) and self.convert and _INTEGER.fullmatch(value):
            number = int(value)
        return self._check_number(shape, number, path, as_integer, "must be an integer")

    def _check_float(self, shape: Shape, value: Any, path: str) -> Any:
        number = value
        # float() also accepts underscores and the digits of other scripts.
        if isinstance(value, str) and self.convert and value.isascii() and "_" not in value:
            with suppress(ValueError):
                number = float(value)
        return self._check_number(shape, number, path, as_number, "must be a number")

    def _check_number(
        self, shape: Shape, value: Any, path: str, convert: Callable[[Any], int | float], allowed: str
    ) -> int | float | None:
        number = None
        if self.convert or isinstance(value, (int, float)):
            with suppress(TypeError, ValueError, OverflowError):
                number = convert(value)
        if number is None:
            is_infinite = isinstance(value, float) and not math.isfinite(value)
            what = "not a finite number" if is_infinite else describe_type(value)
            self._add_violation(path, f"{self._format_value(value)} is {what}", allowed)
        else:
            self._check_range(shape, number, path)
        return number

    def _check_boolean(self, _: Shape, value: Any, path: str) -> Any:
        if isinstance(value, bool) or (self.convert and is_boolean(value)):
            return bool(value)
        if self.convert and isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        return self._add_violation(
            path, f"{self._format_value(value)} is {describe_type(value)}", "must be true or false"
        )

    def _check_timestamp(self, _: Shape, value: Any, path: str) -> Any:
        try:
            return as_datetime(value)
        except (ValueError, OverflowError, OSError, TypeError):
            return self._add_violation(path, f"{self._format_value(value)} is not a time", f"must be {TIME_FORMATS}")

    def _check_length(self, shape: Shape, value: str, path: str) -> bool:
        """Check the length of a string, and return whether it is within the bounds of the shape."""
        bounds = shape.metadata.get("min"), shape.metadata.get("max")
        is_valid = is_within(len(value), *bounds)
        if not is_valid:
            # With the value, because a length alone does not show that a template rendered to "None" or to another task's output.
            problem = f"{self._format_value(value)} has {count(str(len(value)), 'characters')}" if value else "is empty"
            self._add_violation(path, problem, f"allowed: {count(format_bounds(*bounds), 'characters')}")
        return is_valid

    def _check_size(self, shape: Shape, size: int, path: str, unit: str) -> None:
        bounds = shape.metadata.get("min"), shape.metadata.get("max")
        if not is_within(size, *bounds):
            problem = f"has {count(str(size), unit)}" if size else "is empty"
            self._add_violation(path, problem, f"allowed: {count(format_bounds(*bounds), unit)}")

    def _check_range(self, shape: Shape, number: float, path: str) -> None:
        bounds = shape.metadata.get("min"), shape.metadata.get("max")
        if not is_within(number, *bounds):
            self._add_violation(
                path, f"{self._format_value(number)} is out of range", f"allowed: {format_bounds(*bounds)}"
            )

    def _add_violation(self, path: str, problem: str, allowed: str) -> None:
        self.violations.append(Violation(path, problem, allowed))

    def _suggest(self, name: str, names: Iterable[str]) -> str:
        return suggest_name(name, names) if len(self.violations) < _MOST_SUGGESTIONS else ""

    def _format_name(self, name: Any) -> str:
        text = str(name)
        return (
            text if text.isprintable() and len(text) <= _MOST_SHOWN and not self._hidden else self._format_value(name)
        )

    def _format_value(self, value: Any) -> str:
        if self._hidden:
            return "***"
        try:
            text = repr(value[: _MOST_SHOWN + 1]) if isinstance(value, str) else " ".join(repr(value).split())
        except ValueError:  # an integer with more digits than Python converts
            return "a number"
        return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"

    _CHECKS: ClassVar[dict[str, Callable[[RequestCheck, Any, Any, str], Any]]] = {
        "structure": check_structure,
        "list": _check_list,
        "map": _check_map,
        "string": _check_string,
        "integer": _check_integer,
        "long": _check_integer,
        "float": _check_float,
        "double": _check_float,
        "boolean": _check_boolean,
        "timestamp": _check_timestamp,
    }
