"""The triggers; :mod:`airflow_cleanroomsml._polling` polls for all of them."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._connection.aws_connection import AwsConnection
from airflow_cleanroomsml._polling import join_start_queue, run_with_client, subscribe
from airflow_cleanroomsml._waiting.cancellation import cancel_from_trigger
from airflow_cleanroomsml._waiting.history import StatusHistory
from airflow_cleanroomsml._waiting.job_search import JobFilter, JobSearch
from airflow_cleanroomsml._waiting.loop import REPORT_INTERVAL
from airflow_cleanroomsml._waiting.outcome import summarize
from airflow_cleanroomsml._waiting.wait import Wait

#: Whether Airflow calls ``on_kill`` of triggers (3.3 and later).
_HAS_ON_KILL = hasattr(BaseTrigger, "on_kill")


class _AwsTrigger(AwsConnection, BaseTrigger):
    """
    A trigger that waits for something at AWS.

    There may be thousands, so they share the logger of their class: one for each would take a kilobyte.

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
    def _build_keywords(self) -> dict[str, Any]:
        """Return the keyword arguments of the trigger, without those of the connection."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the keyword arguments; later releases must be able to read both."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {**self._build_keywords(), **self.connection}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: the result, or an error."""
        try:
            result = await self._wait()
        except asyncio.CancelledError as error:
            await self._handle_cancellation(error.args)
            raise
        except Exception as error:  # only an event reaches the task
            self.log.exception("Could not poll the resource.")
            yield TriggerEvent({**self._build_keywords(), "error": f"{type(error).__name__}: {error}"})
        else:
            yield TriggerEvent({**self._build_keywords(), **result})

    async def _handle_cancellation(self, message: object) -> None:
        """
        Handle a cancellation, which is raised again afterwards.

        :param message: The message of the cancellation, if it has one.
        """

    @abstractmethod
    async def _wait(self) -> dict[str, Any]:
        """Wait, and return what the event has besides the trigger's own keyword arguments."""


class CleanRoomsMLWaitTrigger(_AwsTrigger):
    """
    Wait until a resource is created, deleted or cancelled, or the deadline is over.

    Its event has the ``wait``, with the statuses seen, and the last ``poll_result``, or the ``error`` that ended the wait.

    :param wait: A :class:`~airflow_cleanroomsml._waiting.wait.Wait` as plain values.
    """

    def __init__(self, *, wait: dict[str, Any], **connection: Any) -> None:
        super().__init__(**connection)
        self.wait = wait
        self._killed = False

    def _build_keywords(self) -> dict[str, Any]:
        return {"wait": self.wait}

    async def _handle_cancellation(self, message: object) -> None:
        """
        Call ``on_kill`` if this may be a kill.

        Before Airflow 3.3 a kill only cancels the trigger, as a triggerer that stops does. Since then the cancellation of a kill has a
        message, and if the event loop is blocked, another cancellation comes before ``on_kill`` is called.
        """
        if message or not _HAS_ON_KILL:
            await self.on_kill()

    async def on_kill(self) -> None:
        """Cancel or delete the resource if the task instance has ended for good: Airflow 3.3 also calls this for a clear."""
        # Both run() and Airflow may call this for one kill.
        if not self._killed:
            self._killed = True
            await cancel_from_trigger(self.task_instance, partial(run_with_client, self), Wait(**self.wait))

    async def _wait(self) -> dict[str, Any]:
        wait = Wait(**self.wait)
        history = StatusHistory(wait.history)
        is_final = False
        with subscribe(self, wait) as subscription:
            while not is_final:
                poll_result, is_final = await subscription.next_update()
                now = _clock.now()
                is_new = history.record(poll_result, now)
                # The first line may repeat what the worker has logged: it shows that the triggerer polls.
                self.logger().info("%s.", summarize(wait, poll_result, now, is_repeated=not is_new))
        return {"wait": {**self.wait, "history": history.to_json()}, "poll_result": poll_result.to_json()}


class CleanRoomsMLNewJobsTrigger(_AwsTrigger):
    """
    Wait until there are new audience generation jobs, or the deadline is over.

    Its event has the ``search`` and the ``jobs``, none if the deadline is over, or the ``error`` that ended the wait.

    :param search: A :class:`~airflow_cleanroomsml._waiting.job_search.JobFilter` as plain values.
    :param deadline: When it ends, in seconds since 1970.
    :param delay: Pause between two polls, in seconds.
    """

    def __init__(self, *, search: dict[str, Any], deadline: float, delay: float, **connection: Any) -> None:
        super().__init__(**connection)
        self.search = search
        self.deadline = deadline
        self.delay = delay

    def _build_keywords(self) -> dict[str, Any]:
        return {"search": self.search, "deadline": self.deadline, "delay": self.delay}

    async def _wait(self) -> dict[str, Any]:
        is_final = False
        with subscribe(self, JobSearch(JobFilter(**self.search), self.deadline, self.delay)) as subscription:
            while not is_final:
                poll_result, is_final = await subscription.next_update()
                if poll_result.message:
                    self.logger().info("Polling again: %s", poll_result.message)
        return {"jobs": poll_result.outputs.get("jobs", [])}


class CleanRoomsMLTurnTrigger(_AwsTrigger):
    """
    Wait in the start queue until a task may start its job: one a second, and no more than the quota has room for.

    Its event has ``turn``: False if the deadline was over first. It makes no calls.

    :param noun: What the task starts, a key of :data:`~airflow_cleanroomsml._resources.table.RESOURCES`.
    :param deadline: When the wait ends, in seconds since 1970.
    :param refused: Why the service refused the start, if the task has tried: ``why`` is ``quota`` or ``throttled``, with ``quota_name``
        and ``quota_value``.
    """

    def __init__(self, *, noun: str, deadline: float, refused: dict[str, Any] | None = None, **connection: Any) -> None:
        super().__init__(**connection)
        self.noun = noun
        self.deadline = deadline
        self.refused = refused

    def _build_keywords(self) -> dict[str, Any]:
        return {"noun": self.noun, "deadline": self.deadline, "refused": self.refused}

    async def _wait(self) -> dict[str, Any]:
        reported_at = 0.0
        with join_start_queue(self, self.noun, self.refused) as place:
            while pause := place.pause():
                now = _clock.now()
                if now >= self.deadline:
                    return {"turn": False}
                if now >= reported_at + REPORT_INTERVAL:
                    reported_at = now
                    self.logger().info("Waiting in the start queue: %s.", self.noun)
                await _clock.sleep_async(min(pause, self.deadline - now))
        return {"turn": True}


__all__ = ["CleanRoomsMLNewJobsTrigger", "CleanRoomsMLTurnTrigger", "CleanRoomsMLWaitTrigger"]
