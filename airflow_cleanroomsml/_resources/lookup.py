"""Read resources: one by its identifiers, or what a listing shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._resources.table import Resource

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

#: What the API calls the first version of a trained model (API reference, CreateTrainedModel).
BASE = "NULL"


def describe(resource: Resource, identifiers: Mapping[str, Any]) -> str:
    """A resource in words: by its ARN, or by its name where it has none."""
    return (
        f"{resource.noun} {identifiers[resource.identifiers[0]]}"
        if resource.has_own_identifier
        else f"{resource.noun} {identifiers['name']!r}"
    )


def read(
    hook: CleanRoomsMLHook, resource: Resource, identifiers: Mapping[str, Any], *, made_after: float = 0.0
) -> dict[str, Any] | None:
    """The resource as the service describes it now; None where a listing does not show it."""
    if resource.get is None:
        entries = listed(hook, resource, identifiers)
        return newest(entry for entry in entries if entry["createTime"].timestamp() >= made_after)
    found = read_latest(hook, resource, identifiers)
    if resource.versions and identifiers.get("version_identifier") == BASE:
        return _base_version(hook, resource, _asked(resource, identifiers), found)
    return found


def read_entry(
    hook: CleanRoomsMLHook, resource: Resource, identifiers: Mapping[str, Any], entry: dict[str, Any]
) -> dict[str, Any]:
    """
    The resource of an entry in a listing, as the service describes it now; the entry itself where there is no other description.

    :raises ResourceNotFoundError: It was deleted since it was listed.
    """
    return entry if resource.get is None else read(hook, resource, identifiers) or {}


def read_latest(hook: CleanRoomsMLHook, resource: Resource, identifiers: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of the resource's own read; of the latest version where the first or none is named."""
    answer = hook.of(resource.service).call(resource.get or "", _asked(resource, identifiers))
    found: dict[str, Any] = answer[resource.within] if resource.within else answer
    return found


def _asked(resource: Resource, identifiers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: identifiers[name] for name in resource.identifiers if not _unset(identifiers.get(name))}


def _base_version(
    hook: CleanRoomsMLHook, resource: Resource, asked: Mapping[str, Any], latest: dict[str, Any]
) -> dict[str, Any] | None:
    """
    The first version under an ARN.

    A read without a version gives the latest one, and the name of the first is none that a request may carry (API reference).
    """
    if _unset(latest.get("versionIdentifier")) or not resource.versions:
        return latest
    return next(
        (entry for entry in hook.items(resource.versions, asked) if _unset(entry.get("versionIdentifier"))), None
    )


def listed(
    hook: CleanRoomsMLHook,
    resource: Resource,
    known: Mapping[str, Any],
    is_named: Callable[[str], bool] | None = None,
) -> Iterator[dict[str, Any]]:
    """
    Entries of a resource's listing that are what is known of it: its name, and what else makes it the one that is meant.

    :param known: Arguments in snake_case; what is not given may be anything.
    :param is_named: Whether a name will do; only the one that is known without it.
    """
    from botocore import xform_name

    given = {name: value for name, value in known.items() if not _unset(value)}
    same = resource.same if is_named else (resource.named, *resource.same)
    wanted = {resource.spelling.get(n, n): given[n] for n in same if n in given}
    for entry in hook.of(resource.service).items(resource.list, listing_arguments(resource, known)):
        has = {xform_name(name): value for name, value in entry.items()}
        if all(has.get(name) == value for name, value in wanted.items()) and (not is_named or is_named(has["name"])):
            yield entry


def listing_arguments(resource: Resource, known: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that narrow a listing to what is known of a resource."""
    return {name: known[name] for name in resource.narrow if not _unset(known.get(name))}


def build_identifiers(resource: Resource, asked: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """
    What identifies a resource and says more of it, as the arguments that name it elsewhere.

    :param asked: What was asked for.
    :param members: What the service says of it: an answer or an entry of a listing, in either spelling.
    """
    known = _arguments(resource, members)
    own = {name: known.get(name) or asked.get(name) for name in resource.identifiers}
    return {**{name: value for name, value in known.items() if value is not None}, **own}


def _arguments(resource: Resource, members: Mapping[str, Any]) -> dict[str, Any]:
    from botocore import xform_name

    found = {xform_name(name): value for name, value in members.items()}
    inner = found.get(xform_name(resource.within)) if resource.within else None
    if inner is not None:
        found = {xform_name(name): value for name, value in inner.items()}
    spelled = {xform_name(theirs): ours for ours, theirs in resource.spelling.items()}
    return {spelled.get(name, name): value for name, value in found.items()}


def _unset(value: Any) -> bool:
    return value is None or value == BASE


def newest(entries: Iterator[dict[str, Any]]) -> dict[str, Any] | None:
    """The entry that was created last."""
    return max(entries, key=lambda entry: entry["createTime"], default=None)
