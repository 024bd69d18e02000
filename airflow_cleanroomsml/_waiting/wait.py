"""A wait and what one poll of it shows, as plain values."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow_cleanroomsml._resources.lookup import titled
from airflow_cleanroomsml._resources.table import RESOURCES, Outcome, Resource

#: Seconds for which "not found" after a create is taken for a read that lags.
LAG = 60.0
#: By what a pause is longer or shorter.
JITTER = (0.9, 1.1)


class Wait(NamedTuple):
    """
    What is waited for, as plain values: it travels through the database to the triggerer and back.

    :param noun: Key of :data:`~airflow_cleanroomsml._resources.table.RESOURCES`.
    :param goal: ``created`` or ``deleted``.
    :param identifiers: The resource's identifying arguments.
    :param started: When the wait began, in seconds since 1970.
    :param deadline: When it ends, in seconds since 1970.
    :param delay: Longest pause between two looks, in seconds.
    :param made_after: Older ones of the same name are others, in seconds since 1970; for what has no ARN.
    :param lag: Seconds for which "not found" after a create is taken for a read that lags.
    :param on_kill: What is done about it when its task is ended: ``cancel``, ``delete``, or nothing.
    :param connection: How its task reached the service when the wait began, without what is None: templates of the connection's arguments
        may render to others when the task resumes. None in waits of releases that did not keep it.
    """

    noun: str
    goal: str
    identifiers: dict[str, Any]
    started: float
    deadline: float
    delay: float
    made_after: float = 0.0
    lag: float = LAG
    on_kill: str = ""
    connection: Mapping[str, Any] | None = None

    @property
    def resource(self) -> Resource:
        """The row of the resource table."""
        return RESOURCES[self.noun]

    @property
    def title(self) -> str:
        """What it is, in words."""
        return titled(self.resource, self.identifiers)

    def pause(self, now: float, jitter: float | None = None) -> float:
        """
        Seconds until the next look: a quarter of the time waited so far, from 1 second up to ``delay``.

        So a short job is seen soon, a long one is asked for ``delay`` seconds apart, and thousands of waits drift apart.

        :param jitter: Factor on it; None draws one.
        """
        pause = min(self.delay, max(1.0, (now - self.started) / 4)) * (jitter or random.uniform(*JITTER))
        return max(0.0, min(pause, self.deadline - now))

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return self._asdict()


class Observation(NamedTuple):
    """
    What one look showed.

    :param status: Status of the resource; empty where it is gone or could not be read.
    :param outcome: ``success``, ``failure`` or ``again``.
    :param status_code: ``statusDetails.statusCode``.
    :param message: ``statusDetails.message``, or why it could not be read.
    :param report: What else is known, as JSON in the API's own spelling.
    """

    status: str
    outcome: str
    status_code: str = ""
    message: str = ""
    report: Mapping[str, Any] = {}

    def after(self, before: Observation | None) -> Observation:
        """This one, with the status that was seen before where this look has failed."""
        failed = not self.status and self.outcome == Outcome.AGAIN.value
        return self._replace(status=before.status) if failed and before and before.status else self

    @property
    def reason(self) -> str:
        """Status code and message, or what there is of them."""
        return ": ".join(text for text in (self.status_code, self.message) if text)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {**self._asdict(), "report": dict(self.report)}
