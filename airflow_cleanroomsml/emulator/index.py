"""Indexes over the emulator's records, so that no request reads them all."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator
from itertools import product
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar

#: Names whose values are indexed together. Every listing has an index that leaves little else to examine.
INDEXES: tuple[tuple[str, ...], ...] = (
    (),
    ("arn",),
    ("kind",),
    ("kind", "id"),
    ("kind", "caller"),
    ("kind", "caller", "audienceGenerationJobArn"),
    ("kind", "caller", "collaborationId"),
    ("kind", "caller", "configuredAudienceModelArn"),
    ("kind", "member"),
    ("kind", "membershipIdentifier"),
    ("kind", "membershipIdentifier", "trainedModelArn"),
    ("kind", "membershipIdentifier", "versionIdentifier"),
    ("kind", "collaborationIdentifier"),
    ("kind", "collaborationIdentifier", "trainedModelArn"),
    ("kind", "collaborationIdentifier", "versionIdentifier"),
)


class Indexed(Protocol):
    """What can be indexed: its values do not change while it is."""

    sequence: int

    def values(self, name: str) -> Collection[Any]:
        """Return the values of a name; none for a name that it does not have."""


_Record = TypeVar("_Record", bound=Indexed)
_Key = tuple[tuple[str, ...], tuple[Any, ...]]


class Index(Generic[_Record]):
    """Records by what they are found by, each group in the order of their numbers."""

    def __init__(self) -> None:
        self._groups: dict[_Key, list[_Record]] = {}

    def add(self, record: _Record) -> None:
        """Add a record whose number is above all others'."""
        for key in _keys(record):
            self._groups.setdefault(key, []).append(record)

    def remove(self, record: _Record) -> None:
        """Remove a record."""
        for key in _keys(record):
            group = self._groups[key]
            del group[bisect_left(group, record.sequence, key=attrgetter("sequence"))]
            if not group:
                del self._groups[key]

    def group(self, conditions: dict[str, Any]) -> list[_Record]:
        """
        Return the smallest indexed group that has all records with these values.

        :param conditions: Values by name. What is not indexed is left for the caller to compare.
        """
        usable = (names for names in INDEXES if conditions.keys() >= set(names))
        groups = (self._groups.get((names, tuple(conditions[name] for name in names)), []) for names in usable)
        return min(groups, key=len)


def _keys(record: Indexed) -> Iterator[_Key]:
    for names in INDEXES:
        for values in product(*(record.values(name) for name in names)):
            yield names, values
