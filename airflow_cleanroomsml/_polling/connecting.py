"""How a thread of our own comes to a client: by way of a loop that can ask Airflow for the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import CancelledError, wait
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from airflow_cleanroomsml._waiting.outcome import TRANSIENT_ERRORS

if TYPE_CHECKING:
    from airflow_cleanroomsml._polling.client import PollingHook

#: Seconds between two looks whether the loop still is there.
_GLANCE = 0.5


def connect(
    arguments: dict[str, Any], loop: asyncio.AbstractEventLoop, meanwhile: Callable[[], bool], *, is_known: bool
) -> Any:
    """
    Make a hook and its client.

    The connection comes from the supervisor of the triggerer, which a bare thread cannot reach; a thread of asgiref can.

    :param arguments: Those of :class:`~airflow_cleanroomsml._connection.aws_connection.AwsConnection`.
    :param loop: A loop that runs.
    :param meanwhile: Called again and again; False ends it.
    :param is_known: Whether there was such a connection before.
    :return: The hook; None where the loop has ended, or it was ended.
    """
    try:
        future = asyncio.run_coroutine_threadsafe(_make(arguments, is_known=is_known), loop)
        while not wait([future], _GLANCE).done:
            if not meanwhile() or not loop.is_running():
                future.cancel()
                return None
        return future.result()
    except CancelledError:
        return None


async def _make(arguments: dict[str, Any], *, is_known: bool) -> PollingHook:
    # A thread of its own: a login that hangs is not to hold up what others ask of the supervisor.
    return await sync_to_async(_connected, thread_sensitive=False)(arguments, is_known=is_known)


def _connected(arguments: dict[str, Any], *, is_known: bool) -> PollingHook:
    from airflow_cleanroomsml._polling.client import connected

    return connected(arguments, is_known=is_known)


def passes(error: Exception) -> bool:
    """Whether a fault may be over soon: lost connections, throttling, a failing service."""
    from botocore.exceptions import ClientError, HTTPClientError
    from botocore.exceptions import ConnectionError as BotoConnectionError

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status == 429 or status >= 500 or "Throttl" in error.response.get("Error", {}).get("Code", "")
    return isinstance(error, (*TRANSIENT_ERRORS, BotoConnectionError, HTTPClientError))
