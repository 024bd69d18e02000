"""
Which tries of a task instance belong together, and the notes that they leave for each other.

A first try and the retries that Airflow makes of it form a sequence. Airflow does not say why it tries a task again. But it sets
``max_tries`` only when it creates the task instance (to ``retries``) and when somebody clears it (to the number of the last try, plus
``retries``: ``clear_task_instances``, the same in 2.11 and 3.x), and it retries only while ``try_number <= max_tries``. So tries with the
same ``max_tries`` belong together. Unlike ``max_tries - retries + 1``, by which Airflow itself finds the first of them, this also holds
when ``retries`` is edited between two tries.

A task that is cleared *while it runs in a worker* keeps its ``max_tries`` (2.11 and 3.0; later versions only if the executor reports a
failure). So does one that is cleared after ``retries`` was lowered by the number of retries so far. Both look like a retry.

A try beyond ``max_tries + 1`` follows such a clear, or a change of schedulers: a new one tries the tasks that the executor cannot adopt
again, whatever ``retries`` says, such as all running tasks of a LocalExecutor (``adopt_or_reset_orphaned_tasks``, 3.3.2). If the Dag run
was never cleared, which its ``clear_number`` shows from Airflow 3.2 on, it is a retry.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context

log = logging.getLogger(__name__)


class Attempt(NamedTuple):
    """
    One try of a task instance.

    :param number: Number of the try, from 1.
    :param max_tries: The task instance's ``max_tries``; None outside a run.
    :param clears: The Dag run's ``clear_number``; None if it is unknown.
    """

    number: int
    max_tries: int | None
    clears: int | None = None

    @property
    def is_first(self) -> bool:
        """Whether there was no earlier try, not even before a clear."""
        return self.number <= 1

    @property
    def sequence(self) -> int | None:
        """A number that a first try shares with its retries, but not with tries before or after a clear; None if it is unknown."""
        return self.number - 1 if self._follows_clear else self.max_tries

    @property
    def may_be_retry(self) -> bool:
        """Whether there may have been an earlier try of the same sequence."""
        return self.max_tries is not None and self.number > 1 and not self._follows_clear

    @property
    def _follows_clear(self) -> bool:
        """Whether somebody cleared the task while it ran its last try."""
        return self.max_tries is not None and self.number > self.max_tries + 1 and self.clears != 0

    def is_probably_retry(self, retries: int) -> bool:
        """
        Whether there was an earlier try of the same sequence, unless ``retries`` was edited since then.

        Airflow's own sensors count like this. It only decides how long a try searches before it reuses what was created before a clear.
        """
        return self.max_tries is not None and self.may_be_retry and self.number > self.max_tries - retries + 1


def read_current_attempt(context: Context) -> Attempt:
    """Return the running try."""
    ti = context.get("ti")
    max_tries = getattr(ti, "max_tries", None)
    return Attempt(
        int(getattr(ti, "try_number", 1)),
        None if max_tries is None else int(max_tries),
        getattr(context.get("dag_run"), "clear_number", None),
    )


def read_run_start(context: Context) -> float:
    """
    Return when the Dag run started, by Airflow's clock, in seconds since 1970; 0 if that is unknown.

    It is unknown for a run that was cleared after it ended: Airflow gives it a new start date, but its tasks may reuse what they created
    before.
    """
    run = context.get("dag_run")
    started = None if getattr(run, "clear_number", 0) else getattr(run, "start_date", None)
    return float(started.timestamp()) if started else 0.0


def _may_have_created(note: Mapping[str, Any]) -> bool:
    return bool(note.get("sent") or note.get("known"))


class AttemptLog:
    """
    The notes that the tries of a task write for later tries, in Airflow's task state store (3.3 and later).

    A try writes a note before it sends a request and after the response, so that a later try need not search. Without its note, a retry
    searches the listing, which does not find a renamed export or association, nor anything in another region or account.

    :param fingerprint: Fingerprint of the current request.
    :param enabled: Whether notes are kept.
    :param connection: The rendered connection arguments with which this try sends; None if they are not noted.
    """

    # Not renamed: tasks that are retried across an upgrade must find their notes.
    KEY = "made"

    def __init__(
        self, context: Context, fingerprint: str, *, enabled: bool, connection: Mapping[str, Any] | None = None
    ) -> None:
        self._store: Any = context.get("task_state_store") if enabled else None
        self.fingerprint = fingerprint
        self.connection = connection
        self._attempt = read_current_attempt(context)
        self._notes: dict[str, Any] | None = None

    def recall(self) -> dict[str, Any] | None:
        """
        Return the newest note of this sequence of tries, else that of the last try with the same request.

        It has ``fingerprint``, ``try``, ``number``, ``sent``, ``connection``, ``sent_before``, and ``known``, the identifiers of what was
        created. While the outcome is unknown, it has ``sought`` instead, the arguments by which a search finds the resource. After a
        refused request, ``sent`` is 0, and ``sends_again`` is true while the same try may send another one.
        """
        notes = self._list_notes()
        same = [note for note in notes if note["fingerprint"] == self.fingerprint]
        return max(self._select_in_sequence(notes) or same, key=lambda note: note["try"], default=None)

    def recall_connection(self) -> dict[str, Any] | None:
        """
        Return the connection arguments with which an earlier try of this sequence may have created something; None if there are none.

        They are templates: a Variable that has changed since must not lead a retry to another account or region, where it finds nothing.
        """
        notes = self._select_in_sequence(self._list_notes())
        note = max(notes, key=lambda note: note["try"], default={})
        connection = note.get("connection") if note.get("sent_before") or _may_have_created(note) else None
        return dict(connection) if connection is not None else None

    def _has_sent_before(self) -> bool:
        """
        Whether an earlier try of this sequence may have created something.

        The note of this try then says so, too: if the service refuses its request, that does not settle the outcome of the earlier one.
        """
        return any(
            note.get("sent_before") or (note["try"] < self._attempt.number and _may_have_created(note))
            for note in self._select_in_sequence(self._list_notes())
        )

    def _list_notes(self) -> list[dict[str, Any]]:
        return [{"fingerprint": fingerprint, **note} for fingerprint, note in self._read().items()]

    def _select_in_sequence(self, notes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        return [note for note in notes if self.is_of_sequence(note)]

    def is_of_sequence(self, note: Mapping[str, Any]) -> bool:
        """Whether a try of the current sequence wrote it."""
        return self._attempt.sequence is not None and note.get("sequence") == self._attempt.sequence

    def is_of_last_try(self, note: Mapping[str, Any]) -> bool:
        """
        Whether it is the final note of the try before this one.

        Otherwise something may have been created and not noted: by a try in between, or by a later request of the same try.
        """
        return bool(note["try"] == self._attempt.number - 1 and not note.get("sends_again"))

    def write(self, fingerprint: str = "", **values: Any) -> None:
        """
        Write a note in place of an earlier one.

        :param fingerprint: Fingerprint of the request that the note is about; empty for the current one.
        """
        note = {**values, "try": self._attempt.number, "sequence": self._attempt.sequence}
        if self.connection is not None:
            note.update(connection=dict(self.connection), sent_before=self._has_sent_before())
        # One note for each try: its arguments may have rendered differently while it waited for quota, and recall() could not tell which of
        # two notes is the newer.
        earlier = {key: value for key, value in self._read().items() if value["try"] != self._attempt.number}
        notes = {**earlier, fingerprint or self.fingerprint: note}
        try:
            if self._store is not None:
                self._store.set(self.KEY, notes)
        # The store may raise anything; the task must not fail because of it, since the job exists.
        except Exception:
            log.warning(
                "Could not write to Airflow's task state store; a retry will not know what this try has done.",
                exc_info=True,
            )
        self._notes = notes

    def _read(self) -> dict[str, Any]:
        if self._store is None:
            return {}
        if self._notes is None:
            try:
                stored: Any = self._store.get(self.KEY)
            except Exception:
                log.warning(
                    "Could not read Airflow's task state store; looking in the listing for what an earlier try created.",
                    exc_info=True,
                )
                # Not written either: without the notes of other requests, a write would erase them.
                self._store = None
                return {}
            self._notes = stored if isinstance(stored, dict) else {}
        return self._notes
