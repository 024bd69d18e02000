"""The statuses that a task sees while it waits, and since when."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import pairwise

from airflow_cleanroomsml._resources.table import Outcome
from airflow_cleanroomsml._waiting.wait import PollResult, Statuses

#: In place of a status: the API has none for a resource that does not exist.
GONE = "gone"


class StatusHistory:
    """
    The statuses of a resource in the order in which a task saw them, each with the time of the poll that saw it first.

    :param statuses: Earlier statuses.
    """

    def __init__(self, statuses: Statuses = ()) -> None:
        self.statuses = statuses

    def record(self, poll_result: PollResult, now: float) -> bool:
        """
        Record what a poll found.

        :param now: When it was polled, in seconds since 1970.
        :return: Whether the status has changed. A poll that failed leaves it as it was.
        """
        # Empty if the poll failed: a lost connection is not a status, and the previous status continues.
        status = poll_result.status or ("" if poll_result.outcome is Outcome.PENDING else GONE)
        if not status or (self.statuses and self.statuses[-1][0] == status):
            return False
        self.statuses = (*self.statuses, (status, now))
        return True

    @property
    def changed_at(self) -> float | None:
        """When the last status was first seen, in seconds since 1970; None if none was."""
        return self.statuses[-1][1] if self.statuses else None

    def to_xcom(self) -> list[dict[str, str]]:
        """Convert to the value of the XCom key ``status_history``."""
        return [{"status": status, "since": format_time(since)} for status, since in self.statuses]

    def describe_durations(self, started: float) -> str:
        """
        Return how long the wait took, and each status before the last: "after 12 s (CREATE_PENDING for 1 s, …)"; empty if nothing changed.

        :param started: When the wait began, in seconds since 1970.
        """
        if len(self.statuses) < 2:
            return ""
        durations = [f"{status} for {until - since:.0f} s" for (status, since), (_, until) in pairwise(self.statuses)]
        return f"after {self.statuses[-1][1] - started:.0f} s ({', '.join(durations)})"


def format_time(seconds: float) -> str:
    """Format a time, in seconds since 1970, as people and the UI read it: ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, tz=timezone.utc).isoformat(timespec="seconds")
