"""The state of a task that outlives its processes, which Airflow keeps in its database."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support import TaskInstance


class StoredState:
    """
    The stored values of one task, in SQLite. No connection stays open between two calls, so a fork cannot share one.

    :param path: Path of the database.
    :param task: Name of the task.
    """

    def __init__(self, path: Path, task: str) -> None:
        self.path = path
        self.task = task
        self._execute("create table if not exists state (task, kind, key, value, primary key (task, kind, key))")

    def _execute(self, statement: str, *values: str) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            # Killing the process loses no data in this mode; only a crash of the machine would.
            database.execute("pragma synchronous = off")
            return database.execute(statement, values).fetchall()

    def write(self, kind: str, key: str, value: Any) -> None:
        """Store a value as JSON."""
        self._execute("replace into state values (?, ?, ?, ?)", self.task, kind, key, json.dumps(value))

    def read_all(self, kind: str) -> dict[str, Any]:
        """Return the values of a kind, in the order in which they were stored."""
        rows = self._execute("select key, value from state where task = ? and kind = ? order by rowid", self.task, kind)
        return {key: json.loads(value) for key, value in rows}

    def delete(self, kind: str, key: str) -> None:
        """Delete one value."""
        self._execute("delete from state where task = ? and kind = ? and key = ?", self.task, kind, key)

    def delete_all(self, *kinds: str) -> None:
        """Delete all values of some kinds."""
        for kind in kinds:
            self._execute("delete from state where task = ? and kind = ?", self.task, kind)


class StoredTaskInstance(TaskInstance):
    """
    A task instance whose XComs are stored immediately.

    :param state: The stored state of the task.
    :param number: Number of the try, from 1.
    """

    def __init__(self, state: StoredState, number: int) -> None:
        super().__init__(f"run of {state.task}", number)
        self.task_id = state.task
        self._state = state

    def xcom_push(self, key: str, value: Any) -> None:
        self._state.write("xcom", key, value)

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        return self._state.read_all("xcom").get(key)

    def xcom_delete(self, key: str) -> None:
        self._state.delete("xcom", key)
