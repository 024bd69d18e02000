"""
Find what earlier tries of a task have created, and decide whether this try may reuse it.

A retry reuses what its sequence of tries has created, even if its arguments now render to other values: nobody asked for another one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._idempotency.attempts import Attempt, AttemptLog
from airflow_cleanroomsml._idempotency.claim import Claim, find_name_limit, parse_retry_number
from airflow_cleanroomsml._idempotency.owned import SKEW, Owned, OwnedSearch
from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.handle import Handle
from airflow_cleanroomsml._resources.table import USABLE, Resource
from airflow_cleanroomsml.exceptions import AccessDeniedError, CleanRoomsMLError, ResourceNotFoundError

if TYPE_CHECKING:
    from airflow_cleanroomsml._requests.request import Request
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

log = logging.getLogger(__name__)

#: Pauses before each further search for what a request without a response may have created, in seconds: commits can lag.
COMMIT_LAG = (1.0, 5.0, 15.0)
#: Seconds after which a request that was noted as sent has taken effect, or never will.
SETTLED = 300.0


@dataclass
class PreviousTries:
    """
    What earlier tries have created, as far as one try knows.

    :param hook: Hook of the service.
    :param resource: Row of the resource table.
    :param request: The current request, without our tag.
    :param arguments: Its arguments, and whatever else names the resource before it exists.
    :param claim: Distinguishes the run's resources from others; None with ``durable=False``.
    :param attempt_log: Notes of earlier tries.
    :param attempt: The current try.
    :param retries: The operator's ``retries``.
    :param run_start: When the Dag run started, in seconds since 1970.
    :param is_searched: Whether this try has searched before, and everything that it has sent since was refused.
    """

    hook: CleanRoomsMLHook
    resource: Resource
    request: Request
    arguments: Mapping[str, Any]
    claim: Claim | None
    attempt_log: AttemptLog
    attempt: Attempt
    retries: int = 0
    run_start: float = 0.0
    is_searched: bool = False
    #: Numbers of the names that this run has used, see :func:`~airflow_cleanroomsml._idempotency.claim.build_retry_name`.
    used_numbers: set[int] = field(default_factory=set)
    #: Resources of this run that it cannot reuse, by their identifiers.
    superseded: list[dict[str, Any]] = field(default_factory=list)
    #: Time in seconds since 1970; untagged resources that were created earlier belong to others.
    since: float = 0.0
    #: What this try reuses.
    reused: Owned | None = None
    #: Note of an earlier try of this sequence about a request whose outcome is unknown.
    unsettled: Mapping[str, Any] = field(default_factory=dict)
    #: Whether an earlier try of this sequence may have created something under another name or parent.
    may_be_elsewhere: bool = False
    #: Whether the task is being killed, and must not write notes or tags.
    is_ending: bool = False
    _foreign: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.may_be_elsewhere = self.attempt.may_be_retry

    @property
    def is_first(self) -> bool:
        """Whether there was no earlier try."""
        return self.attempt.number <= 1

    @property
    def _may_have_created_since(self) -> bool:
        """Whether an earlier try since the last clear may have created something to which no note leads, only a tag."""
        is_retry = self.attempt.is_probably_retry(self.retries)
        return self.may_be_elsewhere and is_retry and self.resource.has_readable_tags

    @property
    def next_number(self) -> int:
        """Number of the next free name."""
        return max(self.used_numbers, default=0) + 1

    def find_previous(self) -> Handle | None:
        """Find what an earlier try has created and this one reuses: by its note, else by searching for as long as commits may lag."""
        # A first try has nothing to find, so it saves the listing. A clear does not reset try_number, so a cleared task does search.
        if self.claim is None or self.is_first:
            return None
        note = self.attempt_log.recall()
        of_last_try = note is not None and self.attempt_log.is_of_last_try(note)
        is_settled = self.is_searched or of_last_try
        if self.is_searched or (note and of_last_try and (note.get("known") or not note["sent"])):
            # Everything that was created since is noted.
            self.may_be_elsewhere = False
        if note and note.get("known") and (self.attempt_log.is_of_sequence(note) or not self._may_have_created_since):
            return self._find_noted(note, is_settled=is_settled)
        # A note from before the clear is about the same request, which the search by name looks for anyway.
        if note and self.attempt_log.is_of_sequence(note):
            self.unsettled = note
        # A request that was sent moments ago may not be committed yet, so one search proves nothing.
        if note and _clock.now() - note["sent"] < SETTLED:
            is_settled = self.is_searched
        handle = self.find() if is_settled else self.find_with_lag()
        if handle is None and not is_settled:
            self._warn_of_similar()
        return handle

    def _find_noted(self, note: Mapping[str, Any], *, is_settled: bool) -> Handle | None:
        """
        Read the resource that a note is about.

        :param is_settled: Whether nothing can have been created since.
        """
        handle = build_noted_handle(self.resource, note)
        description = self._read(handle)
        for pause in COMMIT_LAG if _clock.now() - note["sent"] < SETTLED else ():
            if description:
                break
            # The resource exists, as the service returned its identifiers, so this read lags.
            _clock.sleep(pause)
            description = self._read(handle)
        if description and self.claim:
            noted = self._build_owned(note, handle, description, self.claim)
            if noted.usable:
                return self._reuse(noted, sent=note["sent"])
            if self._number_name(note.get("sought", {}).get(self.resource.named)) != 0:
                self.used_numbers.update(range(1, note["number"] + 1))
        return self.find() if is_settled else self.find_with_lag()

    def _build_owned(
        self, note: Mapping[str, Any], handle: Handle, description: Mapping[str, Any], claim: Claim
    ) -> Owned:
        described = lookup.build_handle(self.resource, handle.identifiers, description)
        return Owned(
            note["number"],
            note["fingerprint"] == claim.fingerprint,
            description.get("status", "ACTIVE"),
            described._replace(
                identifiers={**described.identifiers, **handle.set_identifiers}, created_after=handle.created_after
            ),
            note["fingerprint"],
            claim.sequence is not None and note.get("sequence") == claim.sequence,
            description,
        )

    def _read(self, handle: Handle) -> dict[str, Any] | None:
        try:
            return lookup.read(self.hook, self.resource, handle.identifiers, created_after=handle.created_after)
        except ResourceNotFoundError:
            return None

    def _number_name(self, name: str | None) -> int | None:
        """Return which of the request's names it is, 0 for another one; None if there is no name."""
        if name is None:
            return None
        return (
            parse_retry_number(name, self.arguments[self.resource.named], find_name_limit(self.request, self.resource))
            or 0
        )

    def find(self, *, is_last_look: bool = True) -> Handle | None:
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
        return self._reuse(owned)

    def _is_outdated(self, owned: Owned) -> bool:
        """Whether a resource is from before a clear, and an earlier try may have created another one since then."""
        return self._may_have_created_since and not owned.in_sequence

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

    def _reuse(self, owned: Owned, sent: float = 0.0) -> Handle:
        """
        Reuse what an earlier try has created.

        :param sent: When its request was sent, in seconds since 1970; 0 if unknown.
        """
        title = lookup.describe(self.resource, owned.handle.identifiers)
        log.info("This task run has already created the %s.", title)
        self.reused = owned
        if not owned.same:
            log.warning(
                "This retry reuses the %s, although these arguments now render to other values: %s. Templates such as ti.try_number "
                "and macros.datetime.now() do so on every try. To create another one, clear the task once it has ended.",
                title,
                ", ".join(self._find_differing_arguments(owned)) or "some that the service does not return",
            )
        if not self.is_ending:
            self._update_tag(owned)
            sought = {self.resource.named: owned.description.get("name")}
            self.write_note(owned.handle, fingerprint=owned.fingerprint, number=owned.number, sent=sent, sought=sought)
        return owned.handle

    def write_note(self, handle: Handle | None = None, fingerprint: str = "", **values: Any) -> None:
        """
        Write a note for later tries.

        :param handle: The resource, once it was created.
        :param fingerprint: Fingerprint of the request that the note is about; empty for the current one.
        """
        known = {"known": handle.set_identifiers, "created_after": handle.created_after} if handle else {}
        self.attempt_log.write(fingerprint, **values, **known)

    def _find_differing_arguments(self, owned: Owned) -> list[str]:
        """List the arguments that differ from the resource; each of its names is as good as the requested one."""
        from airflow_cleanroomsml._resources.diff import find_differing_arguments

        names = find_differing_arguments(self.request, self.resource, owned.description)
        has_own_name = bool(self._number_name(owned.description.get("name")))
        return [name for name in names if name != self.resource.named or not has_own_name]

    def _update_tag(self, owned: Owned) -> None:
        """Write this sequence of tries to the tag of the resource that it reuses, so that its retries find it, too."""
        claim = self.claim
        if claim is None or claim.sequence is None or owned.in_sequence or not self.resource.has_readable_tags:
            return
        arn = owned.handle.identifiers[self.resource.identifiers[0]]
        try:
            self.hook.call("tag_resource", {"resource_arn": arn, "tags": {claim.key: claim.value}})
        except CleanRoomsMLError as error:
            log.warning(
                "Could not update the tag of %s; a retry whose arguments render differently may create a second resource. %s",
                arn,
                error,
            )

    def is_superseded(self, handle: Handle) -> bool:
        """Whether a resource belongs to this run and cannot be reused."""
        return handle.set_identifiers in self.superseded

    def find_after_conflict(self) -> Handle | None:
        """Find what this try can reuse after a name conflict. On a first try, an untagged resource of that name belongs to others."""
        if self.is_first and not self.resource.has_readable_tags:
            return None
        try:
            return self.find()
        except AccessDeniedError as error:
            # The conflict says what to do; an error about missing permissions would hide it.
            log.info("Could not look for the %s that has this name: %s", self.resource.noun, error)
            return None

    def find_with_lag(self, find_other: Callable[[], Handle | None] = lambda: None) -> Handle | None:
        """
        Find what this try can reuse; try again for as long as a commit may lag.

        :param find_other: Another way to find it.
        """
        pauses = (0.0, *COMMIT_LAG)
        for look, pause in enumerate(pauses, start=1):
            if pause:
                _clock.sleep(pause)
            handle = self.find(is_last_look=look == len(pauses)) or find_other()
            if handle:
                return handle
        return None

    def _warn_of_similar(self) -> None:
        """Warn of resources that an earlier try of this sequence may have created: exports and associations have no tags that prove it."""
        if self.resource.has_readable_tags or not self.may_be_elsewhere:
            return
        arguments = lookup.build_listing_arguments(self.resource, self.arguments)
        names = [
            entry["name"]
            for entry in self.hook.of(self.resource.service).items(self.resource.list, arguments)
            if entry["createTime"].timestamp() >= self.run_start - SKEW
        ]
        if names:
            log.warning(
                "Creating another %s. An earlier try may already have created one of the following with other arguments. This cannot be "
                "checked, because they have no tags; delete those that you do not need: %s.",
                self.resource.noun,
                ", ".join(map(repr, names[:10])),
            )

    def _log_superseded(self, owned: Owned) -> None:
        title = lookup.describe(self.resource, owned.handle.identifiers)
        if owned.same or owned.in_sequence:
            log.warning(
                "Not reusing the %s: it is %s and is kept for inspection. Creating another one under a new name.",
                title,
                owned.status,
            )
        elif owned.status in USABLE:
            log.warning(
                "Not reusing the %s: this task run created it with other arguments. It is %s and may still incur charges.",
                title,
                owned.status,
            )


def build_noted_handle(resource: Resource, note: Mapping[str, Any]) -> Handle:
    """Build the handle of a note's resource."""
    # Earlier releases wrote the time among the identifiers, and tasks are retried across upgrades.
    created_after = note.get("created_after", note["known"].get("made_after", 0.0))
    return lookup.build_handle(resource, note["known"], {}, created_after=created_after)


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
