"""The triggers of all waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_cleanroomsml import clock
from airflow_cleanroomsml.connection import AwsConnection
from airflow_cleanroomsml.resources import Outcome
from airflow_cleanroomsml.waiting import PASSING, Observation, Wait, described, observe

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook


class _AwsTrigger(AwsConnection, BaseTrigger):
    """
    A trigger that reads through boto3 in a thread.

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

    def _own(self) -> dict[str, Any]:
        """The keywords beside those of the connection; each trigger has its own."""
        raise NotImplementedError

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and keywords; both stay readable for later releases."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {**self._own(), **self.connection}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something to say, or the deadline is over."""
        own = self._own()
        try:
            found = await self._watch()
        except Exception as error:  # an event is the only way to tell the task
            self.log.exception("Cannot look at what is waited for.")
            yield TriggerEvent({**own, "error": f"{type(error).__name__}: {error}"})
        else:
            yield TriggerEvent({**own, **found})

    async def _watch(self) -> dict[str, Any]:
        """What the event says beside the trigger's own keywords; each trigger has its own."""
        raise NotImplementedError

    async def _connected(self) -> CleanRoomsMLHook:
        # The connection comes from the supervisor, which a bare thread cannot reach; asgiref's can.
        from asgiref.sync import sync_to_async

        return await sync_to_async(self._connected_hook)()

    def _connected_hook(self) -> CleanRoomsMLHook:
        hook = self.hook
        _ = hook.conn
        return hook


class CleanRoomsMLWaitTrigger(_AwsTrigger):
    """
    Wait until a resource is created, deleted or cancelled, or the deadline is over.

    Its event has the ``wait`` and ``observation``, the last look, or ``error``, why it could not look.

    :param wait: A :class:`~airflow_cleanroomsml.waiting.Wait` as plain values.
    """

    def __init__(self, *, wait: dict[str, Any], **connection: Any) -> None:
        super().__init__(**connection)
        self.wait = wait

    def _own(self) -> dict[str, Any]:
        return {"wait": self.wait}

    async def _watch(self) -> dict[str, Any]:
        wait = Wait(**self.wait)
        seen = None
        while True:
            observation = await self._observation(wait)
            if seen != (observation.status, observation.message):
                self.log.info("%s.", described(wait, observation, clock.now()))
                seen = (observation.status, observation.message)
            if observation.outcome != Outcome.AGAIN.value or clock.now() >= wait.deadline:
                return {"observation": observation.plain()}
            await asyncio.sleep(wait.pause(clock.now()))

    async def _observation(self, wait: Wait) -> Observation:
        try:
            hook = await self._connected()
        except Exception as error:
            if not _passes(error):
                raise
            return Observation("", Outcome.AGAIN.value, message=f"{type(error).__name__}: {error}")
        return await asyncio.to_thread(observe, hook, wait)


class CleanRoomsMLNewJobsTrigger(_AwsTrigger):
    """
    Wait until there are new audience generation jobs, or the deadline is over.

    Its event has the ``search`` and ``jobs``, none where the deadline came, or ``error``, why it could not look.

    :param search: A :class:`~airflow_cleanroomsml.new_jobs.Search` as plain values.
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
        from airflow_cleanroomsml.new_jobs import Search, found

        search = Search(**self.search)
        while True:
            jobs: list[dict[str, Any]] = []
            try:
                jobs = await asyncio.to_thread(found, await self._connected(), search)
            except Exception as error:
                if not _passes(error):
                    raise
                self.log.info("Looking again: %s: %s", type(error).__name__, error)
            if jobs or clock.now() >= self.deadline:
                return {"jobs": jobs}
            await asyncio.sleep(max(0.0, min(self.delay, self.deadline - clock.now())))


def _passes(error: Exception) -> bool:
    """Whether a fault may be over soon: lost connections, throttling, a failing service."""
    from botocore.exceptions import ClientError, HTTPClientError
    from botocore.exceptions import ConnectionError as BotoConnectionError

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status == 429 or status >= 500 or "Throttl" in error.response.get("Error", {}).get("Code", "")
    return isinstance(error, (*PASSING, BotoConnectionError, HTTPClientError))


__all__ = ["CleanRoomsMLNewJobsTrigger", "CleanRoomsMLWaitTrigger"]
