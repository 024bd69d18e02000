"""
Create a resource at most once, over an API that has no idempotency token.

Before a retry sends anything, it looks for what an earlier try may have created. If the response to a request is lost, the try does not
send it again: the request may have taken effect, and commits can lag, so the try looks for the resource several times.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._idempotency.claim import build_retry_name, find_name_limit
from airflow_cleanroomsml._idempotency.owned import SKEW, read_owner
from airflow_cleanroomsml._idempotency.previous_tries import PreviousTries, build_noted_handle
from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.handle import Handle
from airflow_cleanroomsml._resources.table import USABLE
from airflow_cleanroomsml.exceptions import (
    AccessDeniedError,
    AlreadyExistsError,
    CleanRoomsMLError,
    OutcomeUnknownError,
    OutcomeUnsettledError,
    QuotaExceededError,
    ResourceNotFoundError,
    ServiceError,
    ThrottledError,
    join_lines,
)

if TYPE_CHECKING:
    from airflow_cleanroomsml._requests.request import Request

    #: Sends a request; returns the members of the response by their names in snake_case.
    Send: TypeAlias = Callable[[Request], Mapping[str, Any]]

log = logging.getLogger(__name__)

#: Refusals after which a try may send another request: once there is quota, or under its next name.
_SENT_AGAIN = (AlreadyExistsError, QuotaExceededError, ThrottledError)

#: Changes an existing resource to match the request; raises AlreadyExistsError if it cannot.
Reconcile = Callable[[Handle, Mapping[str, Any]], None]


@dataclass
class CreateOnce:
    """
    One create or start, by one try of a task.

    :param previous: What earlier tries have created.
    :param send: Sends the request, once.
    :param if_exists: What to do about a resource of the same name that this run did not create: ``fail``, ``reuse`` or ``update``.
    :param update: For ``update``: changes an existing resource.
    """

    previous: PreviousTries
    send: Send
    if_exists: str = "fail"
    update: Reconcile | None = None
    #: What this try has created.
    created: Handle | None = None
    #: Whether this try has sent a request that the service did not refuse.
    is_sent: bool = False

    def __post_init__(self) -> None:
        self._search = self.previous.search
        self._hook, self._resource = self._search.hook, self._search.resource
        self._request, self._claim = self._search.request, self._search.claim

    def recall(self) -> Handle | None:
        """Return what a note of an earlier try says it created; it may be gone."""
        note = self.previous.attempt_log.recall()
        return build_noted_handle(self._resource, note) if note and note.get("known") else None

    def run(self, wait_for_quota: Callable[[Callable[[], Handle]], Handle] = lambda send: send()) -> Handle:
        """
        Create the resource, or find it.

        :param wait_for_quota: Calls its argument until the service accepts the request.
        :raises AlreadyExistsError: Another resource has the name.
        :raises OutcomeUnsettledError: The response was lost and the resource is not visible yet; a retry looks for it.
        :raises OutcomeUnknownError: The response was lost, and nothing would distinguish the resource from those of others.
        """
        # In this order: what this run created comes before namesakes of others, and nothing is sent if either exists.
        return self._find_previous() or self._find_existing() or self._create(wait_for_quota)

    def _find_previous(self) -> Handle | None:
        handle, reused = self.previous.find_previous(), self.previous.reused
        if handle and reused and not reused.same and self.if_exists == "update":
            self._reconcile(handle, reused.description)
        return handle

    def _find_existing(self) -> Handle | None:
        """
        Find the newest resource of the same name that has not failed and is not being deleted, if it may be used.

        A resource that this run created by another request may be updated, but is not reused.

        :raises AlreadyExistsError: It is not what the request asks for.
        """
        if self.if_exists == "fail":
            return None
        arguments = self._search.arguments
        entries = lookup.list_matching(self._hook, self._resource, arguments)
        usable = [entry for entry in entries if entry.get("status", "ACTIVE") in USABLE]
        for entry in sorted(usable, key=lambda entry: entry["createTime"], reverse=True):
            handle = lookup.build_handle(self._resource, arguments, entry, is_ours=False)
            if self.if_exists == "reuse" and self._search.is_superseded(handle):
                continue
            try:
                description = lookup.read_entry(self._hook, self._resource, handle.identifiers, entry)
            except ResourceNotFoundError:
                continue  # deleted since it was listed
            self._reconcile(handle, description)
            return handle
        return None

    def _reconcile(self, handle: Handle, description: Mapping[str, Any]) -> None:
        """
        Make sure that an existing resource is what the request asks for.

        :raises AlreadyExistsError: It is not.
        """
        from airflow_cleanroomsml._resources.diff import find_differences

        if self.if_exists == "update" and self.update:
            self.update(handle, description)
        elif different := find_differences(self._request, self._resource, description):
            first = f"The existing {lookup.describe(self._resource, handle.identifiers)} differs from the request:"
            advice = "Choose another name, or change the arguments to match the existing resource."
            raise AlreadyExistsError(join_lines(first, *different, advice))

    def _create(self, wait_for_quota: Callable[[Callable[[], Handle]], Handle]) -> Handle:
        try:
            return self._create_under_free_name(wait_for_quota)
        except ServiceError as error:
            if isinstance(error, _SENT_AGAIN) and not self.is_sent:
                # The try ends here, and sends no other request.
                self.previous.write_note(number=self._search.next_number, sent=0.0)
            raise

    def _create_under_free_name(self, wait_for_quota: Callable[[Callable[[], Handle]], Handle]) -> Handle:
        while True:
            used = len(self._search.used_numbers)
            if used:
                name = self._search.arguments[self._resource.named]
                log.info("Using the name %r: this task run has already used %r.", self._build_next_name(), name)
            try:
                return wait_for_quota(self.send_once)
            except AlreadyExistsError as error:
                if handle := self.previous.find_after_conflict():
                    return handle
                # If the name belongs to a resource of this run that cannot be reused, the loop tries the next name.
                if len(self._search.used_numbers) == used:
                    if handle := self._find_existing_after_conflict():
                        return handle
                    raise self._add_owner(error) from None
            # Not sent again by this try: if the commit lags, there would be two jobs (docs/design/idempotency.md).
            except OutcomeUnknownError as error:
                return self._resolve_unknown_outcome(error)
            except AccessDeniedError as error:
                raise self._add_permission_advice(error) from None

    def _find_existing_after_conflict(self) -> Handle | None:
        """Find the resource that has the name, if it may be used: the listing lagged, or another task was a moment faster."""
        return None if self.if_exists == "fail" else self.previous.find_with_lag(self._find_existing)

    def _resolve_unknown_outcome(self, error: OutcomeUnknownError) -> Handle:
        """
        Find what a request whose response was lost has created.

        :raises OutcomeUnsettledError: It is not visible; the next try looks again.
        """
        # Without a tag and without reuse, a resource of that name could be anybody's.
        if not self._claim and self.if_exists == "fail":
            raise error
        handle = self.previous.find_with_lag(self._find_existing)
        if handle:
            return handle
        if not self._claim:
            raise error
        advice = (
            "The resource is not visible yet. A retry looks for the resource first, and sends the request only if it still does not exist. "
            "If no retries are left, clear the task."
        )
        raise OutcomeUnsettledError(join_lines(error.summary, advice)) from None

    def find_created(self) -> Handle | None:
        """Find what this run has created, for a try that was interrupted and may not know of it."""
        # A process that was killed may not be able to reach its supervisor, to which notes go.
        self.previous.is_ending = True
        if self.created or self._claim is None:
            return self.created
        return self.previous.find_with_lag() if self.is_sent or not self._search.attempt.is_first else None

    def send_once(self) -> Handle:
        """Send the request under the next free name and with our tag; write a note before and after."""
        previous, search = self.previous, self._search
        request, sent, number = self._build_request(), _clock.now(), search.next_number
        # A first try's resource cannot be older than its request; a retry's may be of any age.
        search.since = sent - SKEW if search.attempt.is_first else 0.0
        sought = self._select_search_arguments(request)
        # Before the call: if the process is killed during it, the next try has to know that something may exist.
        previous.write_note(number=number, sent=sent, sought=sought)
        self.is_sent, search.may_be_elsewhere = True, False
        try:
            response = self.send(request)
        except ServiceError as error:
            # The service refused the request, so later tries need not look for a resource, unless this one sends another request and
            # cannot note that.
            self.is_sent = False
            previous.write_note(number=number, sent=0.0, sends_again=isinstance(error, _SENT_AGAIN))
            raise
        # Whatever is older than the request belongs to others. If the response has a time, it is by the service's own clock and needs no
        # allowance for skew, only for creation times in whole seconds.
        elapsed = _clock.now() - sent
        created_after = sent - SKEW if request.answered_at is None else request.answered_at - elapsed - 1.0
        arguments = {**self._search.arguments, **request.arguments}
        self.created = lookup.build_handle(self._resource, arguments, response, created_after=created_after)
        previous.write_note(self.created, number=number, sent=sent, sought=sought)
        return self.created

    def _build_next_name(self) -> str:
        name, limit = self._search.arguments[self._resource.named], find_name_limit(self._request, self._resource)
        return build_retry_name(name, self._search.next_number, limit)

    def _build_request(self) -> Request:
        changes: dict[str, Any] = {}
        if self._search.used_numbers:
            changes[self._resource.named] = self._build_next_name()
        if self._claim and self._resource.has_readable_tags:
            changes["tags"] = {**self._request.members.get("tags", {}), self._claim.key: self._claim.value}
        return self._request.replace(changes)

    def _select_search_arguments(self, request: Request) -> dict[str, Any]:
        """Select the arguments by which a retry finds the resource if its own arguments render to other values."""
        resource, arguments = self._resource, {**self._search.arguments, **request.arguments}
        names = (resource.named, *resource.narrow, *resource.same)
        return {name: arguments[name] for name in names if arguments.get(name) is not None}

    def _add_owner(self, error: AlreadyExistsError) -> AlreadyExistsError:
        """Add to the error which resource has the name, if it can be read."""
        # Without permission to list, the service's own message is all there is.
        try:
            entry = lookup.find_newest(lookup.list_matching(self._hook, self._resource, self._search.arguments))
        except CleanRoomsMLError:
            entry = None
        if entry is None:
            return error
        handle = lookup.build_handle(self._resource, self._search.arguments, entry)
        status = entry.get("status", "")
        created = f"{entry['createTime']:%Y-%m-%d %H:%M:%S %Z}{self._describe_owner(handle)}"
        title = lookup.describe(self._resource, handle.identifiers)
        fact = f"The existing resource: {title}, {f'{status}, ' if status else ''}created {created}."
        explained = error.extend(fact)
        if not status or status in USABLE:
            return explained
        return explained.replace_advice(
            f'Choose another name; if_exists="reuse" does not use a resource that is {status}.'
        )

    def _describe_owner(self, handle: Handle) -> str:
        try:
            run = read_owner(self._hook, self._resource, handle)
        except CleanRoomsMLError:
            run = ""
        return f" by the Airflow task {run}" if run else ""

    def _add_permission_advice(self, error: AccessDeniedError) -> AccessDeniedError:
        """Add advice to the error: a caller who does not set tags does not expect to need permission for them."""
        if not self._claim or not self._resource.has_readable_tags or "tags" in self._request.members:
            return error
        advice = (
            "If only the permission to tag is missing, set durable=False: the request then carries no tag, "
            "but a retry cannot find the resource."
        )
        return error.extend(to_do=advice)
