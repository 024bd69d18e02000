"""
Making something at most once, over an API that has no idempotency token.

What an earlier try may have made is looked for before anything is sent, and a request whose answer was lost is never sent again by the
same try: commits can lag, so it is looked for more than once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import clock, waiting
from airflow_cleanroomsml.exceptions import AccessDeniedError, ResourceNotFoundError, ServiceError, lines
from airflow_cleanroomsml.ownership import Claim, Memory, Own, name_limit, own, suffixed
from airflow_cleanroomsml.resources import USABLE, Resource

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook
    from airflow_cleanroomsml.service_model import Request

log = logging.getLogger(__name__)

#: Pauses before each look for what a request may have made whose answer was lost, in seconds.
COMMIT_LAG = (1.0, 5.0, 15.0)
#: Seconds after which a request that was noted as sent has been carried out, or never will be.
SETTLED = 300.0
#: Seconds by which the service's clock may be behind ours; where the service has answered its own clock tells.
SKEW = 300.0


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
    :param first: Whether there was no earlier try.
    :param looked: Whether this try has looked before, and has sent nothing since.
    """

    hook: CleanRoomsMLHook
    resource: Resource
    request: Request
    asked: Mapping[str, Any]
    mine: Claim | None
    memory: Memory
    first: bool
    looked: bool = False
    #: Numbers of the names that this run has used up, see :func:`~airflow_cleanroomsml.ownership.suffixed`.
    taken: set[int] = field(default_factory=set)
    #: What of this run is left as it is, by what identifies it.
    left: list[dict[str, Any]] = field(default_factory=list)
    #: Whether this try has sent a request that was not refused.
    begun: bool = False
    #: What this try has made.
    sent: dict[str, Any] | None = None
    #: What has no tags and is older is of somebody else, in seconds since 1970.
    since: float = 0.0

    @property
    def number(self) -> int:
        """Which of its names comes next."""
        return max(self.taken, default=0) + 1

    def earlier(self) -> dict[str, Any] | None:
        """What an earlier try has made and this one goes on with; with what it remembers, or as often as a commit may take to show."""
        if self.mine is None or self.first:
            return None
        note = self.memory.recall()
        settled = self.looked or (note is not None and self.memory.is_of_last_try(note))
        if note and note.get("known"):
            return self._remembered(note, settled=settled)
        if note and clock.now() - note["sent"] < SETTLED:
            settled = self.looked
        return self.looked_for(() if settled else COMMIT_LAG)

    def _remembered(self, note: Mapping[str, Any], *, settled: bool) -> dict[str, Any] | None:
        """
        What the note tells of.

        :param settled: Whether nothing can have been made since.
        """
        known = dict(note["known"])
        found = self._read(known)
        for pause in COMMIT_LAG if clock.now() - note["sent"] < SETTLED else ():
            if found:
                break
            # It was made: a read may lag.
            clock.sleep(pause)
            found = self._read(known)
        if found and found.get("status", "ACTIVE") in USABLE:
            log.info("An earlier try of this task has made it: %s.", waiting.titled(self.resource, known))
            return {**waiting.identified(self.resource, known, found), **known}
        if found:
            self.taken.update(range(1, note["number"] + 1))
        return self.looked_for(() if settled else COMMIT_LAG)

    def _read(self, known: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            return waiting.read(self.hook, self.resource, known, made_after=known["made_after"])
        except ResourceNotFoundError:
            return None

    def look(self) -> dict[str, Any] | None:
        """
        What this run has made of this request and can be gone on with, the newest; the names of all else are taken.

        :raises AccessDeniedError: It may not be looked for; the error tells how to go without.
        """
        if self.mine is None:
            return None
        for found in self._own(self.mine):
            if found.usable:
                log.info("An earlier try of this task has made it: %s.", waiting.titled(self.resource, found.known))
                return found.known
            if not self.leaves(found.known):
                self.taken.add(found.number)
                self.left.append(self._identifiers(found.known))
                self._tell_of(found)
        return None

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
            log.info("What is in the way cannot be looked at: %s", error)
            return None

    def _own(self, mine: Claim) -> Iterator[Own]:
        try:
            for found in own(self.hook, self.resource, mine, self.request, self.asked):
                if found.known.get("made_after", self.since) >= self.since:
                    yield found
        except AccessDeniedError as error:
            advice = (
                "A retry looks for what an earlier try has made and needs these permissions; durable=False goes without them, "
                "and may pay twice."
            )
            raise AccessDeniedError(
                lines(str(error), advice), operation=error.operation, code=error.code, details=error.details
            ) from None

    def _tell_of(self, found: Own) -> None:
        title = waiting.titled(self.resource, found.known)
        if found.same:
            log.warning(
                "It is %s and stays for inspection; another is made under a name of its own: %s.", found.status, title
            )
        elif found.status in USABLE:
            log.warning(
                "This run has made one by other arguments; it is %s, costs what it costs, and is left: %s.",
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
                clock.sleep(pause)
            found = self.look() or (also() if also else None)
            if found:
                return dict(found)
        return None

    def after_all(self) -> dict[str, Any] | None:
        """What this run has made and this try may not know of, for it was interrupted."""
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
        return self.request.changed(changed)

    def send(self, send: Callable[[Request], dict[str, Any]]) -> dict[str, Any]:
        """
        Send it, and note before and after that it was.

        :return: What identifies what was made, and since when it can have been made.
        """
        request, sent = self.next(), clock.now()
        self.since = sent - SKEW if self.first else 0.0
        self.memory.note(number=self.number, sent=sent)
        self.begun = True
        try:
            answer = send(request)
        except ServiceError:
            # It was refused: nobody need look for it.
            self.begun = False
            self.memory.note(number=self.number, sent=0.0)
            raise
        made_after = sent - SKEW if request.answered is None else request.answered - (clock.now() - sent) - 1.0
        known = waiting.identified(self.resource, {**self.asked, **request.arguments}, answer)
        self.memory.note(number=self.number, sent=sent, known={**self._identifiers(known), "made_after": made_after})
        self.sent = {**known, "made_after": made_after}
        return self.sent
