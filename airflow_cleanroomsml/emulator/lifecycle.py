"""The lifecycle of a resource, driven by the clock: creation, failure, cancellation, deletion and the end of retention."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from airflow_cleanroomsml.emulator.clock import Clock
from airflow_cleanroomsml.emulator.lookalike import JobFailure, StatusCode

#: Statuses of a resource that is being created.
PENDING = ("CREATE_PENDING", "CREATE_IN_PROGRESS")


@dataclass
class Lifecycle:
    """
    The status of a resource, which depends on the time that has passed.

    It does not depend on the number of reads, as in moto's state managers: one client's polling must not change what another sees.

    :param clock: Clock.
    :param pending: Seconds in CREATE_PENDING; 0 for a resource that is ACTIVE at once.
    :param progress: Minimum seconds in CREATE_IN_PROGRESS.
    :param deletion_seconds: Seconds that a deletion or a cancellation takes.
    :param work: The computation; the resource stays CREATE_IN_PROGRESS until it is done.
    :param keeps_metadata: Whether a deletion only deletes the data, so that the resource becomes INACTIVE.
    :param retention: Seconds for which its data is kept once it is ACTIVE; None for no limit.
    """

    clock: Clock
    pending: float = 0.0
    progress: float = 0.0
    deletion_seconds: float = 0.0
    work: Future[Any] | None = None
    keeps_metadata: bool = False
    retention: float | None = None
    created_at: float = field(init=False)
    finished_at: float = field(init=False, default=0.0)
    deleted_at: float | None = field(init=False, default=None)
    cancelled_at: float | None = field(init=False, default=None)
    forced_failure: JobFailure | None = field(init=False, default=None)
    fails_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.created_at = self.clock.now()
        if self.work is not None:
            # Not when a status is read, because updateTime must not depend on who polls. The callback runs in the worker thread.
            self.work.add_done_callback(self._note_finish)

    def _note_finish(self, _: Future[Any]) -> None:
        self.finished_at = self.clock.now()

    @property
    def active_at(self) -> float:
        """The earliest time at which it can be ACTIVE."""
        return self.created_at + self.pending + self.progress

    def delete(self) -> None:
        """Start its deletion."""
        self.deleted_at = self.clock.now()

    def cancel(self) -> None:
        """Start its cancellation."""
        self.cancelled_at = self.clock.now()

    def fail(self, failure: JobFailure, at: float | None = None) -> None:
        """
        Make its creation fail, regardless of the result of the work.

        :param at: When, in seconds since 1970; None for the time at which it would be ACTIVE.
        """
        self.forced_failure, self.fails_at = failure, self.active_at if at is None else at

    @property
    def status(self) -> str:
        """The present status; empty once it is gone."""
        now = self.clock.now()
        if self.deleted_at is not None:
            return self._find_ending_status("DELETE", now - self.deleted_at, "INACTIVE" if self.keeps_metadata else "")
        if self.cancelled_at is not None:
            return self._find_ending_status("CANCEL", now - self.cancelled_at, "INACTIVE")
        return self._find_creation_status(now)

    def _find_ending_status(self, verb: str, elapsed: float, last: str) -> str:
        if elapsed >= self.deletion_seconds:
            return last
        # An assumption: AWS documents neither the duration nor how the two statuses share it.
        return f"{verb}_PENDING" if elapsed < self.deletion_seconds / 2 else f"{verb}_IN_PROGRESS"

    def _find_creation_status(self, now: float) -> str:
        if self.forced_failure is not None and now >= self.fails_at:
            return "CREATE_FAILED"
        if now < self.created_at + self.pending:
            return "CREATE_PENDING"
        is_busy = self.work is not None and not self.work.done()
        # A failure can be due later than the resource would be ACTIVE: cancelling a query fails its job once the query is CANCELLED. Until
        # then the job must not succeed.
        if now < self.active_at or is_busy or self.forced_failure is not None:
            return "CREATE_IN_PROGRESS"
        if self.failure:
            return "CREATE_FAILED"
        return "ACTIVE" if self.retention is None or now < self.active_at + self.retention else "INACTIVE"

    @property
    def failure(self) -> JobFailure | None:
        """Why it failed; None if it has not failed."""
        if self.forced_failure is not None:
            return self.forced_failure
        if self.work is None or not self.work.done():
            return None
        error = self.work.exception()
        if error is None or isinstance(error, JobFailure):
            return error
        # A bug of the emulator ends the job as well; otherwise its clients would poll until they time out.
        return JobFailure(
            StatusCode.INTERNAL_ERROR, f"Unexpected error in the emulator: {type(error).__name__}: {error}"
        )

    @property
    def changed_at(self) -> float:
        """When the status last changed."""
        now = self.clock.now()
        steps = [self.created_at, self.created_at + self.pending, self.active_at, self.finished_at]
        if self.retention is not None:
            steps.append(self.active_at + self.retention)
        if self.forced_failure is not None:
            steps = [*_select_until(self.fails_at, [self.created_at, self.created_at + self.pending]), self.fails_at]
        # A cancellation or deletion cuts off the steps that would have come after it.
        for start in (self.cancelled_at, self.deleted_at):
            if start is not None:
                steps = [
                    *_select_until(start, steps),
                    *(start, start + self.deletion_seconds / 2, start + self.deletion_seconds),
                ]
        return max(_select_until(now, steps))


def _select_until(time: float, steps: list[float]) -> list[float]:
    return [step for step in steps if step <= time]
