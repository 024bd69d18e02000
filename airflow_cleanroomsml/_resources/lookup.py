"""Read resources: one by its identifiers, or the entries of a listing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._resources.handle import Handle
from airflow_cleanroomsml._resources.table import Resource

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

#: Identifier of the first version of a trained model (API reference, CreateTrainedModel).
BASE = "NULL"


def describe(resource: Resource, identifiers: Mapping[str, Any]) -> str:
    """Name a resource in words: by its ARN, or by its name and parent if it has no ARN."""
    if resource.has_own_identifier:
        return f"{resource.noun} {identifiers[resource.identifiers[0]]}"
    # An export is identified by its parent and its name, so the name alone would be ambiguous.
    parent = next((identifiers.get(name) for name in resource.identifiers if name.endswith("_arn")), None)
    return f"{resource.noun} {identifiers['name']!r}" + (f" of {parent}" if parent else "")


def read(
    hook: CleanRoomsMLHook, resource: Resource, identifiers: Mapping[str, Any], *, created_after: float = 0.0
) -> dict[str, Any] | None:
    """
    Read the current description of a resource.

    :param created_after: Ignore entries of a listing that are older, in seconds since 1970; for resources that only a listing shows.
    :return: None if the listing does not show it.
    :raises ResourceNotFoundError: It does not exist.
    """
    if resource.get is None:
        entries = list_matching(hook, resource, identifiers)
        return find_newest(entry for entry in entries if entry["createTime"].timestamp() >= created_after)
    latest = read_latest(hook, resource, identifiers)
    if resource.versions and identifiers.get("version_identifier") == BASE:
        return _read_base_version(hook, resource, _select_identifiers(resource, identifiers), latest)
    return latest


def read_entry(
    hook: CleanRoomsMLHook, resource: Resource, identifiers: Mapping[str, Any], entry: dict[str, Any]
) -> dict[str, Any]:
    """
    Read the current description of a listed resource; the entry itself if the API has no other.

    :raises ResourceNotFoundError: It was deleted after it was listed.
    """
    return entry if resource.get is None else read(hook, resource, identifiers) or {}


def read_latest(hook: CleanRoomsMLHook, resource: Resource, identifiers: Mapping[str, Any]) -> dict[str, Any]:
    """Call the resource's Get operation, which returns the latest version if the identifiers name the first version or none."""
    response = hook.of(resource.service).call(resource.get or "", _select_identifiers(resource, identifiers))
    description: dict[str, Any] = response[resource.within] if resource.within else response
    return description


def _select_identifiers(resource: Resource, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in resource.identifiers if not _is_unset(values.get(name))}


def _read_base_version(
    hook: CleanRoomsMLHook, resource: Resource, identifiers: Mapping[str, Any], latest: dict[str, Any]
) -> dict[str, Any] | None:
    """
    Read the first version under an ARN.

    A Get without a version returns the latest, and a request may not carry the first version's name (API reference).
    """
    if _is_unset(latest.get("versionIdentifier")) or not resource.versions:
        return latest
    versions = hook.items(resource.versions, identifiers)
    return next((entry for entry in versions if _is_unset(entry.get("versionIdentifier"))), None)


def list_matching(
    hook: CleanRoomsMLHook,
    resource: Resource,
    arguments: Mapping[str, Any],
    has_name: Callable[[str], bool] | None = None,
) -> Iterator[dict[str, Any]]:
    """
    List the entries that match the arguments of a request: its name, and whatever else distinguishes resources of the same name.

    :param arguments: Arguments in snake_case; those that are missing match any value.
    :param has_name: Decides by an entry's name; without it the name must equal the one in the arguments.
    """
    from botocore import xform_name

    given = {name: value for name, value in arguments.items() if not _is_unset(value)}
    compared = resource.same if has_name else (resource.named, *resource.same)
    wanted = {resource.spelling.get(name, name): given[name] for name in compared if name in given}
    # Compared here, because no listing has a filter by name (service model).
    for entry in hook.of(resource.service).items(resource.list, build_listing_arguments(resource, arguments)):
        members = {xform_name(name): value for name, value in entry.items()}
        matches = all(members.get(name) == value for name, value in wanted.items())
        if matches and (not has_name or has_name(members["name"])):
            yield entry


def build_listing_arguments(resource: Resource, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Select the arguments that narrow the resource's listing."""
    return {name: arguments[name] for name in resource.narrow if not _is_unset(arguments.get(name))}


def build_handle(
    resource: Resource,
    arguments: Mapping[str, Any],
    members: Mapping[str, Any],
    *,
    created_after: float = 0.0,
    is_ours: bool = True,
) -> Handle:
    """
    Build the handle of a resource.

    :param arguments: The arguments of the request; they supply the identifiers that the service does not return.
    :param members: What the service returns: a response or an entry of a listing, in either spelling.
    """
    values = {name: value for name, value in _to_arguments(resource, members).items() if value is not None}
    return Handle(
        {name: values.get(name) or arguments.get(name) for name in resource.identifiers},
        {name: value for name, value in values.items() if name not in resource.identifiers},
        created_after,
        is_ours,
    )


def _to_arguments(resource: Resource, members: Mapping[str, Any]) -> dict[str, Any]:
    """Rename members of a response to the arguments that take their values."""
    from botocore import xform_name

    values = {xform_name(name): value for name, value in members.items()}
    inner = values.get(xform_name(resource.within)) if resource.within else None
    if inner is not None:
        values = {xform_name(name): value for name, value in inner.items()}
    names = {xform_name(member): argument for argument, member in resource.spelling.items()}
    return {names.get(name, name): value for name, value in values.items()}


def _is_unset(value: Any) -> bool:
    return value is None or value == BASE


def find_newest(entries: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the entry that was created last, if there is any."""
    return max(entries, key=lambda entry: entry["createTime"], default=None)
