"""Requests that were taken and are carried out later, when nobody waits for their answers any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from airflow_cleanroomsml.emulator.clock import Clock
from airflow_cleanroomsml.emulator.errors import ApiError


class LateCommits:
    """What is still to be carried out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[float, Callable[[], Any]]] = []

    def add(self, due: float, carry_out: Callable[[], Any]) -> None:
        """
        Carry a request out later.

        :param due: When, in seconds since 1970.
        """
        with self._lock:
            self._waiting.append((due, carry_out))

    def clear(self) -> None:
        """Forget them."""
        with self._lock:
            self._waiting = []

    def settle(self, clock: Clock) -> None:
        """
        Carry out what is due, each at its own time; nobody hears of what is refused.

        Nobody can tell whether that was done when it was due, or, as here, before the next request.
        """
        for due, carry_out in self._due(clock.now()):
            with clock.at(due):
                try:
                    carry_out()
                except ApiError:
                    continue

    def _due(self, now: float) -> list[tuple[float, Callable[[], Any]]]:
        with self._lock:
            due = sorted((entry for entry in self._waiting if entry[0] <= now), key=lambda entry: entry[0])
            self._waiting = [entry for entry in self._waiting if entry[0] > now]
        return due
