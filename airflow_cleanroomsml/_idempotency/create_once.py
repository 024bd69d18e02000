"""
Making something at most once, over an API that has no idempotency token.

What an earlier try may have made is looked for before anything is sent, and a request whose answer was lost is never sent again by the
same try: commits can lag, so it is looked for more than once. A retry goes on with what its sequence of tries has made, though the
arguments render to something else by now: nobody has asked for another one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._idempotency.attempts import Attempt
from airflow_cleanroomsml._idempotency.owned import (
    SKEW,
    Claim,
    Memory,
    Own,
    name_limit,
    number_of,
    own,
    own_elsewhere,
    own_noted,
    suffixed,
)
from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.table import USABLE, Resource
from airflow_cleanroomsml.exceptions import (
    AccessDeniedError,
    CleanRoomsMLError,
    ResourceNotFoundError,
    ServiceError,
    lines,
)

if TYPE_CHECKING:
    from airflow_cleanroomsml._requests.request import Request
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

log = logging.getLogger(__name__)

#: Pauses before each look for what a request may have made whose answer was lost, in seconds.
COMMIT_LAG = (1.0, 5.0, 15.0)
#: Seconds after which a request that was noted as sent has been carried out, or never will be.
SETTLED = 300.0


@dataclass
class Making:
    """
    What one try knows of what it makes.

    :param hook: Hook of the service.
    :param resource: Row of the resource table.
    :param request: What is asked for, without a tag of ours.
    :param asked: What is known of the resource before it is made.
    :param mine: Whose it will be; None where nobody asks for that.
    :param memory: What earlier tries have noted.
    :param attempt: The try.
    :param looked: Whether this try has looked before, and has sent nothing since.
    :param run_start: When the Dag run started, in seconds since 1970.
    """

    hook: CleanRoomsMLHook
    resource: Resource
    request: Request
    asked: Mapping[str, Any]
    mine: Claim | None
    memory: Memory
    attempt: Attempt
    looked: bool = False
    run_start: float = 0.0
    #: Numbers of the names that this run has used up, see :func:`~airflow_cleanroomsml._idempotency.owned.suffixed`.
    taken: set[int] = field(default_factory=set)
    #: What of this run is left as it is, by what identifies it.
    left: list[dict[str, Any]] = field(default_factory=list)
    #: Whether this try has sent a request that was not refused.
    begun: bool = False
    #: What this try has made.
    sent: dict[str, Any] | None = None
    #: What has no tags and is older is of somebody else, in seconds since 1970.
    since: float = 0.0
    #: What an earlier try has made and this one goes on with.
    reused: Own | None = None
    #: What an earlier try of this sequence has noted of a request whose outcome is unknown, see :meth:`Memory.recall`.
    unsettled: Mapping[str, Any] = field(default_factory=dict)
    #: Whether an earlier try of this sequence may have made something under another name, or with another parent.
    elsewhere: bool = False
    #: ARNs that are known to be of others.
    foreign: set[str] = field(default_factory=set)
    #: Whether the task is being ended: nothing is noted any more.
    ending: bool = False

    def __post_init__(self) -> None:
        self.elsewhere = self.attempt.may_be_retry

    @property
    def first(self) -> bool:
        """Whether there was no earlier try."""
        return self.attempt.number <= 1

    @property
    def number(self) -> int:
        """Which of its names comes next."""
        return max(self.taken, default=0) + 1

    def earlier(self) -> dict[str, Any] | None:
        """What an earlier try has made and this one goes on with; with what it remembers, or as often as a commit may take to show."""
        if self.mine is None or self.first:
            return None
        note = self.memory.recall()
        of_last_try = note is not None and self.memory.is_of_last_try(note)
        settled = self.looked or of_last_try
        if self.looked or (note and of_last_try and (note.get("known") or not note["sent"])):
            # It was looked for, and all that was made since is noted.
            self.elsewhere = False
        if note and note.get("known"):
            return self._remembered(note, settled=settled)
        if note:
            self.unsettled = note
            if _clock.now() - note["sent"] < SETTLED:
                settled = self.looked
        found = self.looked_for(() if settled else COMMIT_LAG)
        if found is None and not settled:
            self._warn_of_similar()
        return found

    def _remembered(self, note: Mapping[str, Any], *, settled: bool) -> dict[str, Any] | None:
        """
        What the note tells of.

        :param settled: Whether nothing can have been made since.
        """
        known, mine = dict(note["known"]), self.mine
        found = self._read(known)
        for pause in COMMIT_LAG if _clock.now() - note["sent"] < SETTLED else ():
            if found:
                break
            # It was made: a read may lag.
            _clock.sleep(pause)
            found = self._read(known)
        if found and mine:
            status = found.get("status", "ACTIVE")
            identified = {**lookup.identified(self.resource, known, found), **known}
            same = note["fingerprint"] == mine.fingerprint
            in_sequence = mine.sequence is not None and note.get("sequence") == mine.sequence
            remembered = Own(note["number"], same, status, identified, note["fingerprint"], in_sequence, found)
            if remembered.usable:
                return self._go_on_with(remembered, sent=note["sent"])
            if self._number(note.get("sought", {}).get(self.resource.named)) != 0:
                self.taken.update(range(1, note["number"] + 1))
        return self.looked_for(() if settled else COMMIT_LAG)

    def _read(self, known: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            return lookup.read(self.hook, self.resource, known, made_after=known["made_after"])
        except ResourceNotFoundError:
            return None

    def _number(self, name: str | None) -> int | None:
        """Which of the names of this request it is, 0 for another one; None where it is unknown."""
        if name is None:
            return None
        return number_of(name, self.asked[self.resource.named], name_limit(self.request, self.resource)) or 0

    def look(self) -> dict[str, Any] | None:
        """
        What this run has made and this try can go on with; the names of all else are taken.

        First what its sequence of tries has made, whatever is asked for now; else what any try has made of this request; the newest.

        :raises AccessDeniedError: It may not be looked for; the error tells how to go without.
        """
        if self.mine is None:
            return None
        found = self._first_usable(self._own(self.mine))
        if found is None and self.elsewhere:
            found = self._first_usable(self._own_elsewhere(self.mine))
        return self._go_on_with(found) if found else None

    def _first_usable(self, candidates: Iterator[Own]) -> Own | None:
        same: Own | None = None
        for found in candidates:
            if found.usable:
                # An older one may be what this sequence of tries has gone on with.
                if found.in_sequence or not self.attempt.may_be_retry:
                    return found
                same = same or found
            elif same is None and not self.leaves(found.known):
                if found.number:
                    self.taken.add(found.number)
                self.left.append(self._identifiers(found.known))
                self._tell_of(found)
        return same

    def _go_on_with(self, found: Own, sent: float = 0.0) -> dict[str, Any]:
        """
        Go on with what an earlier try has made.

        :param sent: When its request was sent, if that is known.
        """
        title = lookup.titled(self.resource, found.known)
        log.info("An earlier try of this task created it: %s.", title)
        self.reused = found
        if not found.same:
            log.warning(
                "This retry reuses the %s, although arguments now render to other values (%s). Templates such as ti.try_number and "
                "macros.datetime.now() do so on every try. To create another one, clear the task once it has ended.",
                title,
                ", ".join(self._differing(found)) or "none that the service returns",
            )
        if not self.ending:
            self._tag(found)
            known = {**self._identifiers(found.known), "made_after": found.known.get("made_after", 0.0)}
            sought = {self.resource.named: found.there.get("name")}
            self.memory.note(found.fingerprint, number=found.number, sent=sent, sought=sought, known=known)
        return found.known

    def _differing(self, found: Own) -> list[str]:
        """The arguments that are not those of what is there; of its names each will do."""
        from airflow_cleanroomsml._resources.diff import differing_arguments

        names = differing_arguments(self.request, self.resource, found.there)
        return [name for name in names if name != self.resource.named or not self._number(found.there.get("name"))]

    def _tag(self, found: Own) -> None:
        """Let the tag say that this sequence of tries goes on with it, so that its retries do, too."""
        mine = self.mine
        if mine is None or mine.sequence is None or found.in_sequence or not self.resource.tells_tags:
            return
        arn = found.known[self.resource.identifiers[0]]
        try:
            self.hook.call("tag_resource", {"resource_arn": arn, "tags": {mine.key: mine.value}})
        except CleanRoomsMLError as error:
            log.warning(
                "Could not update its tag; a retry whose arguments render differently may create another one. %s", error
            )

    def leaves(self, known: Mapping[str, Any]) -> bool:
        """Whether something is of this run, and cannot be gone on with."""
        return self._identifiers(known) in self.left

    def _identifiers(self, known: Mapping[str, Any]) -> dict[str, Any]:
        return {name: known[name] for name in self.resource.identifiers if known.get(name) is not None}

    def look_after_conflict(self) -> dict[str, Any] | None:
        """The same where a name is in use; what has no tags is not of this run where this is its first try."""
        if self.first and not self.resource.tells_tags:
            return None
        try:
            return self.look()
        except AccessDeniedError as error:
            log.info("Could not read the existing resource: %s", error)
            return None

    def _own(self, mine: Claim) -> Iterator[Own]:
        with self._advised():
            for found in own(self.hook, self.resource, mine, self.request, self.asked, self.foreign):
                if found.known.get("made_after", self.since) >= self.since:
                    yield found

    def _own_elsewhere(self, mine: Claim) -> Iterator[Own]:
        with self._advised():
            search = (self.hook, self.resource, mine, self.request, self.asked, self.foreign)
            yield from own_noted(*search, self.unsettled)
            yield from own_elsewhere(*search, self.run_start - SKEW)

    @contextmanager
    def _advised(self) -> Iterator[None]:
        """Errors of missing permissions, with how to go without them."""
        try:
            yield
        except AccessDeniedError as error:
            advice = (
                "A retry looks for what an earlier try created and needs these permissions; durable=False does not need them, "
                "but may pay twice."
            )
            raise AccessDeniedError(
                lines(str(error), advice), operation=error.operation, code=error.code, details=error.details
            ) from None

    def _warn_of_similar(self) -> None:
        """Say what may be of an earlier try of this sequence, where nothing can tell: exports and associations have no tags to read."""
        if self.resource.tells_tags or not self.elsewhere:
            return
        names = [
            entry["name"]
            for entry in self.hook.of(self.resource.service).items(
                self.resource.list, lookup.narrowed(self.resource, self.asked)
            )
            if entry["createTime"].timestamp() >= self.run_start - SKEW
        ]
        if names:
            log.warning(
                "Creating another %s. An earlier try may have created one of these with other arguments, which cannot be checked, as they "
                "have no tags: %s.",
                self.resource.noun,
                ", ".join(map(repr, names[:10])),
            )

    def _tell_of(self, found: Own) -> None:
        title = lookup.titled(self.resource, found.known)
        if found.same or found.in_sequence:
            log.warning(
                "It is %s and is kept for inspection; creating another one under its own name: %s.", found.status, title
            )
        elif found.status in USABLE:
            log.warning(
                "This run created one with other arguments; it is %s, still incurs charges, and is left alone: %s.",
                found.status,
                title,
            )

    def looked_for(self, pauses: tuple[float, ...], also: Callable[[], Any] | None = None) -> dict[str, Any] | None:
        """
        The same, looked for again after each pause.

        :param pauses: Seconds.
        :param also: Another way to look.
        """
        for pause in (0.0, *pauses):
            if pause:
                _clock.sleep(pause)
            found = self.look() or (also() if also else None)
            if found:
                return dict(found)
        return None

    def after_all(self) -> dict[str, Any] | None:
        """What this run has made and this try may not know of, for it was interrupted."""
        self.ending = True
        if self.sent or self.mine is None:
            return self.sent
        return self.looked_for(COMMIT_LAG) if self.begun or not self.first else None

    def next(self) -> Request:
        """The request that is sent: under the next free name, with the tag."""
        changed: dict[str, Any] = {}
        if self.number > 1:
            name = suffixed(self.asked[self.resource.named], self.number, name_limit(self.request, self.resource))
            changed[self.resource.named] = name
        if self.mine and self.resource.tells_tags:
            changed["tags"] = {**self.request.members.get("tags", {}), self.mine.key: self.mine.value}
        return self.request.replace(changed)

    def send(self, send: Callable[[Request], dict[str, Any]]) -> dict[str, Any]:
        """
        Send it, and note before and after that it was.

        :return: What identifies what was made, and since when it can have been made.
        """
        request, sent = self.next(), _clock.now()
        self.since = sent - SKEW if self.first else 0.0
        sought = self._sought(request)
        self.memory.note(number=self.number, sent=sent, sought=sought)
        self.begun, self.elsewhere = True, False
        try:
            answer = send(request)
        except ServiceError:
            # It was refused: nobody need look for it.
            self.begun = False
            self.memory.note(number=self.number, sent=0.0)
            raise
        made_after = sent - SKEW if request.answered_at is None else request.answered_at - (_clock.now() - sent) - 1.0
        known = lookup.identified(self.resource, {**self.asked, **request.arguments}, answer)
        noted = {**self._identifiers(known), "made_after": made_after}
        self.memory.note(number=self.number, sent=sent, sought=sought, known=noted)
        self.sent = {**known, "made_after": made_after}
        return self.sent

    def _sought(self, request: Request) -> dict[str, Any]:
        """By what a retry finds what a request makes, where it cannot know from its own arguments."""
        of, asked = self.resource, {**self.asked, **request.arguments}
        return {name: asked[name] for name in (of.named, *of.narrow, *of.same) if asked.get(name) is not None}
