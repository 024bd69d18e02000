"""How an entry of a listing is matched with a wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_cleanroomsml._resources.lookup import BASE
from airflow_cleanroomsml._resources.table import Resource
from airflow_cleanroomsml._waiting.wait import Wait


def find_naming_argument(resource: Resource) -> str:
    """Return the argument that distinguishes the entries of a narrowed listing: an ARN or UUID, or the name of an export."""
    return "name" if "name" in resource.identifiers else resource.identifiers[0]


def find_name(resource: Resource, entry: Mapping[str, Any]) -> Any:
    """Return the value of the naming argument in an entry."""
    return _find_member(resource, find_naming_argument(resource), entry)


def is_match(wait: Wait, entry: Mapping[str, Any]) -> bool:
    """Whether an entry shows the resource of a wait: by its name, what else identifies it, and its age."""
    resource, identifiers = wait.resource, wait.identifiers
    arguments = [
        argument
        for argument in (find_naming_argument(resource), *resource.same)
        if identifiers.get(argument) not in (None, BASE)
    ]
    # An older namesake is an export of another run: exports have no ARN by which to distinguish them.
    is_same = all(_find_member(resource, argument, entry) == identifiers[argument] for argument in arguments)
    return bool(is_same and entry["createTime"].timestamp() >= wait.created_after)


def is_version(wait: Wait, entry: Mapping[str, Any]) -> bool:
    """Whether an entry of the ARN shows the version of a wait; a listing shows one version of each model (API reference)."""
    version = wait.identifiers.get("version_identifier")
    if wait.resource.versions is None or version is None:
        return True
    return bool(version == entry.get("versionIdentifier", BASE))


def _find_member(resource: Resource, argument: str, entry: Mapping[str, Any]) -> Any:
    from botocore import xform_name

    spelling = resource.spelling.get(argument, argument)
    return next((value for name, value in entry.items() if xform_name(name) == spelling), None)
