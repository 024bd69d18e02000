"""The life of a resource over a clock: creation, failure, cancellation, deletion, the end of retention."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from airflow_cleanroomsml.emulator.clock import Clock
from airflow_cleanroomsml.emulator.lookalike import JobFailure, StatusCode

#: A create that is under way.
PENDING = ("CREATE_PENDING", "CREATE_IN_PROGRESS")


@dataclass
class Life:
    """
    The status of a resource: a matter of time passed, not of how often somebody looked.

    :param clock: Time.
    :param pending: Seconds of CREATE_PENDING; 0 for what is ACTIVE at once.
    :param progress: Seconds of CREATE_IN_PROGRESS at least.
    :param deleting: Seconds that a deletion or a cancellation takes.
    :param work: What it computes; it stays CREATE_IN_PROGRESS until that is done.
    :param keeps: Whether only its data is deleted: it stays then, INACTIVE.
    :param retention: Seconds for which its data is kept once it is ACTIVE; None for as long as it is there.
    """

    clock: Clock
    pending: float = 0.0
    progress: float = 0.0
    deleting: float = 0.0
    work: Future[Any] | None = None
    keeps: bool = False
    retention: float | None = None
    born: float = field(init=False)
    finished: float = field(init=False, default=0.0)
    deleted: float | None = field(init=False, default=None)
    cancelled: float | None = field(init=False, default=None)
    verdict: JobFailure | None = field(init=False, default=None)
    condemned: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.born = self.clock.now()
        if self.work is not None:
            self.work.add_done_callback(self._finish)

    def _finish(self, _: Future[Any]) -> None:
        self.finished = self.clock.now()

    @property
    def due(self) -> float:
        """When it is created at the earliest."""
        return self.born + self.pending + self.progress

    def delete(self) -> None:
        """Begin its deletion."""
        self.deleted = self.clock.now()

    def cancel(self) -> None:
        """Begin its cancellation."""
        self.cancelled = self.clock.now()

    def fail(self, failure: JobFailure, at: float | None = None) -> None:
        """
        Let its creation fail, whatever the work says.

        :param at: When, in seconds since 1970; None when it would be ACTIVE.
        """
        self.verdict, self.condemned = failure, self.due if at is None else at

    @property
    def status(self) -> str:
        """The status now; empty when it is gone."""
        now = self.clock.now()
        if self.deleted is not None:
            return self._ending("DELETE", now - self.deleted, "INACTIVE" if self.keeps else "")
        if self.cancelled is not None:
            return self._ending("CANCEL", now - self.cancelled, "INACTIVE")
        return self._creation(now)

    def _ending(self, verb: str, since: float, last: str) -> str:
        if since >= self.deleting:
            return last
        return f"{verb}_PENDING" if since < self.deleting / 2 else f"{verb}_IN_PROGRESS"

    def _creation(self, now: float) -> str:
        if self.verdict is not None and now >= self.condemned:
            return "CREATE_FAILED"
        if now < self.born + self.pending:
            return "CREATE_PENDING"
        busy = self.work is not None and not self.work.done()
        if now < self.due or busy or self.verdict is not None:
            return "CREATE_IN_PROGRESS"
        if self.failure:
            return "CREATE_FAILED"
        return "ACTIVE" if self.retention is None or now < self.due + self.retention else "INACTIVE"

    @property
    def failure(self) -> JobFailure | None:
        """Why it failed, once that is known."""
        if self.verdict is not None:
            return self.verdict
        if self.work is None or not self.work.done():
            return None
        error = self.work.exception()
        if error is None or isinstance(error, JobFailure):
            return error
        return JobFailure(StatusCode.INTERNAL_ERROR, f"The emulator itself failed: {type(error).__name__}: {error}")

    @property
    def changed(self) -> float:
        """When the status changed last."""
        now = self.clock.now()
        steps = [self.born, self.born + self.pending, self.due, self.finished]
        if self.retention is not None:
            steps.append(self.due + self.retention)
        if self.verdict is not None:
            steps = [*_until(self.condemned, [self.born, self.born + self.pending]), self.condemned]
        for begun in (self.cancelled, self.deleted):
            if begun is not None:
                steps = [*_until(begun, steps), begun, begun + self.deleting / 2, begun + self.deleting]
        return max(_until(now, steps))


def _until(time: float, steps: list[float]) -> list[float]:
    return [step for step in steps if step <= time]
