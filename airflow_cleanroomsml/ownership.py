"""
Whose a resource is: the run of a task that made it.

The API has no idempotency token, so what a try has made before it was killed must be found by the next one. Every create carries one tag
that says which run of which task it is of, and a fingerprint of what was asked for. Where tags cannot be read, of export jobs and of
associations, what identifies it has to do: parent, name, and that it is what is asked for.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import waiting
from airflow_cleanroomsml.exceptions import ResourceNotFoundError
from airflow_cleanroomsml.resources import USABLE, Resource

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook
    from airflow_cleanroomsml.service_model import Request

log = logging.getLogger(__name__)

#: The tag's key.
TAG = "airflow-cleanroomsml:task"
#: The key for a further version of a trained model: the tags are those of the ARN, which all its versions share.
VERSION_TAG = "airflow-cleanroomsml:version"
#: What AWS allows in tags everywhere (AWS tagging guide), and room for the fingerprint in 256 characters.
_TAG_VALUE = re.compile(r"[A-Za-z0-9 _.:/=+@-]{1,230}")
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
    """

    run: str
    fingerprint: str
    key: str = TAG

    @property
    def value(self) -> str:
        """The tag's value."""
        return f"{self.run} {self.fingerprint}"

    def is_of_run(self, value: str | None) -> bool:
        """Whether a tag's value names the same run."""
        return value is not None and value.rpartition(" ")[0] == self.run

    def is_same(self, value: str | None) -> bool:
        """Whether a tag's value names the same run and the same request."""
        return value == self.value


def claim(context: Context, request: Request) -> Claim | None:
    """The claim of the running task; None outside a run."""
    ti = context.get("ti")
    if ti is None:
        return None
    names = [str(getattr(ti, name)) for name in ("dag_id", "run_id", "task_id", "map_index")]
    run = "/".join(names)
    if not _TAG_VALUE.fullmatch(run):
        run = f"sha256:{hashlib.sha256(run.encode()).hexdigest()}"
    return Claim(run, fingerprint(request), VERSION_TAG if trained_further(request) else TAG)


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

    :param number: Which of its names it has, see :func:`suffixed`.
    :param same: Whether it is what is asked for now.
    :param status: Its status.
    :param known: What identifies it.
    """

    number: int
    same: bool
    status: str
    known: dict[str, Any]

    @property
    def usable(self) -> bool:
        """Whether it may be gone on with."""
        return self.same and self.status in USABLE


def own(
    hook: CleanRoomsMLHook, resource: Resource, mine: Claim, request: Request, asked: Mapping[str, Any]
) -> Iterator[Own]:
    """
    What a run has made, the newest first, each found by its name and told by its tag.

    :param request: What is asked for now.
    :param asked: What is known of the resource before it is made.
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
        found = _owned(hook, resource, mine, request, asked, entry, number)
        if found is not None:
            yield found


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
        yield from waiting.listed(hook, resource, asked, is_named)
        return
    of = {"trained_model_arn": model, "membership_identifier": asked["membership_identifier"]}
    for entry in hook.items(resource.versions or "", of):
        if is_named(entry["name"]) and entry.get("versionIdentifier") != waiting.BASE:
            yield entry


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

    :param entries: Versions of a name of this run's, the newest first, each with the number of its name.
    """
    for entry, number in entries:
        known = waiting.identified(resource, asked, entry)
        try:
            found, value = _described(hook, resource, known, mine.key)
        except ResourceNotFoundError:
            continue
        if not mine.is_of_run(value):
            return
        if mine.is_same(value) and not _is_asked_for(request, resource, entry, found):
            continue
        yield Own(number, mine.is_same(value), found.get("status", "ACTIVE"), known)
        return


def _owned(
    hook: CleanRoomsMLHook,
    resource: Resource,
    mine: Claim,
    request: Request,
    asked: Mapping[str, Any],
    entry: dict[str, Any],
    number: int,
) -> Own | None:
    """An entry of the listing as something of this run, or None."""
    known = waiting.identified(resource, asked, entry)
    if not resource.tells_tags:
        try:
            there = waiting.read_listed(hook, resource, known, entry)
        except ResourceNotFoundError:
            return None
        known["made_after"] = entry["createTime"].timestamp()
        return Own(number, _is_asked_for(request, resource, entry, there), entry.get("status", "ACTIVE"), known)
    if mine.key == TAG and known.get("version_identifier"):
        known["version_identifier"] = waiting.BASE
    try:
        found, value = _described(hook, resource, known, mine.key)
    except ResourceNotFoundError:
        return None
    if not mine.is_of_run(value):
        return None
    return Own(number, mine.is_same(value), found.get("status", "ACTIVE"), known)


def _is_asked_for(request: Request, resource: Resource, entry: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether it is what a request asks for, under whichever of its names."""
    from airflow_cleanroomsml.differences import differences

    return not differences(request.changed({resource.named: entry["name"]}), resource, there)


def _described(
    hook: CleanRoomsMLHook, resource: Resource, known: Mapping[str, Any], key: str
) -> tuple[Mapping[str, Any], str | None]:
    """The resource, and the value of its tag."""
    found = waiting.read_latest(hook, resource, known)
    value = (found.get("tags") or {}).get(key)
    return (waiting.read(hook, resource, known) or {}) if found.get("versionIdentifier") and value else found, value


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
        self._try = int(getattr(context.get("ti"), "try_number", 1))
        self._read: dict[str, Any] | None = None

    def recall(self) -> dict[str, Any] | None:
        """The note of the last try that asked for the same: ``try``, ``number``, ``sent`` and, once it is known, ``known``."""
        return self._notes().get(self._fingerprint)

    def is_of_last_try(self, note: Mapping[str, Any]) -> bool:
        """Whether there was no try since: one whose notes were not taken may have made something."""
        return bool(note["try"] == self._try - 1)

    def note(self, **values: Any) -> None:
        """Keep it in place of an earlier note."""
        notes = {**self._notes(), self._fingerprint: {**values, "try": self._try}}
        try:
            if self._store is not None:
                self._store.set(self.KEY, notes)
        except Exception:
            log.warning("Airflow's task state store took no note; a retry looks in the listing.", exc_info=True)
        self._read = notes

    def _notes(self) -> dict[str, Any]:
        if self._store is None:
            return {}
        if self._read is None:
            try:
                found: Any = self._store.get(self.KEY)
            except Exception:
                log.warning("Airflow's task state store cannot be read; the listing is looked at.", exc_info=True)
                self._store = None
                return {}
            self._read = found if isinstance(found, dict) else {}
        return self._read
