"""
Whose a resource is: the run of a task that made it.

The API has no idempotency token, so what a try has made before it was killed must be found by the next one. Every create carries one tag
that says which run of which task it is of, a fingerprint of what was asked for, and which tries made it: a retry goes on with what its own
sequence of tries has made, whatever the arguments render to by then. Where tags cannot be read, of export jobs and of associations, what
identifies it has to do: parent, name, and that it is what is asked for.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._idempotency.attempts import current_attempt
from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.table import USABLE, Resource
from airflow_cleanroomsml.exceptions import ResourceNotFoundError

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._requests.request import Request
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

log = logging.getLogger(__name__)

#: The tag's key.
TAG = "airflow-cleanroomsml:task"
#: The key for a further version of a trained model: the tags are those of the ARN, which all its versions share.
VERSION_TAG = "airflow-cleanroomsml:version"
#: What AWS allows in tags everywhere (AWS tagging guide), and room for the fingerprint and a sequence of eight digits in 256 characters.
_TAG_VALUE = re.compile(r"[A-Za-z0-9 _.:/=+@-]{1,230}")
#: Entries whose tags a retry reads when nothing has the name that is asked for; all of them would be too many in a busy account.
READS = 50
#: Seconds by which the service's clock may be behind ours; where the service has answered its own clock tells.
SKEW = 300.0
_SUFFIX = "-retry-"
#: What does not make it another request.
_NO_MATTER = ("tags", "description")


@dataclass(frozen=True)
class Claim:
    """
    What a run of a task claims as its own.

    :param run: Dag, run, task and map index; their hash where a tag cannot hold them.
    :param fingerprint: Sixteen hexadecimal digits of what was asked for.
    :param key: The tag's key.
    :param sequence: The sequence of tries, see :mod:`~airflow_cleanroomsml._idempotency.attempts`; None where it is unknown.
    """

    run: str
    fingerprint: str
    key: str = TAG
    sequence: int | None = None

    @property
    def value(self) -> str:
        """The tag's value; one that was written before there were sequences ends with the fingerprint."""
        # Hexadecimal, so that the largest integer of Airflow's database has eight digits.
        sequence = "" if self.sequence is None else f":{self.sequence:x}"
        return f"{self.run} {self.fingerprint}{sequence}"

    def is_of_run(self, value: str | None) -> bool:
        """Whether a tag's value names the same run."""
        return value is not None and value.rpartition(" ")[0] == self.run

    def is_same(self, value: str | None) -> bool:
        """Whether a tag's value names the same run and the same request."""
        return self.is_of_run(value) and _parsed(value)[0] == self.fingerprint

    def is_of_sequence(self, value: str | None) -> bool:
        """Whether a tag's value names the same run and the same sequence of tries."""
        return self.sequence is not None and self.is_of_run(value) and _parsed(value)[1] == f"{self.sequence:x}"


def _parsed(value: str | None) -> tuple[str, str]:
    """Fingerprint and sequence of a tag's value; the sequence is empty where there is none."""
    fingerprint, _, sequence = (value or "").rpartition(" ")[2].partition(":")
    return fingerprint, sequence


def claim(context: Context, request: Request) -> Claim | None:
    """The claim of the running task; None outside a run."""
    ti = context.get("ti")
    if ti is None:
        return None
    names = [str(getattr(ti, name)) for name in ("dag_id", "run_id", "task_id", "map_index")]
    run = "/".join(names)
    if not _TAG_VALUE.fullmatch(run):
        run = f"sha256:{hashlib.sha256(run.encode()).hexdigest()}"
    key = VERSION_TAG if trained_further(request) else TAG
    return Claim(run, fingerprint(request), key, current_attempt(context).sequence)


def trained_further(request: Request) -> str | None:
    """The ARN of the model of which the request makes another version."""
    channels = request.members.get("incrementalTrainingDataChannels")
    return channels[0]["trainedModelArn"] if channels else None


def fingerprint(request: Request) -> str:
    """A digest of what a request asks for; tags and description do not matter."""
    told = {name: value for name, value in request.members.items() if name not in _NO_MATTER}
    text = json.dumps(told, sort_keys=True, default=lambda value: value.isoformat())
    return hashlib.sha256(f"{request.method} {text}".encode()).hexdigest()[:16]


