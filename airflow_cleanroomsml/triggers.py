"""The trigger of all waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_cleanroomsml.resources import Outcome
from airflow_cleanroomsml.waiting import Observation, Wait, described, observe

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook


class CleanRoomsMLWaitTrigger(BaseTrigger):
    """
    Wait until a resource is created or deleted, or the deadline is over.

    Reads go through boto3 in a thread. Its event has the ``wait`` and ``observation``, the last look, or ``error``, why it could not look.

    :param wait: A :class:`~airflow_cleanroomsml.waiting.Wait` as plain values.
    :param aws_conn_id: Airflow connection of type ``aws``.
    :param region_name: AWS region.
    :param verify: Whether or with which certificates to verify TLS.
    :param botocore_config: Arguments of ``botocore.config.Config``.
    """

    def __init__(
        self,
        *,
        wait: dict[str, Any],
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.wait = wait
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and keywords; both stay readable for later releases."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "wait": self.wait,
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "botocore_config": self.botocore_config,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the outcome is known or the deadline is over."""
        try:
            observation = await self._watch(Wait(**self.wait))
        except Exception as error:  # an event is the only way to tell the task
            self.log.exception("Cannot look at what is waited for.")
            yield TriggerEvent({"wait": self.wait, "error": f"{type(error).__name__}: {error}"})
        else:
            yield TriggerEvent({"wait": self.wait, "observation": observation.plain()})

    async def _watch(self, wait: Wait) -> Observation:
        hook = seen = None
        while True:
            try:
                hook = hook or await self._hook()
            except Exception as error:
                if not _passes(error):
                    raise
                observation = Observation("", Outcome.AGAIN.value, message=f"{type(error).__name__}: {error}")
            else:
                observation = await asyncio.to_thread(observe, hook, wait)
            if seen != (observation.status, observation.message):
                self.log.info("%s.", described(wait, observation, time.time()))
                seen = (observation.status, observation.message)
            if observation.outcome != Outcome.AGAIN.value or time.time() >= wait.deadline:
                return observation
            await asyncio.sleep(wait.pause(time.time()))

    async def _hook(self) -> CleanRoomsMLHook:
        # The connection comes from the supervisor, which a bare thread cannot reach; asgiref's can.
        from asgiref.sync import sync_to_async

        return await sync_to_async(self._connected_hook)()

    def _connected_hook(self) -> CleanRoomsMLHook:
        from airflow_cleanroomsml.hooks import CleanRoomsMLHook

        hook = CleanRoomsMLHook(
            self.aws_conn_id, region_name=self.region_name, verify=self.verify, config=self.botocore_config
        )
        _ = hook.conn
        return hook


def _passes(error: Exception) -> bool:
    """Whether a fault of fetching credentials may be over soon: lost connections, throttling, a failing service."""
    from botocore.exceptions import ClientError, HTTPClientError
    from botocore.exceptions import ConnectionError as BotoConnectionError

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status == 429 or status >= 500 or "Throttl" in error.response.get("Error", {}).get("Code", "")
    return isinstance(error, (BotoConnectionError, HTTPClientError))


__all__ = ["CleanRoomsMLWaitTrigger"]
