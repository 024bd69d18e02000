"""Find what earlier tries of a task have created: by their notes, else by a search that lasts as long as commits may lag."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._idempotency.claim import Claim, find_name_limit, parse_retry_number
from airflow_cleanroomsml._idempotency.owned import SKEW, Owned
from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.handle import Handle
from airflow_cleanroomsml.exceptions import AccessDeniedError, CleanRoomsMLError, ResourceNotFoundError

if TYPE_CHECKING:
    from airflow_cleanroomsml._idempotency.attempts import AttemptLog
    from airflow_cleanroomsml._idempotency.reusable import ReusableSearch
    from airflow_cleanroomsml._resources.table import Resource

log = logging.getLogger(__name__)

#: Pauses before each further search for what a request without a response may have created, in seconds: commits can lag.
COMMIT_LAG = (1.0, 5.0, 15.0)
#: Seconds after which a request that was noted as sent has taken effect, or never will.
SETTLED = 300.0


@dataclass
class PreviousTries:
    """
    What earlier tries have created, as far as one try knows.

    :param search: The search for what this try can reuse.
    :param attempt_log: Notes of earlier tries.
    :param has_searched: Whether this try has searched before, and everything that it has sent since was refused.
    """

    search: ReusableSearch
    attempt_log: AttemptLog
    has_searched: bool = False
    #: What this try reuses.
    reused: Owned | None = None
    #: Whether the task is being killed, and must not write notes or tags.
    is_ending: bool = False

    def __post_init__(self) -> None:
        self._hook, self._resource, self._claim = self.search.hook, self.search.resource, self.search.claim

    def find_previous(self) -> Handle | None:
        """Find what an earlier try has created and this one reuses: by its note, else by searching for as long as commits may lag."""
        # A first try has nothing to find, so it saves the listing. A clear does not reset try_number, so a cleared task does search.
        if self._claim is None or self.search.attempt.is_first:
            return None
        note = self.attempt_log.recall()
        of_last_try = note is not None and self.attempt_log.is_of_last_try(note)
        is_settled = self.has_searched or of_last_try
        if self.has_searched or (note and of_last_try and (note.get("known") or not note["sent"])):
            # Everything that was created since is noted.
            self.search.may_be_elsewhere = False
        if (
            note
            and note.get("known")
            and (self.attempt_log.is_of_sequence(note) or not self.search.may_have_created_since)
        ):
            return self._find_noted(note, is_settled=is_settled)
        # A note from before the clear is about the same request, which the search by name looks for anyway.
        if note and self.attempt_log.is_of_sequence(note):
            self.search.unsettled = note
        # A request that was sent moments ago may not be committed yet, so one search proves nothing.
        if note and _clock.now() - note["sent"] < SETTLED:
            is_settled = self.has_searched
        handle = self.find() if is_settled else self.find_with_lag()
        if handle is None and not is_settled:
            self._warn_of_similar()
        return handle

    def _find_noted(self, note: Mapping[str, Any], *, is_settled: bool) -> Handle | None:
        """
        Read the resource that a note is about.

        :param is_settled: Whether nothing can have been created since.
        """
        handle = build_noted_handle(self._resource, note)
        description = self._read(handle)
        for pause in COMMIT_LAG if _clock.now() - note["sent"] < SETTLED else ():
            if description:
                break
            # The resource exists, as the service returned its identifiers, so this read lags.
            _clock.sleep(pause)
            description = self._read(handle)
        if description and self._claim:
            noted = self._build_owned(note, handle, description, self._claim)
            if noted.usable:
                return self._reuse(noted, sent=note["sent"])
            if self._number_name(note.get("sought", {}).get(self._resource.named)) != 0:
                self.search.used_numbers.update(range(1, note["number"] + 1))
        return self.find() if is_settled else self.find_with_lag()

    def _build_owned(
        self, note: Mapping[str, Any], handle: Handle, description: Mapping[str, Any], claim: Claim
    ) -> Owned:
        described = lookup.build_handle(self._resource, handle.identifiers, description)
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
            return lookup.read(self._hook, self._resource, handle.identifiers, created_after=handle.created_after)
        except ResourceNotFoundError:
            return None

    def _number_name(self, name: str | None) -> int | None:
        """Return which of the request's names it is, 0 for another one; None if there is no name."""
        if name is None:
            return None
        return (
            parse_retry_number(
                name, self.search.arguments[self._resource.named], find_name_limit(self.search.request, self._resource)
            )
            or 0
        )

    def find(self, *, is_last_look: bool = True) -> Handle | None:
        """Search once, see :meth:`ReusableSearch.find <airflow_cleanroomsml._idempotency.reusable.ReusableSearch.find>`."""
        owned = self.search.find(is_last_look=is_last_look)
        return self._reuse(owned) if owned else None

    def _reuse(self, owned: Owned, sent: float = 0.0) -> Handle:
        """
        Reuse what an earlier try has created.

        :param sent: When its request was sent, in seconds since 1970; 0 if unknown.
        """
        title = lookup.describe(self._resource, owned.handle.identifiers)
        log.info("This task run has already created the %s", title)
        self.reused = owned
        if not owned.same:
            log.warning(
                "This retry reuses the %s, although these arguments now render to other values: %s. Templates such as ti.try_number "
                "and macros.datetime.now() do so on every try. To create another one, clear the task once it has ended.",
                title,
                ", ".join(self._find_differing_arguments(owned)) or "unknown, as the service does not return them",
            )
        if not self.is_ending:
            self._update_tag(owned)
            sought = {self._resource.named: owned.description.get("name")}
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

        names = find_differing_arguments(self.search.request, self._resource, owned.description)
        has_own_name = bool(self._number_name(owned.description.get("name")))
        return [name for name in names if name != self._resource.named or not has_own_name]

    def _update_tag(self, owned: Owned) -> None:
        """Write this sequence of tries to the tag of the resource that it reuses, so that its retries find it, too."""
        claim = self._claim
        if claim is None or claim.sequence is None or owned.in_sequence or not self._resource.has_readable_tags:
            return
        arn = owned.handle.identifiers[self._resource.identifiers[0]]
        try:
            self._hook.call("tag_resource", {"resource_arn": arn, "tags": {claim.key: claim.value}})
        except CleanRoomsMLError as error:
            log.warning(
                "Could not update the tag of %s; a retry whose arguments render differently may create a second resource. %s",
                arn,
                error,
            )

    def find_after_conflict(self) -> Handle | None:
        """Find what this try can reuse after a name conflict. On a first try, an untagged resource of that name belongs to others."""
        if self.search.attempt.is_first and not self._resource.has_readable_tags:
            return None
        try:
            return self.find()
        except AccessDeniedError as error:
            # The conflict says what to do; an error about missing permissions would hide it.
            log.info("Could not look for the %s that has this name: %s", self._resource.noun, error)
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
        if self._resource.has_readable_tags or not self.search.may_be_elsewhere:
            return
        arguments = lookup.build_listing_arguments(self._resource, self.search.arguments)
        names = [
            entry["name"]
            for entry in self._hook.of(self._resource.service).items(self._resource.list, arguments)
            if entry["createTime"].timestamp() >= self.search.run_start - SKEW
        ]
        if names:
            log.warning(
                "An earlier try may already have created one of these %ss with other arguments: %s. Whether it did cannot be checked, "
                "because they have no readable tags. Delete those that you do not need.",
                self._resource.noun,
                ", ".join(map(repr, names[:10])),
            )


def build_noted_handle(resource: Resource, note: Mapping[str, Any]) -> Handle:
    """Build the handle of a note's resource."""
    # Earlier releases wrote the time among the identifiers, and tasks are retried across upgrades.
    created_after = note.get("created_after", note["known"].get("made_after", 0.0))
    return lookup.build_handle(resource, note["known"], {}, created_after=created_after)
