"""
Search for what a run of a task has created.

A tag identifies it, because anybody may create a resource of the same name. Exports have no tags, and those of associations cannot be
read: both kinds are recognised by parent and name, and must equal the request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._idempotency.claim import (
    TAG,
    VERSION_TAG,
    Claim,
    find_extended_model,
    find_name_limit,
    parse_retry_number,
    parse_tag,
)
from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.handle import Handle
from airflow_cleanroomsml._resources.table import USABLE, Resource
from airflow_cleanroomsml.exceptions import ResourceNotFoundError

if TYPE_CHECKING:
    from airflow_cleanroomsml._requests.request import Request
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

log = logging.getLogger(__name__)

#: Maximum number of entries whose tags a retry reads if none has the requested name; a busy account has too many to read them all.
MAX_READS = 50
#: Seconds by which the service's clock may be behind ours, where no response has its time.
SKEW = 300.0


@dataclass(frozen=True)
class Owned:
    """
    A resource that this run has created.

    :param number: Number of its name, see :func:`~airflow_cleanroomsml._idempotency.claim.build_retry_name`; 0 for a name that the current
        request does not have.
    :param same: Whether it equals the current request.
    :param status: Its status.
    :param handle: The resource.
    :param fingerprint: Fingerprint of the request that created it; empty for the current one.
    :param in_sequence: Whether the current sequence of tries created or reused it.
    :param description: How the service describes it.
    """

    number: int
    same: bool
    status: str
    handle: Handle
    fingerprint: str = ""
    in_sequence: bool = False
    description: Mapping[str, Any] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether this try may reuse it."""
        return (self.same or self.in_sequence) and self.status in USABLE


