"""
Choose what a try reuses, among what its run has created.

A retry reuses what its sequence of tries has created, even if its arguments now render to other values: nobody asked for another one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._idempotency.attempts import Attempt
from airflow_cleanroomsml._idempotency.claim import Claim
from airflow_cleanroomsml._idempotency.owned import SKEW, Owned, OwnedSearch
from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.handle import Handle
from airflow_cleanroomsml._resources.table import RUNNING, USABLE, Resource
from airflow_cleanroomsml.exceptions import AccessDeniedError

if TYPE_CHECKING:
    from airflow_cleanroomsml._requests.request import Request
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

log = logging.getLogger(__name__)


@dataclass
class ReusableSearch:
    """
    A search for what one try can reuse. It remembers what the try cannot reuse, and the names that this occupies.

    :param hook: Hook of the service.
    :param resource: Row of the resource table.
    :param request: The current request, without our tag.
    :param arguments: Its arguments, and whatever else names the resource before it exists.
    :param claim: Distinguishes the run's resources from others; None with ``durable=False``.
    :param attempt: The current try.
    :param retries: The operator's ``retries``.
    :param run_start: When the Dag run started, in seconds since 1970.
    """

    hook: CleanRoomsMLHook
    resource: Resource
    request: Request
    arguments: Mapping[str, Any]
    claim: Claim | None
    attempt: Attempt
    retries: int
    run_start: float
    #: Numbers of the names that this run has used, see :func:`~airflow_cleanroomsml._idempotency.claim.build_retry_name`.
    used_numbers: set[int] = field(default_factory=set)
    #: Resources of this run that it cannot reuse, by their identifiers.
    superseded: list[dict[str, Any]] = field(default_factory=list)
    #: Time in seconds since 1970; untagged resources that were created earlier belong to others.
    since: float = 0.0
    #: Note of an earlier try of this sequence about a request whose outcome is unknown.
    unsettled: Mapping[str, Any] = field(default_factory=dict)
    #: Whether an earlier try of this sequence may have created something under another name or parent.
    may_be_elsewhere: bool = False
    _foreign: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.may_be_elsewhere = self.attempt.may_be_retry

    @property
    def may_have_created_since(self) -> bool:
        """Whether an earlier try since the last clear may have created something to which no note leads, only a tag."""
        is_retry = self.attempt.is_probably_retry(self.retries)
        return self.may_be_elsewhere and is_retry and self.resource.has_readable_tags

    @property
    def next_number(self) -> int:
        """Number of the next free name."""
        return max(self.used_numbers, default=0) + 1

    def find(self, *, is_last_look: bool = True) -> Owned | None:
        """
        Find what this run has created and this try can reuse, and record the names that are taken by everything else.

        What the sequence of tries has created comes first, whatever the current request is; then what any try has created by the same
        request. Of several, it is the newest.

        :param is_last_look: Whether to reuse what was created before a clear, even if this sequence may have created something that is not
            visible yet.
        :raises AccessDeniedError: A permission to search is missing; the error says how to do without it.
        """
        if self.claim is None:
            return None
        search = OwnedSearch(self.hook, self.resource, self.claim, self.request, self.arguments, self._foreign)
        with _explain_permissions():
            owned = self._choose(self._list_own_by_name(search))
            if self.may_be_elsewhere and (owned is None or self._is_outdated(owned)):
                owned = self._choose(self._list_own_elsewhere(search)) or owned
        if owned is None or (self._is_outdated(owned) and not is_last_look):
            return None
        return owned

    def _is_outdated(self, owned: Owned) -> bool:
        """Whether a resource is from before a clear, and an earlier try may have created another one since then."""
        return self.may_have_created_since and not owned.in_sequence

    def _list_own_by_name(self, search: OwnedSearch) -> Iterator[Owned]:
        for owned in search.find_by_name():
            # Only untagged resources have a time here: tags identify the owner of all others.
            if not owned.handle.created_after or owned.handle.created_after >= self.since:
                yield owned

    def _list_own_elsewhere(self, search: OwnedSearch) -> Iterator[Owned]:
        # The note first: it names one resource, while the search without a name reads up to fifty.
        yield from search.find_by_note(self.unsettled)
        yield from search.find_elsewhere(self.run_start - SKEW)

    def _choose(self, candidates: Iterator[Owned]) -> Owned | None:
        same: Owned | None = None
        for owned in candidates:
            if owned.usable:
                # An older one may be what this sequence of tries has reused.
                if owned.in_sequence or not self.attempt.may_be_retry:
                    return owned
                same = same or owned
            elif same is None and not self.is_superseded(owned.handle):
                if owned.number:
                    self.used_numbers.add(owned.number)
                self.superseded.append(owned.handle.set_identifiers)
                self._log_superseded(owned)
        return same

    def is_superseded(self, handle: Handle) -> bool:
        """Whether a resource belongs to this run and cannot be reused."""
        return handle.set_identifiers in self.superseded

    def _log_superseded(self, owned: Owned) -> None:
        title = lookup.describe(self.resource, owned.handle.identifiers)
        if owned.same or owned.in_sequence:
            log.warning("Not reusing the %s, because it is %s.", title, owned.status)
        elif owned.status in USABLE:
            charges = ", and incurs charges until it ends" if owned.status in RUNNING else ""
            log.warning(
                "Not reusing the %s: it was created with other arguments. It is %s%s.", title, owned.status, charges
            )


@contextmanager
def _explain_permissions() -> Iterator[None]:
    """Add advice to errors about missing permissions."""
    try:
        yield
    except AccessDeniedError as error:
        advice = (
            "A retry needs these permissions to look for what an earlier try created. durable=False does not need them, "
            "but a retry may then create another one, and you pay for both."
        )
        raise error.extend(to_do=advice) from None
