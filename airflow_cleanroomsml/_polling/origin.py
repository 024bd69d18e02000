"""Whether a connection still says what it said when the client of a poller was made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from airflow_cleanroomsml import _clock

if TYPE_CHECKING:
    from airflow_cleanroomsml._polling.subscription import Watch

#: Seconds after which whoever waits for a connection to be read is looked at with the client that is there.
_PATIENCE = 20.0
#: Seconds after which one that could not be read is read again.
_AGAIN = 60.0


class Origin:
    """
    Where the client of a poller comes from.

    A connection may be changed, to another account even, while a client that was made of it still serves waits of before. So it is read
    again for those that begin later.

    :param arguments: Those of :class:`~airflow_cleanroomsml._connection.aws_connection.AwsConnection`.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments
        self._said = ""
        #: Whether there was such a connection once: then it has not been left to boto3 to find credentials.
        self.is_known = False
        self._read = float("inf")
        self._began = 0.0
        self._again = 0.0
        self._answer: Future[str] | None = None

    def made(self, said: str, read: float) -> None:
        """
        A client was made.

        :param said: What the connection says, see :func:`~airflow_cleanroomsml._connection.aws_connection.connection_digest`.
        :param read: When it began to be read, in seconds since 1970.
        """
        self._said, self._read, self._answer = said, read, None
        self.is_known = self.is_known or bool(said)

    def strangers(self, watches: Iterable[Watch]) -> list[Watch]:
        """Those of whom it is not known whether they mean this client."""
        if self._arguments["aws_conn_id"] is None or _clock.now() < self._again:
            return []
        return [watch for watch in watches if watch.begun > self._read]

    def has_changed(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> bool | None:
        """
        Whether the connection says something else now; one that cannot be read does not for a minute.

        :param loop: A loop that runs; it can ask Airflow.
        :param wake: Called from another thread when it is known.
        :return: None where it is not known yet.
        """
        now = _clock.now()
        if self._answer is None:
            asking = _ask(self._arguments)
            try:
                self._answer = asyncio.run_coroutine_threadsafe(asking, loop)
            except RuntimeError:  # the loop was closed just now
                asking.close()
                return None
            self._began = now
            self._answer.add_done_callback(lambda _: wake())
        if not self._answer.done() and now < self._began + _PATIENCE:
            return None
        said, self._answer = _result(self._answer), None
        if not said and self.is_known:
            self._again = now + _AGAIN
            return False
        self._read = self._began
        return bool(said) and said != self._said


async def _ask(arguments: dict[str, Any]) -> str:
    return await sync_to_async(_said, thread_sensitive=False)(arguments)


def _said(arguments: dict[str, Any]) -> str:
    from airflow_cleanroomsml._connection.aws_connection import connection_digest
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

    return connection_digest(CleanRoomsMLHook(arguments["aws_conn_id"]))


def _result(answer: Future[str]) -> str:
    try:
        return answer.result(timeout=0)
    except (Exception, CancelledError):
        answer.cancel()
        return ""
