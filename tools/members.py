"""Explains the members of structures, at any depth, from the service model: their types and what is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_cleanroomsml._requests.arns import describe_pattern
from airflow_cleanroomsml._requests.request import argument_shapes, search_shapes

#: An enum of more words is told by their number: the instance types change with every release of botocore.
_MOST_WORDS = 12
_TYPES = {
    "boolean": "boolean",
    "double": "number",
    "float": "number",
    "integer": "integer",
    "long": "integer",
    "string": "text",
    "structure": "mapping",
    "timestamp": "time",
}
#: Patterns that have a name.
_NAMED = {
    "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}": "a lower-case UUID",
    "[0-9]{12}": "12 digits",
    "s3://.+": "`s3://…`",
}
# Names and descriptions: any character, with the surrogates in the wrong order.
_ANY = r"\uD800\uDBFF-\uDC00\uDFFF"
_UNITS = {"string": " characters", "map": " entries"}


def explained(cls: type[Any]) -> str:
    """A list of the members of each argument of an operator or sensor that has some."""
    shapes = _shapes(cls)
    lists = [(name, list(_members(shapes[name]))) for name in getattr(cls, "arguments", ()) if name in shapes]
    return "\n\n".join("\n".join([f"Members of `{name}`:", "", *rows]) for name, rows in lists if rows)


def _shapes(cls: type[Any]) -> dict[str, Any]:
    if getattr(cls, "operation", ""):
        return dict(argument_shapes(cls.service, cls.operation))
    resource = getattr(cls, "resource", None)
    operations = [operation for operation in (resource.get, resource.list) if operation] if resource else []
    return dict(search_shapes(resource.service, operations)) if resource else {}


def _members(shape: Any, indent: str = "") -> Iterator[str]:
    """A line for each member at or below a shape."""
    if shape.type_name == "list":
        yield from _members(shape.member, indent)
    elif shape.type_name == "structure":
        for name, member in shape.members.items():
            needed = name in shape.required_members or (shape.metadata.get("union") and len(shape.members) == 1)
            yield f"{indent}- `{name}`{' (required)' if needed else ''}: {_said(member)}"
            yield from _members(member, indent + "  ")


def _said(shape: Any) -> str:
    """Type of a value, and what is allowed, in words where there are some."""
    if shape.type_name == "list":
        allowed = _allowed(shape.member)
        return f"list of {_bounds(shape)}" + (f", each {allowed}" if allowed else "")
    kind = "mapping of texts" if shape.type_name == "map" else _TYPES[shape.type_name]
    return ", ".join(text for text in (kind, _allowed(shape)) if text)


def _allowed(shape: Any) -> str:
    if shape.metadata.get("union"):
        return "exactly one of its members" if len(getattr(shape, "members", ())) > 1 else _bounds(shape)
    if words := shape.metadata.get("enum"):
        shown = [f"`{word}`" for word in words]
        return join_alternatives(shown) if len(words) <= _MOST_WORDS else f"one of {len(words)}, such as {shown[0]}"
    return _matching(shape) or _bounds(shape)


def _matching(shape: Any) -> str:
    pattern = shape.metadata.get("pattern", "")
    if not pattern or _ANY in pattern or pattern in (".*", ".+"):
        return ""
    if found := describe_pattern(pattern):
        return f"ARN of {join_alternatives(found)}"
    return _NAMED.get(pattern) or ", ".join(text for text in (_bounds(shape), f"pattern `{pattern}`") if text)


def join_alternatives(words: list[str]) -> str:
    """Join alternatives with commas and "or"."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _bounds(shape: Any) -> str:
    """How long, how many or how much; of a list its items, too."""
    low, high = (shape.metadata.get(name) for name in ("min", "max"))
    unit = _UNITS.get(shape.type_name, "")
    if shape.type_name == "list":
        unit = f" {_TYPES[shape.member.type_name]}{'s' * (high != 1)}"
    if high is None:
        return f"{low:,} or more{unit}" if low else unit.strip() * (shape.type_name == "list")
    if low == high:
        return f"{high:,}{unit}"
    return f"{low:,} to {high:,}{unit}" if low else f"up to {high:,}{unit}"
