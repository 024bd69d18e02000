"""What is done to which task: the kills, and the answers that are lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

UNSENT = "before the create is sent"
IN_FLIGHT = "while the create is under way"
UNREAD = "before its answer is read"
UNNOTED = "before the answer is noted"
NOTED = "after the answer is noted"
SOUGHT = "while it is looked for"
WAITING = "while it is waited for"
RETURNING = "before the task returns"
DEFERRING = "before the task is deferred"
TRIGGERED = "while the trigger waits"
RESUMED = "before the resumed task returns"

#: The kinds of processes that a task lives in.
TASK, TRIGGER, RESUMPTION = "task", "trigger", "resumption"
#: Where a step is taken; all others are steps of the task itself.
PROCESS = {TRIGGERED: TRIGGER, RESUMED: RESUMPTION}

#: At once, and as Airflow does it first.
KILL, TERM = "SIGKILL", "SIGTERM"

LOST, LATE, REFUSED = "answer lost", "answer lost, commit late", "answer lost, listing refused"
RESET, STALE = "request lost", "listing stale"
#: What the emulator is told to do: to which operation of the resource, which fault, and its arguments. What is late and stale is less so
#: than a task looks for it.
FAULTS: dict[str, tuple[tuple[str, str, dict[str, Any]], ...]] = {
    LOST: (("create", "lose_response", {}),),
    LATE: (("create", "late_commit", {"seconds": 0.3}),),
    REFUSED: (("create", "lose_response", {}), ("list", "access_denied", {})),
    RESET: (("create", "reset", {}),),
    STALE: (("list", "stale_listing", {"seconds": 0.4, "times": 0, "lasts": 2.0}),),
}
#: Those that lose an answer.
UNANSWERED = (LOST, LATE, REFUSED)
#: Those after which a try ends with an error, and is followed by another.
UNSETTLED = (REFUSED, RESET)


#: Operators that share the cases that all of them have in common.
SHARE = 5


@dataclass(frozen=True)
class Kill:
    """
    How a process of a task ends.

    :param step: When.
    :param how: ``SIGKILL``, or ``SIGTERM``.
    """

    step: str
    how: str = KILL

    @property
    def process(self) -> str:
        """The kind of process that it meets."""
        return PROCESS.get(self.step, TASK)


@dataclass(frozen=True)
class Case:
    """
    A task, and what happens to it.

    :param name: Its name, and that of what it makes.
    :param deferrable: Whether it waits in the triggerer.
    :param remembers: Whether Airflow keeps its state (3.3 and later).
    :param kills: What its processes meet, one after the other.
    :param fault: What happens to its requests; empty for nothing.
    """

    name: str
    deferrable: bool
    remembers: bool
    kills: tuple[Kill, ...] = ()
    fault: str = ""

    @property
    def is_searched_for(self) -> bool:
        """Whether something was made of which no answer and no note tells."""
        return not self.remembers and (self.fault == LOST or (self.kills == (Kill(UNREAD),) and not self.fault))

    @classmethod
    def load(cls, plain: dict[str, Any]) -> Case:
        """The inverse of ``dataclasses.asdict``, after JSON."""
        return cls(**{**plain, "kills": tuple(Kill(**kill) for kill in plain["kills"])})


def cases_of(*, waits: bool, unique: bool) -> list[Case]:
    """
    What is done to the tasks of an operator.

    :param waits: Whether what it makes takes time.
    :param unique: Whether the service refuses a name that is in use.
    """
    killed = _killed(waits=waits) if unique else _killed_often(waits=waits)
    planned = [*killed, *_unanswered(waits=waits)]
    return [
        Case(f"case-{number}", deferrable, remembers, kills, fault)
        for number, (deferrable, remembers, kills, fault) in enumerate(planned)
    ]


def select(cases: list[Case], turn: int) -> list[Case]:
    """
    Some of an operator's cases: those in which only a search tells what was made, and of the others each fifth.

    :param turn: Where to begin; five operators in a row share all cases.
    """
    return [case for number, case in enumerate(cases) if case.is_searched_for or (number + turn) % SHARE == 0]


Plan = tuple[bool, bool, tuple[Kill, ...], str]


def _killed(*, waits: bool) -> Iterator[Plan]:
    """Once, at each step; what Airflow remembers alternates."""
    waiting = (WAITING,) if waits else ()
    for number, step in enumerate((UNSENT, IN_FLIGHT, UNREAD, *waiting, RETURNING)):
        yield False, number % 2 == 1, (Kill(step),), ""
    for step in (UNNOTED, NOTED):
        yield False, True, (Kill(step),), ""
    for number, step in enumerate((UNREAD, RETURNING, *waiting)):
        yield False, number % 2 == 1, (Kill(step, TERM),), ""
    if waits:
        for number, step in enumerate((DEFERRING, TRIGGERED, RESUMED)):
            yield True, number % 2 == 1, (Kill(step),), ""
        yield True, True, (Kill(TRIGGERED, TERM),), ""


def _killed_often(*, waits: bool) -> Iterator[Plan]:
    """One process after the other."""
    waiting = (WAITING, WAITING) if waits else ()
    yield False, waits, tuple(map(Kill, (UNSENT, UNREAD, *waiting, RETURNING, RETURNING))), ""
    if waits:
        yield True, False, tuple(map(Kill, (IN_FLIGHT, DEFERRING, TRIGGERED, TRIGGERED, RESUMED))), ""


def _unanswered(*, waits: bool) -> Iterator[Plan]:
    """Answers that are lost, and what may happen then."""
    yield False, True, (), LOST
    yield False, False, (Kill(SOUGHT), Kill(SOUGHT)), LOST
    yield waits, True, (), LATE
    yield False, False, (Kill(SOUGHT),), LATE
    yield waits, False, (), REFUSED
    yield False, False, (), RESET
    yield False, False, (Kill(UNREAD),), STALE
