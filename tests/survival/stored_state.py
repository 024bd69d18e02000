"""What outlives the processes of a task: what Airflow keeps in its database."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support import TaskInstance


class Kept:
    """
    Values of one task in SQLite; no connection is open between two calls, so none is shared over a fork.

    :param path: File.
    :param task: Name of the task.
    """

    def __init__(self, path: Path, task: str) -> None:
        self.path = path
        self.task = task
        self._do("create table if not exists kept (task, kind, key, value, primary key (task, kind, key))")

    def _do(self, statement: str, *values: str) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            # A process that is killed loses nothing by it; only a machine that fails would.
            database.execute("pragma synchronous = off")
            return database.execute(statement, values).fetchall()

    def put(self, kind: str, key: str, value: Any) -> None:
        """Keep a value of JSON."""
        self._do("replace into kept values (?, ?, ?, ?)", self.task, kind, key, json.dumps(value))

    def all(self, kind: str) -> dict[str, Any]:
        """What was kept, in the order in which it was."""
        rows = self._do("select key, value from kept where task = ? and kind = ? order by rowid", self.task, kind)
        return {key: json.loads(value) for key, value in rows}

    def remove(self, kind: str, key: str) -> None:
        """Remove one value."""
        self._do("delete from kept where task = ? and kind = ? and key = ?", self.task, kind, key)

    def forget(self, *kinds: str) -> None:
        """Forget what was kept."""
        for kind in kinds:
            self._do("delete from kept where task = ? and kind = ?", self.task, kind)


class KeptTaskInstance(TaskInstance):
    """
    A task instance whose XCom is kept at once.

    :param kept: Where.
    :param number: Which try it is, from 1.
    """

    def __init__(self, kept: Kept, number: int) -> None:
        super().__init__(f"run of {kept.task}", number)
        self.task_id = kept.task
        self._kept = kept

    def xcom_push(self, key: str, value: Any) -> None:
        self._kept.put("xcom", key, value)

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        return self._kept.all("xcom").get(key)

    def xcom_delete(self, key: str) -> None:
        self._kept.remove("xcom", key)
