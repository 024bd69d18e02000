"""The cases of the survival tests: at which steps a task is killed, and which faults its requests meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

BEFORE_SEND = "before the create request is sent"
IN_FLIGHT = "while the create request is in flight"
BEFORE_READ = "before the response is read"
BEFORE_STORE = "before the response is stored"
AFTER_STORE = "after the response is stored"
IN_SEARCH = "while the task searches for its resource"
IN_WAIT = "while the task waits"
BEFORE_RETURN = "before the task returns"
BEFORE_DEFERRAL = "before the task is deferred"
IN_TRIGGER = "while the trigger waits"
BEFORE_RESUMED_RETURN = "before the resumed task returns"

#: The kinds of processes in which a task runs.
TASK, TRIGGER, RESUMPTION = "task", "trigger", "resumption"
#: The process of each step that is not a step of the task's first process.
PROCESS = {IN_TRIGGER: TRIGGER, BEFORE_RESUMED_RETURN: RESUMPTION}

#: How a process ends: immediately, or with the signal that Airflow sends first.
KILL, TERM = "SIGKILL", "SIGTERM"

LOST, LATE, DENIED = "response lost", "response lost, commit late", "response lost, listing denied"
RESET, STALE = "request lost", "listing stale"
#: The faults of the emulator: the operation of the resource, the kind of fault, and its options. Commits and listings lag by less than a
#: task spends on searching.
FAULTS: dict[str, tuple[tuple[str, str, dict[str, Any]], ...]] = {
    LOST: (("create", "lose_response", {}),),
    LATE: (("create", "late_commit", {"seconds": 0.3}),),
    DENIED: (("create", "lose_response", {}), ("list", "access_denied", {})),
    RESET: (("create", "reset", {}),),
    STALE: (("list", "stale_listing", {"seconds": 0.4, "times": 0, "lasts": 2.0}),),
}
#: Faults that lose a response.
LOSE_RESPONSE = (LOST, LATE, DENIED)
#: Faults that fail one try; another one follows.
FAIL_TRY = (DENIED, RESET)


#: Number of operators that divide the common cases among them.
SHARE = 5


@dataclass(frozen=True)
class Kill:
    """
    A signal that ends a process of a task.

    :param step: The step at which the process gets it.
    :param signal: ``SIGKILL`` or ``SIGTERM``.
    """

    step: str
    signal: str = KILL

    @property
    def process(self) -> str:
        """The kind of process that it ends."""
        return PROCESS.get(self.step, TASK)


@dataclass(frozen=True)
class Case:
    """
    A task with its kills and faults.

    :param name: Name of the task and of its resource.
    :param deferrable: Whether it waits in the triggerer.
    :param has_state_store: Whether Airflow has a task state store (3.3 and later).
    :param kills: The kills of its processes, in order.
    :param fault: The fault of its requests; empty for none.
    """

    name: str
    deferrable: bool
    has_state_store: bool
    kills: tuple[Kill, ...] = ()
    fault: str = ""

    @property
    def needs_search(self) -> bool:
        """Whether only a search can find the resource, because neither a response nor the state store has its ARN."""
        return not self.has_state_store and (
            self.fault == LOST or (self.kills == (Kill(BEFORE_READ),) and not self.fault)
        )

    @classmethod
    def load(cls, plain: dict[str, Any]) -> Case:
        """Restore a case from the JSON of ``dataclasses.asdict``."""
        return cls(**{**plain, "kills": tuple(Kill(**kill) for kill in plain["kills"])})


def build_cases(*, waits: bool, unique: bool) -> list[Case]:
    """
    Build the cases of an operator.

    :param waits: Whether its resource takes time to become active.
    :param unique: Whether the service rejects a name that is in use.
    """
    kills = _plan_single_kills(waits=waits) if unique else _plan_repeated_kills(waits=waits)
    plans = [*kills, *_plan_faults(waits=waits)]
    return [
        Case(f"case-{number}", deferrable, has_state_store, kills, fault)
        for number, (deferrable, has_state_store, kills, fault) in enumerate(plans)
    ]


def select_cases(cases: list[Case], offset: int) -> list[Case]:
    """
    Select every case that needs a search, and a fifth of the others.

    :param offset: Position of the first case; five operators with consecutive offsets cover all cases.
    """
    return [case for number, case in enumerate(cases) if case.needs_search or (number + offset) % SHARE == 0]


Plan = tuple[bool, bool, tuple[Kill, ...], str]


def _plan_single_kills(*, waits: bool) -> Iterator[Plan]:
    """Plan one kill at each step, alternately with and without a state store."""
    waiting = (IN_WAIT,) if waits else ()
    for number, step in enumerate((BEFORE_SEND, IN_FLIGHT, BEFORE_READ, *waiting, BEFORE_RETURN)):
        yield False, number % 2 == 1, (Kill(step),), ""
    for step in (BEFORE_STORE, AFTER_STORE):
        yield False, True, (Kill(step),), ""
    for number, step in enumerate((BEFORE_READ, BEFORE_RETURN, *waiting)):
        yield False, number % 2 == 1, (Kill(step, TERM),), ""
    if waits:
        for number, step in enumerate((BEFORE_DEFERRAL, IN_TRIGGER, BEFORE_RESUMED_RETURN)):
            yield True, number % 2 == 1, (Kill(step),), ""
        yield True, True, (Kill(IN_TRIGGER, TERM),), ""


def _plan_repeated_kills(*, waits: bool) -> Iterator[Plan]:
    """Plan kills of several processes in a row."""
    waiting = (IN_WAIT, IN_WAIT) if waits else ()
    yield False, waits, tuple(map(Kill, (BEFORE_SEND, BEFORE_READ, *waiting, BEFORE_RETURN, BEFORE_RETURN))), ""
    if waits:
        steps = (IN_FLIGHT, BEFORE_DEFERRAL, IN_TRIGGER, IN_TRIGGER, BEFORE_RESUMED_RETURN)
        yield True, False, tuple(map(Kill, steps)), ""


def _plan_faults(*, waits: bool) -> Iterator[Plan]:
    """Plan faults of requests, some of them followed by kills."""
    yield False, True, (), LOST
    yield False, False, (Kill(IN_SEARCH), Kill(IN_SEARCH)), LOST
    yield waits, True, (), LATE
    yield False, False, (Kill(IN_SEARCH),), LATE
    yield waits, False, (), DENIED
    yield False, False, (), RESET
    yield False, False, (Kill(BEFORE_READ),), STALE