def suffixed(name: str, number: int, limit: int) -> str:
    """
    The name of what is made when others of the run keep the first ones.

    :param number: 1 for the name itself.
    :param limit: Characters that a name may have; one that would be longer is cut, and told from others by a digest.
    """
    if number == 1:
        return name
    suffix = f"{_SUFFIX}{number}"
    if len(name) + len(suffix) <= limit:
        return name + suffix
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: limit - len(suffix) - 9]}-{digest}{suffix}"


def number_of(candidate: str, name: str, limit: int) -> int | None:
    """Which of the names of :func:`suffixed` it is; None for another name."""
    if candidate == name:
        return 1
    found = re.search(rf"{_SUFFIX}([1-9]\d{{0,5}})\Z", candidate)
    number = int(found[1]) if found else 1
    return number if number > 1 and suffixed(name, number, limit) == candidate else None


@dataclass(frozen=True)
class Own:
    """
    Something that this run has made.

    :param number: Which of its names it has, see :func:`suffixed`; 0 for a name that is not asked for now.
    :param same: Whether it is what is asked for now.
    :param status: Its status.
    :param known: What identifies it.
    :param fingerprint: Of the request that made it; empty for the one that is asked for now.
    :param in_sequence: Whether the present sequence of tries has made it, or has gone on with it.
    :param there: Its description.
    """

    number: int
    same: bool
    status: str
    known: dict[str, Any]
    fingerprint: str = ""
    in_sequence: bool = False
    there: Mapping[str, Any] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether it may be gone on with."""
        return (self.same or self.in_sequence) and self.status in USABLE


def own(
    hook: CleanRoomsMLHook,
    resource: Resource,
    mine: Claim,
    request: Request,
    asked: Mapping[str, Any],
    foreign: set[str],
) -> Iterator[Own]:
    """
    What a run has made, the newest first, each found by its name and told by its tag.

    :param request: What is asked for now.
    :param asked: What is known of the resource before it is made.
    :param foreign: ARNs whose tags are known to be of another run, which are not read again; it grows.
    """
    name, limit = asked[resource.named], name_limit(request, resource)
    entries = [
        (entry, number)
        for entry in _candidates(
            hook, resource, request, asked, lambda found: number_of(found, name, limit) is not None
        )
        if (number := number_of(entry["name"], name, limit)) is not None
    ]
    entries.sort(key=lambda pair: pair[0]["createTime"], reverse=True)
    if mine.key == VERSION_TAG:
        yield from _own_version(hook, resource, mine, request, asked, entries)
        return
    for entry, number in entries:
        found = _owned(hook, resource, mine, request, asked, entry, number, foreign)
        if found is not None:
            yield found


def own_elsewhere(
    hook: CleanRoomsMLHook,
    resource: Resource,
    mine: Claim,
    request: Request,
    asked: Mapping[str, Any],
    foreign: set[str],
    since: float,
) -> Iterator[Own]:
    """
    What the present sequence of tries has made under whatever name and parent, the newest first.

    It costs a listing that is no further narrowed than it has to be, and a read of each of up to :data:`READS` entries.

    :param since: Older entries are not looked at, in seconds since 1970.
    """
    if not resource.tells_tags:
        return
    entries = sorted(
        (
            entry
            for entry in hook.items(resource.list, _required(resource, asked))
            if entry["createTime"].timestamp() >= since
            # A listing shows the status of a model's latest version, which may be somebody else's.
            and (resource.versions or entry.get("status", "ACTIVE") in USABLE)
        ),
        key=lambda entry: entry["createTime"],
        reverse=True,
    )
    if len(entries) > READS:
        log.warning(
            "An earlier try may have created any of %d entries; reading the tags of the newest %d.",
            len(entries),
            READS,
        )
    for entry in entries[:READS]:
        known = lookup.identified(resource, asked, entry)
        if known[resource.identifiers[0]] in foreign:
            continue
        try:
            tags = lookup.read_latest(hook, resource, known).get("tags") or {}
        except ResourceNotFoundError:
            continue
        if mine.is_of_sequence(tags.get(VERSION_TAG)):
            versions = [(version, 0) for version in _further_versions(hook, resource, known)]
            yield from _own_version(hook, resource, replace(mine, key=VERSION_TAG), request, asked, versions)
        elif mine.is_of_sequence(tags.get(TAG)):
            found = _owned(hook, resource, replace(mine, key=TAG), request, asked, entry, 0, foreign)
            if found is not None:
                yield found
        elif not resource.versions and not mine.is_of_run(tags.get(TAG)):
            foreign.add(known[resource.identifiers[0]])


def own_noted(
    hook: CleanRoomsMLHook,
    resource: Resource,
    mine: Claim,
    request: Request,
    asked: Mapping[str, Any],
    foreign: set[str],
    note: Mapping[str, Any],
) -> Iterator[Own]:
    """
    What an earlier try of the present sequence has noted to ask for; told by its tag, else by what was noted.

    :param note: See :meth:`Memory.recall`.
    """
    if not note.get("sought"):
        return
    asked = {**asked, **note["sought"]}
    if resource.tells_tags:
        for found in own(hook, resource, mine, request, asked, foreign):
            if found.in_sequence:
                yield replace(found, number=0)
        return
    entries = lookup.listed(hook, resource, asked)
    entry = lookup.newest(entry for entry in entries if entry["createTime"].timestamp() >= note["sent"] - SKEW)
    noted = _owned(hook, resource, mine, request, asked, entry, 0, foreign) if entry else None
    if noted is not None:
        yield replace(noted, in_sequence=True, fingerprint=note["fingerprint"])


def _required(resource: Resource, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments without which a resource cannot be listed."""
    from botocore import xform_name

    from airflow_cleanroomsml._requests.request import load, operation_model

    shape: Any = operation_model(load(resource.service), resource.list).input_shape
    required = set(map(xform_name, shape.required_members))
    return {name: value for name, value in lookup.narrowed(resource, asked).items() if name in required}


