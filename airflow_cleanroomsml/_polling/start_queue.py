"""The gates of this process: one for each connection and kind of job."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._connection.aws_connection import AwsConnection
from airflow_cleanroomsml._polling.start_gate import Gate, Ticket


@dataclass
class _Kind:
    """
    A kind of job.

    :param under_way: Those that are waited for in this process.
    """

    gate: Gate = field(default_factory=Gate)
    under_way: int = 0


class _Process:
    """The kinds of this process; a child process begins anew."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.lock = threading.Lock()
        self.kinds: dict[tuple[str, str], _Kind] = {}

    def kind(self, key: str, noun: str) -> _Kind:
        """A kind; the caller holds the lock."""
        kind = self.kinds.get((key, noun))
        if kind is None:
            kind = self.kinds[key, noun] = _Kind()
        return kind

    def tidy(self) -> None:
        """Drop what has nothing to remember; the caller holds the lock."""
        now = _clock.now()
        self.kinds = {k: kind for k, kind in self.kinds.items() if kind.under_way or not kind.gate.is_idle(now)}


_process = _Process()
os.register_at_fork(after_in_child=_process.forget)


def began(key: str, noun: str) -> None:
    """
    A wait for a job has begun.

    :param key: The connection, as text.
    :param noun: Key of :data:`~airflow_cleanroomsml._resources.table.RESOURCES`.
    """
    with _process.lock:
        kind = _process.kind(key, noun)
        kind.under_way += 1
        kind.gate.arrived(_clock.now(), kind.under_way)


def ended(key: str, noun: str) -> None:
    """Such a wait has ended; arguments as for :func:`began`."""
    with _process.lock:
        _process.kind(key, noun).under_way -= 1
        _process.tidy()


class Turn:
    """
    A place in the queue before a gate.

    :param kind: What is to be started.
    :param ticket: The place.
    """

    def __init__(self, kind: _Kind, ticket: Ticket) -> None:
        self._kind = kind
        self._ticket = ticket

    def __enter__(self) -> Turn:
        """Begin the block for which it lasts."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Give the place up."""
        if kind is GeneratorExit:
            # Its loop is gone, and this may be a search for garbage in any thread, one that holds the lock included.
            self._ticket.abandoned = True
        else:
            self.leave()

    def ask(self) -> float:
        """Seconds after which to ask again; 0 where the turn has come."""
        with _process.lock:
            return self._kind.gate.ask(self._ticket, _clock.now(), self._kind.under_way)

    def leave(self) -> None:
        """Give the place up."""
        with _process.lock:
            self._kind.gate.leave(self._ticket)
            _process.tidy()


def join_start_queue(connection: AwsConnection, noun: str, refused: dict[str, Any] | None) -> Turn:
    """
    Stand in the queue from now on to the end of the block that this begins.

    :param connection: How the service is reached; it is not reached here.
    :param noun: Key of :data:`~airflow_cleanroomsml._resources.table.RESOURCES`.
    :param refused: Why the start was refused, as :meth:`~airflow_cleanroomsml._polling.start_gate.Gate.enter` takes it.
    """
    with _process.lock:
        kind = _process.kind(connection.connection_key, noun)
        return Turn(kind, kind.gate.enter(_clock.now(), kind.under_way, refused))
