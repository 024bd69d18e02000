"""The triggers of all waits: what is asked in the triggerer is asked by :mod:`airflow_cleanroomsml._polling`."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._connection.aws_connection import AwsConnection
from airflow_cleanroomsml._polling import join_start_queue, subscribe
from airflow_cleanroomsml._waiting.cancellation import end_from_trigger
from airflow_cleanroomsml._waiting.job_search import JobFilter, JobSearch
from airflow_cleanroomsml._waiting.loop import REPORT_INTERVAL
from airflow_cleanroomsml._waiting.outcome import summarize
from airflow_cleanroomsml._waiting.wait import Wait

#: Whether Airflow tells a trigger of a kill (3.3 and later).
_HEARS_OF_KILLS = hasattr(BaseTrigger, "on_kill")


class _AwsTrigger(AwsConnection, BaseTrigger):
    """
    A trigger that waits for something at AWS; what it sees comes from the poller of its connection.

    There are thousands of them at a time, so they share the logger of their class: one for each would take a kilobyte.

    :param aws_conn_id: Airflow connection of type ``aws``.
    :param region_name: AWS region.
    :param verify: Whether or with which certificates to verify TLS.
    :param botocore_config: Arguments of ``botocore.config.Config``.
    """

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config

    @abstractmethod
    def _own(self) -> dict[str, Any]:
        """The keywords beside those of the connection; each trigger has its own."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and keywords; both stay readable for later releases."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {**self._own(), **self.connection}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something to say, or the deadline is over."""
        try:
            found = await self._watch()
        except asyncio.CancelledError as error:
            await self._cancelled(error.args)
            raise
        except Exception as error:  # an event is the only way to tell the task
            self.log.exception("Could not poll the resource.")
            yield TriggerEvent({**self._own(), "error": f"{type(error).__name__}: {error}"})
        else:
            yield TriggerEvent({**self._own(), **found})

    async def _cancelled(self, message: object) -> None:
        """
        Take a cancellation, which goes on afterwards.

        :param message: What it says, if anything.
        """

    @abstractmethod
    async def _watch(self) -> dict[str, Any]:
        """What the event says beside the trigger's own keywords; each trigger has its own."""


class CleanRoomsMLWaitTrigger(_AwsTrigger):
    """
    Wait until a resource is created, deleted or cancelled, or the deadline is over.

    Its event has the ``wait`` and ``poll_result``, the last look, or ``error``, why it could not look.

    :param wait: A :class:`~airflow_cleanroomsml._waiting.wait.Wait` as plain values.
    """

    def __init__(self, *, wait: dict[str, Any], **connection: Any) -> None:
        super().__init__(**connection)
        self.wait = wait
        self._killed = False

    def _own(self) -> dict[str, Any]:
        return {"wait": self.wait}

    async def _cancelled(self, message: object) -> None:
        """
        See whether this is a kill.

        Before Airflow 3.3 a cancellation is all that a trigger hears of a kill, and of a triggerer that goes down; later one of a kill has
        a message, and when the loop is held up the next cancellation comes before ``on_kill`` is called.
        """
        if message or not _HEARS_OF_KILLS:
            await self.on_kill()

    async def on_kill(self) -> None:
        """End what is waited for if its task instance was ended: Airflow 3.3 calls this for a clear, too."""
        if not self._killed:
            self._killed = True
            await end_from_trigger(self.task_instance, self, Wait(**self.wait))

    async def _watch(self) -> dict[str, Any]:
        wait = Wait(**self.wait)
        final = False
        with subscribe(self, wait) as watch:
            while not final:
                poll_result, final = await watch.news()
                self.logger().info("%s.", summarize(wait, poll_result, _clock.now()))
        return {"poll_result": poll_result.to_json()}


class CleanRoomsMLNewJobsTrigger(_AwsTrigger):
    """
    Wait until there are new audience generation jobs, or the deadline is over.

    Its event has the ``search`` and ``jobs``, none where the deadline came, or ``error``, why it could not look.

    :param search: A :class:`~airflow_cleanroomsml._waiting.job_search.JobFilter` as plain values.
    :param deadline: When it ends, in seconds since 1970.
    :param delay: Pause between two looks, in seconds.
    """

    def __init__(self, *, search: dict[str, Any], deadline: float, delay: float, **connection: Any) -> None:
        super().__init__(**connection)
        self.search = search
        self.deadline = deadline
        self.delay = delay

    def _own(self) -> dict[str, Any]:
        return {"search": self.search, "deadline": self.deadline, "delay": self.delay}

    async def _watch(self) -> dict[str, Any]:
        final = False
        with subscribe(self, JobSearch(JobFilter(**self.search), self.deadline, self.delay)) as watch:
            while not final:
                poll_result, final = await watch.news()
                if poll_result.message:
                    self.logger().info("Polling again: %s", poll_result.message)
        return {"jobs": poll_result.outputs.get("jobs", [])}


class CleanRoomsMLTurnTrigger(_AwsTrigger):
    """
    Wait until it is one's turn to start a job: one a second, and no more than there is room for.

    Its event has ``turn``: whether it came, or the deadline was over. It makes no call.

    :param noun: What is to be started, a key of :data:`~airflow_cleanroomsml._resources.table.RESOURCES`.
    :param deadline: When it ends, in seconds since 1970.
    :param refused: Why the start was refused, of a task that comes back: ``why`` is ``quota`` or ``throttled``, with ``quota_name`` and
        ``quota_value``.
    """

    def __init__(self, *, noun: str, deadline: float, refused: dict[str, Any] | None = None, **connection: Any) -> None:
        super().__init__(**connection)
        self.noun = noun
        self.deadline = deadline
        self.refused = refused

    def _own(self) -> dict[str, Any]:
        return {"noun": self.noun, "deadline": self.deadline, "refused": self.refused}

    async def _watch(self) -> dict[str, Any]:
        told = 0.0
        with join_start_queue(self, self.noun, self.refused) as turn:
            while pause := turn.ask():
                now = _clock.now()
                if now >= self.deadline:
                    return {"turn": False}
                if now >= told + REPORT_INTERVAL:
                    told = now
                    self.logger().info("Waiting in the start queue: %s.", self.noun)
                await _clock.sleep_async(min(pause, self.deadline - now))
        return {"turn": True}


__all__ = ["CleanRoomsMLNewJobsTrigger", "CleanRoomsMLTurnTrigger", "CleanRoomsMLWaitTrigger"]
