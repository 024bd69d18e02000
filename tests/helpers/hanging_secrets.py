"""A secrets backend that does not return one connection until the test releases it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import pytest
from airflow.secrets import BaseSecretsBackend


class HangingSecrets(BaseSecretsBackend):
    """A secrets backend that hangs for one connection, and has no others. Airflow keeps it as long as the process runs."""

    hangs_for: ClassVar[str | None] = None
    asked: ClassVar[threading.Event] = threading.Event()
    answers: ClassVar[threading.Event] = threading.Event()

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        if conn_id == self.hangs_for:
            self.asked.set()
            self.answers.wait(120)
        return None


@contextmanager
def hanging_secrets(conn_id: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[HangingSecrets]]:
    """
    Let Airflow's secrets backend hang when it is asked for a connection.

    ``asked`` is set once Airflow has asked; setting ``answers`` lets the backend answer that it does not have the connection.
    """
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", f"{__name__}.{HangingSecrets.__name__}")
    monkeypatch.setenv("AIRFLOW__WORKERS__SECRETS_BACKEND", f"{__name__}.{HangingSecrets.__name__}")
    HangingSecrets.asked.clear()
    HangingSecrets.answers.clear()
    HangingSecrets.hangs_for = conn_id
    try:
        yield HangingSecrets
    finally:
        HangingSecrets.hangs_for = None
        HangingSecrets.answers.set()
