"""Indexes over the emulator's records, so that no request scans all of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator
from itertools import product
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar

#: Names whose values are indexed together. Each List operation has an index that leaves few records to filter.
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
    ("kind", "membership_id"),
    ("kind", "membership_id", "trainedModelArn"),
    ("kind", "membership_id", "versionIdentifier"),
    ("kind", "collaboration_id"),
    ("kind", "collaboration_id", "trainedModelArn"),
    ("kind", "collaboration_id", "versionIdentifier"),
)


class Indexed(Protocol):
    """A record that can be indexed: the values it is indexed by must not change."""

    sequence: int

    def get_values(self, name: str) -> Collection[Any]:
        """Return the values of a name; none for a name that the record does not have."""


_Record = TypeVar("_Record", bound=Indexed)
_Key = tuple[tuple[str, ...], tuple[Any, ...]]


class Index(Generic[_Record]):
    """Records grouped by their values, each group in order of sequence numbers."""

    def __init__(self) -> None:
        self._groups: dict[_Key, list[_Record]] = {}

    def add(self, record: _Record) -> None:
        """Add a record, whose sequence number must be the highest."""
        for key in _iterate_keys(record):
            self._groups.setdefault(key, []).append(record)

    def remove(self, record: _Record) -> None:
        """Remove a record."""
        for key in _iterate_keys(record):
            group = self._groups[key]
            # Groups are sorted by sequence number, so a binary search finds the record; list.remove() would compare dataclasses.
            del group[bisect_left(group, record.sequence, key=attrgetter("sequence"))]
            if not group:
                del self._groups[key]

    def find_group(self, conditions: dict[str, Any]) -> list[_Record]:
        """
        Return the smallest indexed group that contains all records with these values.

        :param conditions: Values by name. The caller has to compare the values of names that are not indexed.
        """
        # The empty combination, which groups all records, is always usable, so min() below has an argument.
        usable = (names for names in INDEXES if conditions.keys() >= set(names))
        groups = (self._groups.get((names, tuple(conditions[name] for name in names)), []) for names in usable)
        return min(groups, key=len)


def _iterate_keys(record: Indexed) -> Iterator[_Key]:
    for names in INDEXES:
        # A product, because a record can have several values of a name: a collaboration is indexed by each of its members.
        for values in product(*(record.get_values(name) for name in names)):
            yield names, values
