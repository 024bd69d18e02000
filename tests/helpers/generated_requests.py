"""
Requests at and beyond each limit of the service model, made from the installed model alone.

A value is the smallest that its shape allows; to reach a limit at some depth, the members on the way to it are added.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from botocore import xform_name
from botocore.model import ServiceModel, Shape

from airflow_cleanroomsml._requests.sensitive import is_sensitive

_CLASS = re.compile(r"\[(?:\\.|[^\]\\])*\]|\\d")
_GROUP = re.compile(r"\(([^()|]*)(?:\|[^()]*)?\)([?*]?)")
_REPEATED = re.compile(r"(.)(?:\{(\d+)(?:,\d*)?\}|([+*?]))")
#: For each type, values of other types that are not its text either.
_WRONG: dict[str, tuple[Any, ...]] = {
    "structure": ("text", 5, True, [], "[]", "{not json"),
    "map": ("text", 5, True, [], "[]"),
    "list": ("text", 5, True, {}, "{}", b"x"),
    "string": (True, 1.5, [], b"x"),
    "integer": ("many", "", True, 1.5, "1.5", [], {}),
    "double": ("many", "", True, "nan", float("nan"), []),
    "boolean": ("yes", "", 1, 0.0, []),
    "timestamp": ("yesterday", "", True, 20261124, {}, []),
}
_WRONG |= {"long": _WRONG["integer"], "float": _WRONG["double"]}


@dataclass(frozen=True)
class Case:
    """
    A value at or beyond a limit.

    :param rule: Name of the limit.
    :param value: The value, or the request's arguments.
    :param where: Path of the limit, as a violation names it.
    :param says: What the violation says.
    """

    rule: str
    value: Any
    where: str = ""
    says: str = ""

    def inside(self, before: str, wrap: Callable[[Any], Any]) -> Case:
        return replace(self, where=before + self.where, value=wrap(self.value))


def generate_example(pattern: str) -> str:
    """Return a short text that matches a pattern; supports what the models use: classes, groups, repetitions."""
    text = _CLASS.sub(
        lambda found: next(letter for letter in "a0" if re.fullmatch(found[0], letter)),
        pattern.replace(r"(?!\s*$)", ""),
    )
    text = text.replace(".", "a")
    while "(" in text:
        text = _GROUP.sub(lambda found: "" if found[2] else found[1], text, count=1)
    return _REPEATED.sub(lambda found: found[1] * (int(found[2]) if found[2] else int(found[3] == "+")), text)


def find_text(shape: Shape, size: int) -> str | None:
    """Return a text of this length that the pattern of the shape allows; None if there is none."""
    return _generate_text(shape.metadata.get("pattern", ".*"), size)


@cache
def _generate_text(pattern: str, size: int) -> str | None:
    base = generate_example(pattern)
    for place in range(len(base), -1, -1):
        for letter in "a0":
            text = base[:place] + letter * (size - len(base)) + base[place:]
            if len(text) == size and re.fullmatch(pattern, text, re.ASCII):
                return text
    return None


def _get_shortest(shape: Shape) -> str:
    low = shape.metadata.get("min", 0)
    return next(text for size in range(max(low, 1), low + 200) if (text := find_text(shape, size)) is not None)


def build_valid(shape: Any, also: str | None = None) -> Any:
    """
    The smallest value that a shape allows.

    :param also: A member that a structure has besides the required ones.
    """
    kind = shape.type_name
    if kind == "structure":
        names = list(shape.required_members)
        if shape.metadata.get("union"):
            names = [also or next(iter(shape.members))]
        elif also and also not in names:
            names.append(also)
        return {name: build_valid(shape.members[name]) for name in names}
    if kind == "list":
        return [build_valid(shape.member)] * max(1, shape.metadata.get("min", 0))
    if kind == "map":
        return {build_valid(shape.key): build_valid(shape.value)}
    if kind == "string":
        return shape.enum[0] if shape.enum else _get_shortest(shape)
    simple = {"boolean": True, "timestamp": "2026-11-24T06:00:00Z"}
    return simple.get(kind, shape.metadata.get("min", 1))


def _build_entries(shape: Any, count: int) -> dict[str, Any]:
    """Build a map with a number of entries."""
    return {f"k{index}": build_valid(shape.value) for index in range(count)}


def break_requests(model: ServiceModel, operation: str) -> Iterator[Case]:
    """Yield the arguments of requests that each violate one limit of the model."""
    shape: Any = model.operation_model(operation).input_shape
    yield from map(_build_arguments, _break_structure(shape, xform_name, hidden=False))


def build_requests_at_limits(model: ServiceModel, operation: str) -> Iterator[Case]:
    """Yield the arguments of requests that each reach one limit of the model."""
    shape: Any = model.operation_model(operation).input_shape
    yield Case("smallest", {xform_name(name): value for name, value in build_valid(shape).items()})
    for case in _build_at_limits(shape):
        if case.where:
            yield _build_arguments(case)


def _build_arguments(case: Case) -> Case:
    first, *rest = re.split(r"(?=[.\[ ])", case.where.removeprefix("."), maxsplit=1)
    arguments = {xform_name(name): value for name, value in case.value.items()}
    return replace(case, value=arguments, where="".join((xform_name(first), *rest)))


def break_value(shape: Any, *, hidden: bool) -> Iterator[Case]:
    """Yield values that each violate one limit at or below a shape."""
    hidden = hidden or is_sensitive(shape)
    for number, wrong in enumerate(_WRONG[shape.type_name]):
        if shape.name != "ResourcePolicy" or not isinstance(wrong, dict):
            yield Case(f"type {number} {type(wrong).__name__}", wrong, says="must be ")
    if shape.type_name in _BROKEN:
        yield from _BROKEN[shape.type_name](shape, hidden=hidden)


def _break_structure(shape: Any, spelled: Callable[[str], str] = str, *, hidden: bool) -> Iterator[Case]:
    for name in shape.required_members:
        rest = {key: value for key, value in build_valid(shape).items() if key != name}
        yield Case("missing", rest, f".{name}", "missing; required")
        yield Case("None", {**rest, name: None}, f".{name}", "missing; required")
    yield from _misspell(shape, spelled, hidden=hidden)
    if shape.metadata.get("union"):
        yield Case("none of a union", {}, says="0 members given; exactly one of: ")
        if len(shape.members) > 1:
            both = {name: build_valid(member) for name, member in shape.members.items()}
            yield Case("all of a union", both, says=" members given; exactly one of: ")
    for name, member in shape.members.items():
        wrap = _find_wrapper(build_valid(shape, name), name)
        yield from (case.inside(f".{name}", wrap) for case in break_value(member, hidden=hidden))


def _misspell(shape: Any, spelled: Callable[[str], str], *, hidden: bool) -> Iterator[Case]:
    for name in list(shape.members)[:1]:
        wrong = name[:-2] + name[-1]
        says = f" (did you mean {spelled(name)!r}?); allowed: "
        yield Case("misspelt", {**build_valid(shape), wrong: "x"}, ".***" if hidden else f".{wrong}", says)


def _find_wrapper(rest: Any, name: Any) -> Callable[[Any], Any]:
    return lambda value: {**rest, name: value}


def _break_list(shape: Any, *, hidden: bool) -> Iterator[Case]:
    one, rest = build_valid(shape.member), build_valid(shape)[1:]
    yield from _exceed(shape, "items", lambda count: [one] * count)
    yield Case("None", [None, *rest], "[0]", "None; a value is required")
    yield from (case.inside("[0]", lambda value: [value, *rest]) for case in break_value(shape.member, hidden=hidden))


def _break_map(shape: Any, *, hidden: bool) -> Iterator[Case]:
    yield from _exceed(shape, "entries", lambda count: _build_entries(shape, count))
    key, one = build_valid(shape.key), build_valid(shape.value)
    place = "[entry 1]" if hidden else f"[{key!r}]"
    yield Case("None", {key: None}, place, "None; a value is required")
    yield from (case.inside(place, lambda value: {key: value}) for case in break_value(shape.value, hidden=hidden))
    for case in break_value(shape.key, hidden=hidden):
        if isinstance(case.value, (str, float)):
            text = repr(case.value)
            shown = "of entry 1" if hidden else text if len(text) <= 60 else f"{text[:60]}…"
            yield case.inside(f" key {shown}", lambda value: {value: one})


def _break_string(shape: Any, *, hidden: bool) -> Iterator[Case]:
    if shape.enum:
        yield Case("enum", "NO_SUCH_WORD", says="is unknown")
        yield Case("enum misspelt", shape.enum[0] + "X", says="is unknown (did you mean ")
        return
    yield from _exceed(shape, "characters", lambda size: find_text(shape, size) or "a" * size)
    good, pattern = _get_shortest(shape), shape.metadata.get("pattern", r"[\S\s]*")
    texts = (good[:-1] + mark for mark in ("\n", "!", " ", "\0", "A"))
    wrong = next((text for text in texts if not re.fullmatch(pattern, text, re.ASCII)), None)
    if wrong is not None:
        yield Case("pattern", wrong, says=f"{'***' if hidden else ''} does not match; pattern: ")


def _break_number(shape: Any, *, hidden: bool) -> Iterator[Case]:
    step = 1 if shape.type_name in ("integer", "long") else 0.001
    for rule, beyond in (("min", -step), ("max", step)):
        if rule in shape.metadata:
            number = shape.metadata[rule] + beyond
            says = f"{'***' if hidden else ''} is out of range; allowed: "
            yield Case(rule, number, says=says)
            yield Case(f"{rule} as text", f" {number} ", says=says)


def _exceed(shape: Any, unit: str, make: Callable[[int], Any]) -> Iterator[Case]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low:
        yield Case("min", make(low - 1), says=f"has {low - 1} {unit}; allowed: " if low > 1 else "is empty; allowed: ")
    if high is not None:
        yield Case("max", make(high + 1), says=f"has {high + 1} {unit}; allowed: ")


_BROKEN: dict[str, Callable[..., Iterator[Case]]] = {
    "structure": _break_structure,
    "list": _break_list,
    "map": _break_map,
    "string": _break_string,
    **dict.fromkeys(("integer", "long", "float", "double"), _break_number),
}


def _build_at_limits(shape: Any) -> Iterator[Case]:
    """Yield values that each reach one limit at or below a shape, as they are and as rendered text."""
    kind = shape.type_name
    if kind in ("structure", "list", "map"):
        yield Case("as JSON", json.dumps(build_valid(shape)))
        yield Case("as a literal", f" {build_valid(shape)!r} ")
        yield from _build_containers_at_limits(shape)
    elif kind == "string":
        yield from (Case(f"enum {word}", word) for word in shape.enum)
        yield from () if shape.enum else _list_sizes(shape, lambda size: find_text(shape, size))
    elif kind == "boolean":
        yield from (Case(f"{value!r}", value) for value in (True, False, "true", " False "))
    elif kind == "timestamp":
        yield from (Case(value, value) for value in ("2026-11-24", "2026-11-24T06:00:00+01:00", "1793491200"))
    else:
        yield from (Case(rule, shape.metadata[rule]) for rule in ("min", "max") if rule in shape.metadata)
        yield from (
            Case(f"{rule} as text", f" {shape.metadata[rule]} ") for rule in ("min", "max") if rule in shape.metadata
        )


def _build_containers_at_limits(shape: Any) -> Iterator[Case]:
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            wrap = _find_wrapper(build_valid(shape, name), name)
            yield from (case.inside(f".{name}", wrap) for case in _build_at_limits(member))
    elif shape.type_name == "list":
        rest = build_valid(shape)[1:]
        yield from _list_sizes(shape, lambda count: [build_valid(shape.member)] * count)
        yield from (case.inside("[0]", lambda value: [value, *rest]) for case in _build_at_limits(shape.member))
    else:
        key, one = build_valid(shape.key), build_valid(shape.value)
        yield from _list_sizes(shape, lambda count: _build_entries(shape, count))
        yield from (case.inside(f"[{key}]", lambda value: {key: value}) for case in _build_at_limits(shape.value))
        yield from (case.inside(" key", lambda value: {value: one}) for case in _build_at_limits(shape.key))


def _list_sizes(shape: Any, make: Callable[[int], Any]) -> Iterator[Case]:
    for rule in ("min", "max"):
        value = make(shape.metadata[rule]) if rule in shape.metadata else None
        if value is not None:
            yield Case(rule, value)
