"""Compare an existing resource with the request that would create it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from botocore import xform_name

from airflow_cleanroomsml._requests.request import Request, find_description_shape
from airflow_cleanroomsml._requests.sensitive import find_child_shape, holds_sensitive, is_sensitive
from airflow_cleanroomsml._resources.table import Resource

#: Members that do not make a resource another one.
_IGNORED = ("tags", "description")


def find_differences(request: Request, resource: Resource, existing: Mapping[str, Any]) -> list[str]:
    """
    List where a resource differs from a request, one line each; tags and description do not count.

    :param request: Request that would create it.
    :param resource: Its row of the resource table.
    :param existing: The resource as the service describes it. What a description does not have, or withholds, is not compared.
    """
    by_member = find_differences_by_member(request, resource, existing)
    texts = [text for name, lines in by_member.items() if name not in _IGNORED for text in lines]
    return [*texts, *_find_unrequested(request, resource, existing)]


def find_differing_arguments(request: Request, resource: Resource, existing: Mapping[str, Any]) -> list[str]:
    """List the arguments that differ, in snake_case and without their values; parameters as for :func:`find_differences`."""
    by_member = find_differences_by_member(request, resource, existing)
    names = [xform_name(name) for name, lines in by_member.items() if lines and name not in _IGNORED]
    return [*names, *(line.partition(":")[0] for line in _find_unrequested(request, resource, existing))]


def find_differences_by_member(
    request: Request, resource: Resource, existing: Mapping[str, Any]
) -> dict[str, list[str]]:
    """List the differences of each member of the request, in the API's own spelling, tags and description included."""
    requested_shape, existing_shape = request.operation.input_shape, find_description_shape(resource)
    by_member: dict[str, list[str]] = {}
    for name, value in request.members.items():
        argument = xform_name(name)
        spelling = resource.spelling.get(argument, name)
        if spelling in existing_shape.members:
            shapes = (find_child_shape(requested_shape, name), existing_shape.members[spelling])
            by_member[name] = list(_compare(shapes, argument, value, existing.get(spelling)))
    return by_member


def _find_unrequested(request: Request, resource: Resource, existing: Mapping[str, Any]) -> Iterator[str]:
    """Find members that are set, not requested, and have no default: hyperparameters, the version to continue from, seeds."""
    shape: Any = request.operation.input_shape
    for name, member in shape.members.items():
        has_no_default = member.type_name in ("map", "list", "boolean")
        if not has_no_default or name in request.members or name in _IGNORED:
            continue
        if existing.get(resource.spelling.get(xform_name(name), name)):
            yield f"{xform_name(name)}: set, but not requested"


def _compare(shapes: tuple[Any, Any], path: str, requested: Any, existing: Any) -> Iterator[str]:
    """
    Compare two values.

    :param shapes: Shape of the value in the request, and in the description; None if that does not have it.
    """
    # A description may omit an empty value, and may withhold a confidential one.
    if shapes[1] is None or (existing is None and (not requested or holds_sensitive(shapes[0]))):
        return
    if is_sensitive(shapes[0]):
        # Neither value may appear in a message or in the log.
        if requested != existing:
            yield f"{path}: different"
    elif existing is None:
        yield f"{path}: not set, but {_format(requested)} requested"
    elif isinstance(requested, dict) and isinstance(existing, Mapping):
        yield from _compare_mappings(shapes, path, requested, existing)
    elif isinstance(requested, list) and isinstance(existing, list) and _have_entries_to_compare(requested, existing):
        for index, (value, other) in enumerate(zip(requested, existing, strict=True)):
            yield from _compare(_are_both_below(shapes, None), f"{path}[{index}]", value, other)
    elif not _are_equal(requested, existing):
        text = "different" if holds_sensitive(shapes[0]) else f"{_format(existing)} instead of {_format(requested)}"
        yield f"{path}: {text}"


def _format(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def _have_entries_to_compare(requested: list[Any], existing: list[Any]) -> bool:
    return not _are_equal(requested, existing) and len(requested) == len(existing)


def _compare_mappings(
    shapes: tuple[Any, Any], path: str, requested: dict[str, Any], existing: Mapping[str, Any]
) -> Iterator[str]:
    """Compare structures or maps; a structure may have defaults that were not requested, a map has none."""
    if shapes[0].type_name == "map" or holds_sensitive(shapes[0]):
        yield from (f"{path}.{key}: set, but not requested" for key in existing if key not in requested)
    for key, value in requested.items():
        yield from _compare(_are_both_below(shapes, key), f"{path}.{key}", value, existing.get(key))


def _are_equal(requested: Any, existing: Any) -> bool:
    """Whether two values are equal; the service keeps times to the millisecond, and the order of numbers such as sizes is free."""
    if isinstance(requested, list) and isinstance(existing, list):
        if all(isinstance(number, int) for number in (*requested, *existing)):
            return sorted(requested) == sorted(existing)
    elif isinstance(requested, datetime) and isinstance(existing, datetime):
        return abs(requested - existing) < timedelta(seconds=1)
    return bool(requested == existing)


def _are_both_below(shapes: tuple[Any, Any], key: str | None) -> tuple[Any, Any]:
    return find_child_shape(shapes[0], key), find_child_shape(shapes[1], key)
