"""Where an existing resource is not what a request asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from botocore import xform_name

from airflow_cleanroomsml._requests.request import Request, description_shape
from airflow_cleanroomsml._requests.sensitive import child_shape, holds_sensitive, is_sensitive
from airflow_cleanroomsml._resources.table import Resource

#: What does not make it another resource.
_NO_MATTER = ("tags", "description")


def differences(request: Request, resource: Resource, found: Mapping[str, Any]) -> list[str]:
    """
    Where a resource is not what a request asks for, one line each; tags and description do not matter.

    :param request: Request that would make it.
    :param resource: Its row of the resource table.
    :param found: The resource as the service describes it. What a description does not have, or withholds, is not compared.
    """
    told = by_member(request, resource, found)
    texts = [text for name, lines in told.items() if name not in _NO_MATTER for text in lines]
    return [*texts, *_not_asked_for(request, resource, found)]


def differing_arguments(request: Request, resource: Resource, found: Mapping[str, Any]) -> list[str]:
    """The arguments in which they differ, in snake_case and without their values; parameters as for :func:`differences`."""
    told = by_member(request, resource, found)
    names = [xform_name(name) for name, lines in told.items() if lines and name not in _NO_MATTER]
    return [*names, *(line.partition(":")[0] for line in _not_asked_for(request, resource, found))]


def by_member(request: Request, resource: Resource, found: Mapping[str, Any]) -> dict[str, list[str]]:
    """The same by the members of the request, in the API's own spelling; tags and description included."""
    asked_shape, there_shape = request.operation.input_shape, description_shape(resource)
    told: dict[str, list[str]] = {}
    for name, value in request.members.items():
        argument = xform_name(name)
        theirs = resource.spelling.get(argument, name)
        if theirs in there_shape.members:
            shapes = (child_shape(asked_shape, name), there_shape.members[theirs])
            told[name] = list(_differences(shapes, argument, value, found.get(theirs)))
    return told


def _not_asked_for(request: Request, resource: Resource, found: Mapping[str, Any]) -> Iterator[str]:
    """What is there, not in the request, and no default: hyperparameters, the version that training went on from, seeds."""
    shape: Any = request.operation.input_shape
    for name, member in shape.members.items():
        extra = (
            member.type_name in ("map", "list", "boolean") and name not in request.members and name not in _NO_MATTER
        )
        if extra and found.get(resource.spelling.get(xform_name(name), name)):
            yield f"{xform_name(name)}: set, but not requested"


def _differences(shapes: tuple[Any, Any], path: str, asked: Any, found: Any) -> Iterator[str]:
    """
    Differences of a value.

    :param shapes: Its shape in the request, and in the description; None where that does not have it.
    """
    if shapes[1] is None or (found is None and (not asked or holds_sensitive(shapes[0]))):
        return
    if is_sensitive(shapes[0]):
        if asked != found:
            yield f"{path}: different"
    elif found is None:
        yield f"{path}: not set, but {asked!r} requested"
    elif isinstance(asked, dict) and isinstance(found, Mapping):
        yield from _entries(shapes, path, asked, found)
    elif isinstance(asked, list) and not _same(asked, found) and isinstance(found, list) and len(asked) == len(found):
        for index, (value, there) in enumerate(zip(asked, found, strict=True)):
            yield from _differences(_bothbelow(shapes, None), f"{path}[{index}]", value, there)
    elif not _same(asked, found):
        told = "different" if holds_sensitive(shapes[0]) else f"{found!r} instead of {asked!r}"
        yield f"{path}: {told}"


def _entries(shapes: tuple[Any, Any], path: str, asked: dict[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """Differences of a structure or map; a structure may have defaults that were not asked for, a map has none."""
    if shapes[0].type_name == "map" or holds_sensitive(shapes[0]):
        yield from (f"{path}.{key}: set, but not requested" for key in found if key not in asked)
    for key, value in asked.items():
        yield from _differences(_bothbelow(shapes, key), f"{path}.{key}", value, found.get(key))


def _same(asked: Any, found: Any) -> bool:
    """Whether two values are equal; times are kept to the millisecond, and numbers such as sizes have no order."""
    if isinstance(asked, list) and isinstance(found, list) and all(isinstance(x, int) for x in (*asked, *found)):
        return sorted(asked) == sorted(found)
    if isinstance(asked, datetime) and isinstance(found, datetime):
        return abs(asked - found) < timedelta(seconds=1)
    return bool(asked == found)


def _bothbelow(shapes: tuple[Any, Any], key: str | None) -> tuple[Any, Any]:
    return child_shape(shapes[0], key), child_shape(shapes[1], key)
