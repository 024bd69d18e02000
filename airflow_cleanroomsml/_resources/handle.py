"""A resource that a task acts on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Handle(NamedTuple):
    """
    A resource, and what is known about it.

    :param identifiers: The arguments by which other operations name it.
    :param response: Its other members, from the response of the service or an entry of a listing, by their names in snake_case.
    :param created_after: When it was created at the earliest, in seconds since 1970; 0 if that is unknown.
    :param is_ours: Whether this run of the task created it; only then may a kill cancel or delete it.
    """

    identifiers: Mapping[str, Any]
    response: Mapping[str, Any] = {}
    created_after: float = 0.0
    is_ours: bool = True

    @property
    def set_identifiers(self) -> dict[str, Any]:
        """The identifiers that have a value; an export of a model's first version has no version."""
        return {name: value for name, value in self.identifiers.items() if value is not None}

    def with_identifier(self, name: str, value: Any) -> Handle:
        """Return the same resource with another value of an identifier."""
        return self._replace(identifiers={**self.identifiers, name: value})
