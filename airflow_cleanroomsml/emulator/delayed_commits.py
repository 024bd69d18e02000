"""Requests that the service accepts and carries out later, after the client has given up waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from airflow_cleanroomsml.emulator.clock import Clock
from airflow_cleanroomsml.emulator.errors import ApiError


class DelayedCommits:
    """Requests that are still to be carried out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: list[tuple[float, Callable[[], Any]]] = []

    def add(self, due: float, commit: Callable[[], Any]) -> None:
        """
        Add a request.

        :param due: When to carry it out, in seconds since 1970.
        :param commit: Carries it out.
        """
        with self._lock:
            self._pending.append((due, commit))

    def clear(self) -> None:
        """Drop all requests."""
        with self._lock:
            self._pending = []

    def run_due(self, clock: Clock) -> None:
        """
        Carry out the requests that are due, each at its own time, and drop their errors: no client waits for them.

        Call this before every request. No client can distinguish that from carrying each out at the moment it is due.
        """
        for due, commit in self._take_due(clock.now()):
            with clock.override(due):
                try:
                    commit()
                except ApiError:
                    continue

    def _take_due(self, now: float) -> list[tuple[float, Callable[[], Any]]]:
        with self._lock:
            # By time only, because functions cannot be compared; the sort is stable, so equal times keep the order of the requests.
            due = sorted((entry for entry in self._pending if entry[0] <= now), key=lambda entry: entry[0])
            self._pending = [entry for entry in self._pending if entry[0] > now]
        return due