@dataclass(frozen=True)
class OwnedSearch:
    """
    A search for resources of one run.

    :param claim: Distinguishes them from others.
    :param request: The current request.
    :param arguments: Its arguments, and whatever else names the resource before it exists.
    :param foreign: ARNs whose tags name another run; they are not read again.
    """

    hook: CleanRoomsMLHook
    resource: Resource
    claim: Claim
    request: Request
    arguments: Mapping[str, Any]
    foreign: set[str] = field(default_factory=set)

    def find_by_name(self) -> Iterator[Owned]:
        """Find what the run has created under one of its names, the newest first."""
        name, limit = self.arguments[self.resource.named], find_name_limit(self.request, self.resource)
        candidates = self._list_candidates(lambda candidate: parse_retry_number(candidate, name, limit) is not None)
        entries = [(entry, parse_retry_number(entry["name"], name, limit) or 0) for entry in candidates]
        entries.sort(key=lambda pair: pair[0]["createTime"], reverse=True)
        # All versions of a model share one tag, so it has to be matched with one of them.
        if self.claim.key == VERSION_TAG:
            yield from self.find_version(entries)
            return
        for entry, number in entries:
            owned = self.check_entry(entry, number)
            if owned is not None:
                yield owned

    def find_elsewhere(self, since: float) -> Iterator[Owned]:
        """
        Find what the current sequence of tries has created under any name and parent, the newest first.

        It costs one listing with no optional filter, and reads of up to :data:`MAX_READS` entries.

        :param since: Skip older entries, in seconds since 1970.
        """
        if not self.resource.has_readable_tags:
            return
        for entry in self._list_recent(since):
            handle = lookup.build_handle(self.resource, self.arguments, entry)
            arn = handle.identifiers[self.resource.identifiers[0]]
            if arn in self.foreign:
                continue
            try:
                tags = lookup.read_latest(self.hook, self.resource, handle.identifiers).get("tags") or {}
            except ResourceNotFoundError:
                continue
            if self.claim.is_of_sequence(tags.get(VERSION_TAG)):
                versions = [(version, 0) for version in self._list_further_versions(handle.identifiers)]
                yield from self._replace_key(VERSION_TAG).find_version(versions)
            elif self.claim.is_of_sequence(tags.get(TAG)):
                owned = self._replace_key(TAG).check_entry(entry, 0)
                if owned is not None:
                    yield owned
            elif not self.resource.versions and not self.claim.is_of_run(tags.get(TAG)):
                self.foreign.add(arn)

    def find_by_note(self, note: Mapping[str, Any]) -> Iterator[Owned]:
        """
        Find what an earlier try of the current sequence requested, according to its note.

        :param note: See :meth:`~airflow_cleanroomsml._idempotency.attempts.AttemptLog.recall`.
        """
        if not note.get("sought"):
            return
        # With the earlier try's name and parent, to which the current arguments may no longer render.
        search = replace(self, arguments={**self.arguments, **note["sought"]})
        if self.resource.has_readable_tags:
            yield from (replace(owned, number=0) for owned in search.find_by_name() if owned.in_sequence)
            return
        entries = lookup.list_matching(self.hook, self.resource, search.arguments)
        entry = lookup.find_newest(entry for entry in entries if entry["createTime"].timestamp() >= note["sent"] - SKEW)
        owned = search.check_entry(entry, 0) if entry else None
        if owned is not None:
            yield replace(owned, in_sequence=True, fingerprint=note["fingerprint"])

    def _replace_key(self, key: str) -> OwnedSearch:
        return replace(self, claim=replace(self.claim, key=key))

    def _list_recent(self, since: float) -> list[dict[str, Any]]:
        entries = [
            entry
            for entry in self.hook.items(self.resource.list, self._build_required_listing_arguments())
            if entry["createTime"].timestamp() >= since
            # A listing shows the status of a model's latest version, which may not be ours.
            and (self.resource.versions or entry.get("status", "ACTIVE") in USABLE)
        ]
        entries.sort(key=lambda entry: entry["createTime"], reverse=True)
        if len(entries) > MAX_READS:
            log.warning(
                '%d resources of the type "%s" are as recent as this run. Only the tags of the newest %d are read, so one that an earlier '
                "try created may be missed and created again.",
                len(entries),
                self.resource.noun,
                MAX_READS,
            )
        return entries[:MAX_READS]

    def _build_required_listing_arguments(self) -> dict[str, Any]:
        from botocore import xform_name

        from airflow_cleanroomsml._requests.request import find_operation, load

        shape: Any = find_operation(load(self.resource.service), self.resource.list).input_shape
        required = set(map(xform_name, shape.required_members))
        arguments = lookup.build_listing_arguments(self.resource, self.arguments)
        return {name: value for name, value in arguments.items() if name in required}

    def _list_candidates(self, has_name: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
        model = find_extended_model(self.request)
        if not model:
            yield from lookup.list_matching(self.hook, self.resource, self.arguments, has_name)
            return
        parent = {"trained_model_arn": model, "membership_identifier": self.arguments["membership_identifier"]}
        yield from (entry for entry in self._list_further_versions(parent) if has_name(entry["name"]))

    def _list_further_versions(self, identifiers: Mapping[str, Any]) -> list[dict[str, Any]]:
        """List the versions of a model except the first, the newest first."""
        model = {name: identifiers[name] for name in ("trained_model_arn", "membership_identifier")}
        versions = self.hook.items(self.resource.versions or "", model)
        further = [version for version in versions if version.get("versionIdentifier") != lookup.BASE]
        return sorted(further, key=lambda version: version["createTime"], reverse=True)

    def find_version(self, entries: Iterable[tuple[dict[str, Any], int]]) -> Iterator[Owned]:
        """
        Find the version that the tag is about: the newest one that equals the request, because versions of other runs share the tag.

        If the tag is about an earlier request of this sequence, which is not known here, it is the newest version.

        :param entries: Versions, the newest first, each with the number of its name.
        """
        for entry, number in entries:
            handle = lookup.build_handle(self.resource, self.arguments, entry)
            try:
                description, tag = read_with_tag(self.hook, self.resource, handle, self.claim.key)
            except ResourceNotFoundError:
                continue
            if not self.claim.is_of_run(tag):
                return
            if self.claim.is_same(tag) and not self._equals_request(entry, description):
                continue
            yield self._build_owned(tag, number, handle, description)
            return

    def check_entry(self, entry: dict[str, Any], number: int) -> Owned | None:
        """Read an entry of a listing; None if it does not belong to this run, or no longer exists."""
        handle = lookup.build_handle(self.resource, self.arguments, entry)
        if not self.resource.has_readable_tags:
            return self._check_untagged(entry, number, handle)
        arn = handle.identifiers[self.resource.identifiers[0]]
        if arn in self.foreign:
            return None
        # This tag is about the first version, while the entry shows the latest one.
        if self.claim.key == TAG and handle.identifiers.get("version_identifier"):
            handle = handle.with_identifier("version_identifier", lookup.BASE)
        try:
            description, tag = read_with_tag(self.hook, self.resource, handle, self.claim.key)
        except ResourceNotFoundError:
            return None
        if not self.claim.is_of_run(tag):
            # A version whose creation is still being committed may yet change the tags of its ARN.
            if not self.resource.versions:
                self.foreign.add(arn)
            return None
        return self._build_owned(tag, number, handle, description)

    def _check_untagged(self, entry: dict[str, Any], number: int, handle: Handle) -> Owned | None:
        try:
            description = lookup.read_entry(self.hook, self.resource, handle.identifiers, entry)
        except ResourceNotFoundError:
            return None
        # Namesakes that are older than this one must not be taken for it in later reads.
        handle = handle._replace(created_after=entry["createTime"].timestamp())
        same = self._equals_request(entry, description)
        return Owned(number, same, entry.get("status", "ACTIVE"), handle, description=description)

    def _build_owned(self, tag: str | None, number: int, handle: Handle, description: Mapping[str, Any]) -> Owned:
        status, in_sequence = description.get("status", "ACTIVE"), self.claim.is_of_sequence(tag)
        return Owned(number, self.claim.is_same(tag), status, handle, parse_tag(tag)[0], in_sequence, description)

    def _equals_request(self, entry: Mapping[str, Any], description: Mapping[str, Any]) -> bool:
        """Whether a resource equals the request, under whichever of its names."""
        from airflow_cleanroomsml._resources.diff import find_differences

        return not find_differences(
            self.request.replace({self.resource.named: entry["name"]}), self.resource, description
        )


def read_with_tag(
    hook: CleanRoomsMLHook, resource: Resource, handle: Handle, key: str = TAG
) -> tuple[Mapping[str, Any], str | None]:
    """
    Read a resource, and the value of one of its tags.

    :raises ResourceNotFoundError: It does not exist.
    """
    # All versions share the tags of their ARN, and a Get returns them; an entry of the listing of versions has none (service model).
    latest = lookup.read_latest(hook, resource, handle.identifiers)
    tag = (latest.get("tags") or {}).get(key)
    if latest.get("versionIdentifier") and tag:
        return lookup.read(hook, resource, handle.identifiers) or {}, tag
    return latest, tag


def read_owner(hook: CleanRoomsMLHook, resource: Resource, handle: Handle) -> str:
    """Read which run a resource's tag names; empty if it has none."""
    if not resource.has_readable_tags:
        return ""
    return (read_with_tag(hook, resource, handle)[1] or "").rpartition(" ")[0]
