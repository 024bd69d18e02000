"""State that both services and the admin API share."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from airflow_cleanroomsml.emulator.clock import Clock
from airflow_cleanroomsml.emulator.delayed_commits import DelayedCommits
from airflow_cleanroomsml.emulator.faults import Faults
from airflow_cleanroomsml.emulator.page_tokens import PageTokens
from airflow_cleanroomsml.emulator.permissions import Permissions
from airflow_cleanroomsml.emulator.rate_limits import TokenBuckets
from airflow_cleanroomsml.emulator.settings import Settings
from airflow_cleanroomsml.emulator.store import Store


@dataclass
class Shared:
    """
    State of one emulator.

    :param settings: Settings, replaced as a whole.
    :param clock: Clock.
    :param store: All resources.
    :param faults: Faults that tests have injected.
    :param delayed_commits: Requests that are carried out later.
    :param token_buckets: State of the rate limits.
    :param permissions: Actions that each account allows.
    :param page_tokens: Tokens of listings.
    :param journal: Log of requests, oldest first.
    :param jobs: Work of the jobs that still have a resource or are being computed.
    """

    settings: Settings = field(default_factory=Settings)
    clock: Clock = field(default_factory=Clock)
    store: Store = field(default_factory=Store)
    faults: Faults = field(default_factory=Faults)
    delayed_commits: DelayedCommits = field(default_factory=DelayedCommits)
    token_buckets: TokenBuckets = field(default_factory=TokenBuckets)
    permissions: Permissions = field(default_factory=Permissions)
    page_tokens: PageTokens = field(default_factory=PageTokens)
    # Bounded, so that an emulator that runs for days does not fill its memory with the log.
    journal: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=100_000))
    # Weak, so that deleting a resource frees its result, which for an audience model is the profiles of all users.
    jobs: WeakSet[Future[Any]] = field(default_factory=WeakSet)

    def clear(self) -> None:
        """Delete everything but the settings, the clock, and what moto stores."""
        self.store.clear()
        self.faults.clear()
        self.delayed_commits.clear()
        self.token_buckets.clear()
        self.permissions.clear()
        self.page_tokens.clear()
        self.journal.clear()

    def stop_jobs(self) -> None:
        """Drop work that has not begun, and wait for the rest, which may still write to S3."""
        # Requests add jobs under this lock, and a set that grows cannot be copied. The wait is outside of it, so that other requests are
        # answered.
        with self.store.lock:
            jobs = tuple(self.jobs)
        # A job that runs cannot be cancelled.
        wait([job for job in jobs if not job.cancel()])
