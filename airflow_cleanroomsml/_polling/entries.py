"""What an entry of a listing says of a wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_cleanroomsml._resources.lookup import BASE
from airflow_cleanroomsml._resources.table import Resource
from airflow_cleanroomsml._waiting.wait import Wait


def naming(resource: Resource) -> str:
    """The argument that tells one entry of a narrowed listing from the others: an ARN or identifier, or a name where there is none."""
    return "name" if "name" in resource.identifiers else resource.identifiers[0]


def named_by(resource: Resource, entry: Mapping[str, Any]) -> Any:
    """The value of that argument in an entry."""
    return _member(resource, naming(resource), entry)


def is_meant(wait: Wait, entry: Mapping[str, Any]) -> bool:
    """Whether an entry is what is waited for: its name, what else makes it the one, and its age."""
    resource, known = wait.resource, wait.identifiers
    names = [name for name in (naming(resource), *resource.same) if known.get(name) not in (None, BASE)]
    is_same = all(_member(resource, name, entry) == known[name] for name in names)
    return bool(is_same and entry["createTime"].timestamp() >= wait.made_after)


def is_version(wait: Wait, entry: Mapping[str, Any]) -> bool:
    """Whether an entry of the ARN shows the version that is waited for; a listing shows one version of each (API reference)."""
    asked = wait.identifiers.get("version_identifier")
    if wait.resource.versions is None or asked is None:
        return True
    return bool(asked == entry.get("versionIdentifier", BASE))


def _member(resource: Resource, argument: str, entry: Mapping[str, Any]) -> Any:
    from botocore import xform_name

    spelled = resource.spelling.get(argument, argument)
    return next((value for name, value in entry.items() if xform_name(name) == spelled), None)
