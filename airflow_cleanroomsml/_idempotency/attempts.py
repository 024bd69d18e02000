"""
Which tries of a task instance belong together: a first try, and the retries that Airflow makes of it by itself.

Airflow does not say why it tries a task again. But it sets ``max_tries`` only when it creates the task instance (to ``retries``) and when
somebody clears it (to the number of the last try, plus ``retries``: ``clear_task_instances``, the same in 2.11 and 3.x), and it retries
only while ``try_number <= max_tries``. So tries with the same ``max_tries`` belong together. Unlike ``max_tries - retries + 1``, by which
Airflow itself finds the first of them, this holds when ``retries`` is edited between two tries.

A task that is cleared *while it runs in a worker* keeps its ``max_tries`` (2.11 and 3.0; later versions only if the executor reports a
failure), and so does one that is cleared after ``retries`` was lowered by as many as there were retries. Both look like a retry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context


class Attempt(NamedTuple):
    """
    One try of a task instance.

    :param number: Number of the try, from 1.
    :param max_tries: The task instance's ``max_tries``; None where there is none.
    """

    number: int
    max_tries: int | None

    @property
    def sequence(self) -> int | None:
        """A number that a first try and its retries share, and no tries before or after a clear; None where it is unknown."""
        # Only a clear leads past max_tries + 1, and the try after it begins anew.
        return None if self.max_tries is None else max(self.max_tries, self.number - 1)

    @property
    def may_be_retry(self) -> bool:
        """Whether there may have been an earlier try of the same sequence."""
        return self.max_tries is not None and 1 < self.number <= self.max_tries + 1


def current_attempt(context: Context) -> Attempt:
    """The try that is running."""
    ti = context.get("ti")
    max_tries = getattr(ti, "max_tries", None)
    return Attempt(int(getattr(ti, "try_number", 1)), None if max_tries is None else int(max_tries))


def run_start(context: Context) -> float:
    """
    When the Dag run started, by Airflow's clock, in seconds since 1970; 0 where that is unknown.

    A run that has ended and is cleared gets a new start date, but its tasks may go on with what they created before.
    """
    run = context.get("dag_run")
    started = None if getattr(run, "clear_number", 0) else getattr(run, "start_date", None)
    return float(started.timestamp()) if started else 0.0