def name_limit(request: Request, resource: Resource) -> int:
    """Characters that a name may have: the model's maximum, and 50 where it gets an account before it (user guide, ml-behaviors)."""
    shape = request.shapes[resource.named]
    return 50 if "collaborationId" in request.members else int(shape.metadata.get("max", 63))


def _candidates(
    hook: CleanRoomsMLHook,
    resource: Resource,
    request: Request,
    asked: Mapping[str, Any],
    is_named: Callable[[str], bool],
) -> Iterator[dict[str, Any]]:
    model = trained_further(request)
    if not model:
        yield from lookup.listed(hook, resource, asked, is_named)
        return
    of = {"trained_model_arn": model, "membership_identifier": asked["membership_identifier"]}
    yield from (entry for entry in _further_versions(hook, resource, of) if is_named(entry["name"]))


def _further_versions(hook: CleanRoomsMLHook, resource: Resource, of: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The versions of a model but for the first, the newest first."""
    model = {name: of[name] for name in ("trained_model_arn", "membership_identifier")}
    versions = hook.items(resource.versions or "", model)
    further = [version for version in versions if version.get("versionIdentifier") != lookup.BASE]
    return sorted(further, key=lambda version: version["createTime"], reverse=True)


def _own_version(
    hook: CleanRoomsMLHook,
    resource: Resource,
    mine: Claim,
    request: Request,
    asked: Mapping[str, Any],
    entries: Iterable[tuple[dict[str, Any], int]],
) -> Iterator[Own]:
    """
    The version of which the tag tells: the newest that is what was asked for, as the tag is the ARN's and others may have made versions.

    What an earlier try of this sequence has asked for is not known; of that the newest version is taken.

    :param entries: Versions of a name of this run's, the newest first, each with the number of its name.
    """
    for entry, number in entries:
        known = lookup.identified(resource, asked, entry)
        try:
            found, value = _described(hook, resource, known, mine.key)
        except ResourceNotFoundError:
            continue
        if not mine.is_of_run(value):
            return
        if mine.is_same(value) and not _is_asked_for(request, resource, entry, found):
            continue
        yield _tagged(mine, value, number, known, found)
        return


def _tagged(mine: Claim, value: str | None, number: int, known: dict[str, Any], found: Mapping[str, Any]) -> Own:
    """Something of this run, by the value of its tag."""
    status, in_sequence = found.get("status", "ACTIVE"), mine.is_of_sequence(value)
    return Own(number, mine.is_same(value), status, known, _parsed(value)[0], in_sequence, found)


def _owned(
    hook: CleanRoomsMLHook,
    resource: Resource,
    mine: Claim,
    request: Request,
    asked: Mapping[str, Any],
    entry: dict[str, Any],
    number: int,
    foreign: set[str],
) -> Own | None:
    """An entry of the listing as something of this run, or None."""
    known = lookup.identified(resource, asked, entry)
    if not resource.tells_tags:
        try:
            there = lookup.read_listed(hook, resource, known, entry)
        except ResourceNotFoundError:
            return None
        known["made_after"] = entry["createTime"].timestamp()
        same = _is_asked_for(request, resource, entry, there)
        return Own(number, same, entry.get("status", "ACTIVE"), known, there=there)
    arn = known[resource.identifiers[0]]
    if arn in foreign:
        return None
    if mine.key == TAG and known.get("version_identifier"):
        known["version_identifier"] = lookup.BASE
    try:
        found, value = _described(hook, resource, known, mine.key)
    except ResourceNotFoundError:
        return None
    if not mine.is_of_run(value):
        # A version that commits late may change the tags of its ARN.
        if not resource.versions:
            foreign.add(arn)
        return None
    return _tagged(mine, value, number, known, found)


def _is_asked_for(request: Request, resource: Resource, entry: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether it is what a request asks for, under whichever of its names."""
    from airflow_cleanroomsml._resources.diff import differences

    return not differences(request.replace({resource.named: entry["name"]}), resource, there)


def _described(
    hook: CleanRoomsMLHook, resource: Resource, known: Mapping[str, Any], key: str
) -> tuple[Mapping[str, Any], str | None]:
    """The resource, and the value of its tag."""
    found = lookup.read_latest(hook, resource, known)
    value = (found.get("tags") or {}).get(key)
    return (lookup.read(hook, resource, known) or {}) if found.get("versionIdentifier") and value else found, value


def owner(hook: CleanRoomsMLHook, resource: Resource, known: Mapping[str, Any]) -> str:
    """The run whose tag something has, in words; empty where it has none."""
    if not resource.tells_tags:
        return ""
    _, value = _described(hook, resource, known, TAG)
    return (value or "").rpartition(" ")[0]


class Memory:
    """
    What earlier tries of this task have noted, where Airflow keeps a task's state (3.3 and later).

    A note is made before a request goes out and when its answer is there, so that a later try knows whether it has to look at all. A note
    that cannot be made or read is none: the listing tells the rest.
    """

    KEY = "made"

    def __init__(self, context: Context, mine: Claim | None) -> None:
        self._store: Any = context.get("task_state_store") if mine else None
        self._fingerprint = mine.fingerprint if mine else ""
        self._sequence = mine.sequence if mine else None
        self._try = int(getattr(context.get("ti"), "try_number", 1))
        self._read: dict[str, Any] | None = None

    def recall(self) -> dict[str, Any] | None:
        """
        The newest note of this sequence of tries, else that of the last try that asked for the same.

        It has ``fingerprint``, ``try``, ``number``, ``sent`` and, once it is known, ``known``; until then ``sought``, by which it is found.
        """
        notes = [{"fingerprint": fingerprint, **note} for fingerprint, note in self._notes().items()]
        in_sequence = [n for n in notes if self._sequence is not None and n.get("sequence") == self._sequence]
        same = [note for note in notes if note["fingerprint"] == self._fingerprint]
        return max(in_sequence or same, key=lambda note: note["try"], default=None)

    def is_of_last_try(self, note: Mapping[str, Any]) -> bool:
        """Whether there was no try since: one whose notes were not taken may have made something."""
        return bool(note["try"] == self._try - 1)

    def note(self, fingerprint: str = "", **values: Any) -> None:
        """
        Keep it in place of an earlier note.

        :param fingerprint: Of the request that it is about; empty for the present one.
        """
        note = {**values, "try": self._try, "sequence": self._sequence}
        notes = {**self._notes(), fingerprint or self._fingerprint: note}
        try:
            if self._store is not None:
                self._store.set(self.KEY, notes)
        except Exception:
            log.warning("Could not write to Airflow's task state store; a retry searches the listing.", exc_info=True)
        self._read = notes

    def _notes(self) -> dict[str, Any]:
        if self._store is None:
            return {}
        if self._read is None:
            try:
                found: Any = self._store.get(self.KEY)
            except Exception:
                log.warning("Could not read Airflow's task state store; searching the listing.", exc_info=True)
                self._store = None
                return {}
            self._read = found if isinstance(found, dict) else {}
        return self._read
