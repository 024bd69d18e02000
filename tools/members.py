"""Describes the members of structures, at any depth, by their types and allowed values in the service model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_cleanroomsml._requests.arns import describe_pattern
from airflow_cleanroomsml._requests.request import find_argument_shapes, find_search_shapes
from airflow_cleanroomsml._requests.violations import join_alternatives

#: A larger enum is described by its size, because each release of botocore adds instance types.
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
#: Descriptions of common patterns.
_NAMED = {
    "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}": "a lower-case UUID",
    "[0-9]{12}": "12 digits",
    "s3://.+": "`s3://…`",
}
# Part of the patterns of names and descriptions: any character, with the surrogates in the wrong order.
_ANY = r"\uD800\uDBFF-\uDC00\uDFFF"
_UNITS = {"string": " characters", "map": " entries"}


def explain_members(cls: type[Any]) -> str:
    """List the members of the arguments of an operator or sensor that are structures."""
    shapes = _load_shapes(cls)
    lists = [(name, list(_iterate_members(shapes[name]))) for name in getattr(cls, "arguments", ()) if name in shapes]
    return "\n\n".join("\n".join([f"Members of `{name}`:", "", *rows]) for name, rows in lists if rows)


def _load_shapes(cls: type[Any]) -> dict[str, Any]:
    if getattr(cls, "operation", ""):
        return dict(find_argument_shapes(cls.service, cls.operation))
    # A sensor has no operation of its own: its arguments identify a resource.
    resource = getattr(cls, "resource", None)
    operations = [operation for operation in (resource.get, resource.list) if operation] if resource else []
    return dict(find_search_shapes(resource.service, operations)) if resource else {}


def _iterate_members(shape: Any, indent: str = "") -> Iterator[str]:
    """Yield a line for each member of a shape, at any depth."""
    if shape.type_name == "list":
        yield from _iterate_members(shape.member, indent)
    elif shape.type_name == "structure":
        for name, member in shape.members.items():
            is_required = name in shape.required_members or (shape.metadata.get("union") and len(shape.members) == 1)
            yield f"{indent}- `{name}`{' (required)' if is_required else ''}: {_describe_shape(member)}"
            yield from _iterate_members(member, indent + "  ")


def _describe_shape(shape: Any) -> str:
    """Describe the type and the allowed values of a shape."""
    if shape.type_name == "list":
        allowed = _describe_allowed(shape.member)
        return f"list of {_format_bounds(shape)}" + (f", each {allowed}" if allowed else "")
    kind = "mapping of texts" if shape.type_name == "map" else _TYPES[shape.type_name]
    return ", ".join(text for text in (kind, _describe_allowed(shape)) if text)


def _describe_allowed(shape: Any) -> str:
    if shape.metadata.get("union"):
        return "exactly one of its members" if len(getattr(shape, "members", ())) > 1 else _format_bounds(shape)
    if words := shape.metadata.get("enum"):
        values = [f"`{word}`" for word in words]
        return join_alternatives(values) if len(words) <= _MOST_WORDS else f"one of {len(words)}, such as {values[0]}"
    return _describe_pattern(shape) or _format_bounds(shape)


def _describe_pattern(shape: Any) -> str:
    pattern = shape.metadata.get("pattern", "")
    if not pattern or _ANY in pattern or pattern in (".*", ".+"):
        return ""
    if kinds := describe_pattern(pattern):
        return f"ARN of {join_alternatives(kinds)}"
    return _NAMED.get(pattern) or ", ".join(text for text in (_format_bounds(shape), f"pattern `{pattern}`") if text)


def _format_bounds(shape: Any) -> str:
    """Format the allowed length, number or value, with its unit."""
    low, high = (shape.metadata.get(name) for name in ("min", "max"))
    unit = _UNITS.get(shape.type_name, "")
    if shape.type_name == "list":
        unit = f" {_TYPES[shape.member.type_name]}{'s' * (high != 1)}"
    if high is None:
        return f"{low:,} or more{unit}" if low else unit.strip() * (shape.type_name == "list")
    if low == high:
        return f"{high:,}{unit}"
    return f"{low:,} to {high:,}{unit}" if low else f"up to {high:,}{unit}"
