"""Read an Airflow connection and log in, which only threads of asgiref can do in a triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, wait
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import sync_to_async

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._waiting.outcome import TRANSIENT_ERRORS

if TYPE_CHECKING:
    from airflow_cleanroomsml._polling.client import PollingHook

T = TypeVar("T")

#: Seconds between two checks whether the event loop still runs.
_CHECK_INTERVAL = 0.5
#: Seconds after which an Airflow connection that is still being read counts as one that cannot be read.
_READ_TIMEOUT = 20.0


def read_digest(aws_conn_id: str, loop: asyncio.AbstractEventLoop) -> Future[str]:
    """
    Start to read an Airflow connection.

    :param loop: The event loop that runs in this thread.
    :return: The digest of the connection, see :func:`~airflow_cleanroomsml._connection.aws_connection.connection_digest`; empty if there is
        no such connection, or it cannot be read.
    """
    return asyncio.run_coroutine_threadsafe(_read_digest_in_time(aws_conn_id), loop)


async def _read_digest_in_time(aws_conn_id: str) -> str:
    # A secrets backend that hangs cannot be interrupted: its thread remains, and a late answer is dropped.
    reading = asyncio.ensure_future(run_in_thread(_read_digest, aws_conn_id))
    return reading.result() if await _clock.wait_async(reading, _READ_TIMEOUT) else ""


def _read_digest(aws_conn_id: str) -> str:
    from airflow_cleanroomsml._connection.aws_connection import connection_digest
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

    try:
        return connection_digest(CleanRoomsMLHook(aws_conn_id))
    except Exception:  # the poller will meet the same error, and report it
        return ""


async def run_in_thread(function: Callable[..., T], *args: Any) -> T:
    """
    Run a function in a thread of asgiref, the only kind that the supervisor of a triggerer answers.

    By default asgiref has one thread for everything: a login that hangs would hold up all other connections.
    """
    return await sync_to_async(function, thread_sensitive=False)(*args)


def connect(
    arguments: Mapping[str, Any],
    loop: asyncio.AbstractEventLoop,
    meanwhile: Callable[[], bool],
    *,
    must_exist: bool,
) -> PollingHook | None:
    """
    Make a hook and its client, and log in. To be called by the poller's thread.

    :param arguments: Those of :class:`~airflow_cleanroomsml._connection.aws_connection.AwsConnection`.
    :param loop: An event loop that runs in another thread.
    :param meanwhile: Called repeatedly until there is a client; if it returns False, the wait for the client ends.
    :param must_exist: As for :func:`~airflow_cleanroomsml._polling.client.make_hook`.
    :return: The hook; None if the loop was closed, or ``meanwhile`` returned False.
    """
    try:
        future = asyncio.run_coroutine_threadsafe(
            run_in_thread(partial(_connect, arguments, must_exist=must_exist)), loop
        )
        # In steps, because waits still reach their deadlines while a login hangs.
        while not wait([future], _CHECK_INTERVAL).done:
            if not meanwhile() or not loop.is_running():
                future.cancel()
                return None
        return future.result()
    except CancelledError:
        return None


def _connect(arguments: Mapping[str, Any], *, must_exist: bool) -> PollingHook:
    from airflow_cleanroomsml._polling.client import make_hook

    return make_hook(arguments, must_exist=must_exist)


def is_transient(error: Exception) -> bool:
    """Whether a failed login may succeed soon: the connection was lost, or the service throttles or fails."""
    from botocore.exceptions import ClientError, HTTPClientError
    from botocore.exceptions import ConnectionError as BotoConnectionError

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status == 429 or status >= 500 or "Throttl" in error.response.get("Error", {}).get("Code", "")
    return isinstance(error, (*TRANSIENT_ERRORS, BotoConnectionError, HTTPClientError))
