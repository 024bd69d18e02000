"""A wait and what one poll of it shows, as plain values."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from airflow_cleanroomsml._resources.lookup import describe
from airflow_cleanroomsml._resources.table import RESOURCES, Goal, Outcome, Resource
from airflow_cleanroomsml.exceptions import format_advice, summarize_error

#: Seconds after a create during which "not found" may be a read that lags.
LAG = 60.0
#: Range of the random factor on a pause.
JITTER = (0.9, 1.1)

#: Name of ``created_after`` in JSON: other releases read it, too.
_CREATED_AFTER = "made_after"

#: The statuses of a resource, each with the time at which it was first seen, in seconds since 1970. The garbage collector does not visit
#: tuples of texts and numbers, and a triggerer has thousands of waits.
Statuses: TypeAlias = tuple[tuple[str, float], ...]


class Wait(NamedTuple):
    """
    One wait, as plain values: it travels through Airflow's database to the triggerer and back.

    :param noun: Key of :data:`~airflow_cleanroomsml._resources.table.RESOURCES`.
    :param goal: What the wait is for.
    :param identifiers: The resource's identifying arguments.
    :param started: When the wait began, in seconds since 1970.
    :param deadline: When it ends, in seconds since 1970.
    :param delay: Longest pause between two polls, in seconds.
    :param created_after: Older resources of the same name are others, in seconds since 1970; for a resource without an ARN.
    :param lag: Seconds after a create during which "not found" may be a read that lags.
    :param on_kill: What to do about the resource if the task is killed: ``cancel``, ``delete``, or nothing.
    :param connection: The task's connection arguments when the wait began, without those that are None: their templates may render to
        other values when the task resumes. None in waits of releases that did not keep them.
    :param history: The statuses seen so far; empty in waits of releases that did not keep them.
    :param sources: ARNs and URIs of the data that the resource is created from, as far as the task's request has named them; None in waits
        of sensors, and of releases that did not keep them.
    """

    # A field that a release adds needs a default: tasks that are deferred during an upgrade bring waits without it.
    noun: str
    goal: str
    identifiers: dict[str, Any]
    started: float
    deadline: float
    delay: float
    created_after: float = 0.0
    lag: float = LAG
    on_kill: str = ""
    # These have defaults because earlier releases, whose triggers may still be waiting, did not serialise them.
    connection: Mapping[str, Any] | None = None
    history: Statuses = ()
    sources: tuple[str, ...] | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Wait:
        """Read what :meth:`to_json` wrote, in this release or an earlier one."""
        given = {**values, "history": read_statuses(values.get("history", ()))}
        if given.get("sources") is not None:
            given["sources"] = tuple(given["sources"])
        if _CREATED_AFTER in given:
            given["created_after"] = given.pop(_CREATED_AFTER)
        wait = cls(**given)
        # Thousands of waits have few different texts here.
        return wait._replace(noun=sys.intern(wait.noun), goal=sys.intern(wait.goal), on_kill=sys.intern(wait.on_kill))

    @property
    def resource(self) -> Resource:
        """The row of the resource table."""
        return RESOURCES[self.noun]

    @property
    def title(self) -> str:
        """The resource in words."""
        return describe(self.resource, self.identifiers)

    def pause(self, now: float, jitter: float | None = None) -> float:
        """
        Return the seconds until the next poll: a quarter of the time waited so far, from 1 second up to ``delay``.

        So the end of a short job is noticed soon, a long one is polled ``delay`` seconds apart, and thousands of waits drift apart.

        :param jitter: Factor on the pause; None draws one.
        """
        pause = min(self.delay, max(1.0, (now - self.started) / 4)) * (jitter or random.uniform(*JITTER))
        # The last poll is at the deadline itself, so a job that ends in the last pause is not lost.
        return max(0.0, min(pause, self.deadline - now))

    def to_json(self) -> dict[str, Any]:
        """Convert to plain JSON values."""
        values = {**self._asdict(), "goal": Goal(self.goal).value, "history": format_statuses(self.history)}
        values[_CREATED_AFTER] = values.pop("created_after")
        values["sources"] = None if self.sources is None else list(self.sources)
        return values


def format_statuses(statuses: Statuses) -> list[list[Any]]:
    """Convert statuses to plain JSON values."""
    return [list(entry) for entry in statuses]


def read_statuses(entries: Iterable[Sequence[Any]]) -> Statuses:
    """Read what :func:`format_statuses` wrote."""
    return tuple((sys.intern(str(status)), float(since)) for status, since in entries)


class PollResult(NamedTuple):
    """
    What one poll found.

    :param status: Status of the resource; empty if it is gone or could not be read.
    :param outcome: What that means to the wait.
    :param status_code: ``statusDetails.statusCode``.
    :param message: ``statusDetails.message``, or why the resource could not be read.
    :param outputs: Members that the task pushes to XCom, in the API's own spelling.
    :param advice: What to do about an error of the read, and its request ID. Unlike the message, it may differ in each poll.
    :param is_partial: Whether it is the end of the wait as a listing shows it, without message and outputs.
    :param is_absent: Whether the service answered that the resource does not exist, and a later poll may find it.
    """

    status: str
    outcome: Outcome
    status_code: str = ""
    message: str = ""
    outputs: Mapping[str, Any] = {}
    is_partial: bool = False
    # Triggers of earlier releases do not send these.
    advice: str = ""
    is_absent: bool = False

    @classmethod
    def from_error(cls, error: Exception) -> PollResult:
        """Build the result of a poll that failed with a transient error."""
        return cls("", Outcome.PENDING, message=summarize_error(error), advice=format_advice(error))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PollResult:
        """Read what :meth:`to_json` wrote, in this release or an earlier one, which called the outputs a report."""
        names = ("status", "status_code", "message", "advice")
        texts = {name: values[name] for name in names if name in values}
        outputs = values.get("outputs", values.get("report", {}))
        flags = {name: values.get(name, False) for name in ("is_partial", "is_absent")}
        return cls(outcome=Outcome(values["outcome"]), outputs=outputs, **flags, **texts)

    def to_json(self) -> dict[str, Any]:
        """Convert to plain JSON values."""
        return {**self._asdict(), "outcome": self.outcome.value, "outputs": dict(self.outputs)}

    def after(self, earlier: PollResult | None) -> PollResult:
        """Return this result, with what earlier polls have shown if this one failed."""
        failed = not self.status and self.outcome is Outcome.PENDING
        if not failed or earlier is None:
            return self
        return self._replace(status=earlier.status, is_absent=self.is_absent or earlier.is_absent)

    @property
    def reason(self) -> str:
        """Status code and message, as far as there are any."""
        return ": ".join(text for text in (self.status_code, self.message) if text)


def read_poll_result(event: Mapping[str, Any]) -> PollResult | None:
    """
    Read the last poll from the event of a :class:`~airflow_cleanroomsml.triggers.CleanRoomsMLWaitTrigger`.

    :return: None if the trigger could not poll.
    """
    # The triggerer may still run an earlier release, which has another key.
    values = event.get("poll_result", event.get("observation"))
    return None if values is None else PollResult.from_json(values)
