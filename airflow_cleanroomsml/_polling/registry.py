"""
What the waits, starts and cancellations of a process share, by connection.

This is the only state of the package that belongs to the whole process. A forked process starts without it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._connection.aws_connection import AwsConnection, connection_digest, require_connection
from airflow_cleanroomsml._polling.connecting import read_digest, run_in_thread
from airflow_cleanroomsml._polling.poller import Poller
from airflow_cleanroomsml._polling.start_queue import Place, StartQueue
from airflow_cleanroomsml._polling.subscription import Subscription
from airflow_cleanroomsml._waiting.job_search import JobSearch, JobWatch
from airflow_cleanroomsml._waiting.wait import Wait

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

log = logging.getLogger(__name__)

#: Seconds for which an Airflow connection is not read again for waits that begin.
_DIGEST_AGE = 60.0
#: Most pollers per connection: a secrets backend that returns new keys at each read would otherwise add one each minute.
_MOST_POLLERS = 3


class SharedConnection:
    """
    What is shared over one connection.

    An Airflow connection can be changed while waits use it, even to another account, where a deletion would look complete and a job lost.
    So a wait gets a poller with the settings that the Airflow connection has when the wait begins, and keeps it. While the Airflow
    connection cannot be read, that is the newest poller.

    :param arguments: Those of :class:`~airflow_cleanroomsml._connection.aws_connection.AwsConnection`.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.lock = threading.Lock()
        #: Running pollers, the newest last.
        self.pollers: list[Poller] = []
        self._arguments = arguments
        self._new: list[Subscription] = []
        self._digest: Future[str] | None = None
        self._digest_loop: asyncio.AbstractEventLoop | None = None
        self._digest_read_at = 0.0
        self._start_queues: dict[str, StartQueue] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._hook: CleanRoomsMLHook | None = None
        # Separate from the other lock, because a login that hangs must not keep waits from being added.
        self._hook_lock = threading.Lock()

    def subscribe(self, subscription: Subscription) -> None:
        """Add a subscription to the right poller, at once or as soon as the Airflow connection has been read."""
        with self.lock:
            subscription.owner = self
            self._new.append(subscription)
            if self._must_read_digest(subscription.loop):
                self._digest = read_digest(self._arguments["aws_conn_id"], subscription.loop)
                self._digest_loop, self._digest_read_at = subscription.loop, _clock.now()
                self._digest.add_done_callback(lambda _: self._handle_digest())
            elif self._digest is None or self._digest.done():
                self._assign_new()

    def _must_read_digest(self, loop: asyncio.AbstractEventLoop) -> bool:
        if self._arguments["aws_conn_id"] is None:
            return False
        if self._digest is None or self._digest.cancelled() or _clock.now() >= self._digest_read_at + _DIGEST_AGE:
            return True
        # The loop that reads it may have been closed.
        return not self._digest.done() and loop is not self._digest_loop

    def _handle_digest(self) -> None:
        with self.lock:
            if self._digest is not None and self._digest.done():
                self._assign_new()

    def _assign_new(self) -> None:
        new, self._new = [each for each in self._new if not each.is_finished], []
        if new:
            poller = self._find_poller(_read_digest_result(self._digest))
            for subscription in new:
                poller.add(subscription)

    def _find_poller(self, digest: str) -> Poller:
        # The newest first: it is used if the connection cannot be read.
        for poller in reversed(self.pollers):
            if not digest or poller.digest == digest:
                return poller
        name = self._arguments["aws_conn_id"]
        if len(self.pollers) == _MOST_POLLERS:
            log.info(
                "The Airflow connection %r has changed more than %d times during the current waits; new waits use its previous settings.",
                name,
                _MOST_POLLERS - 1,
            )
            return self.pollers[-1]
        if self.pollers:
            log.info("The Airflow connection %r has changed; new waits use its current settings.", name)
        # Pollers with earlier settings run until the waits that began with them have ended.
        self.pollers.append(Poller(self._arguments, digest, self.lock, self._handle_removal))
        return self.pollers[-1]

    def remove(self, subscription: Subscription) -> None:
        """End a subscription that has no poller yet."""
        subscription.is_finished = True

    def _handle_removal(self, poller: Poller, subscription: Subscription) -> None:
        """Note, with the lock held, that a poller has removed a subscription."""
        if subscription.job_noun in self._start_queues:
            self._start_queues[subscription.job_noun].record_end()
        if not poller.is_needed:
            self.pollers.remove(poller)
            if not self.pollers and not self._new:
                self._digest = None

    def start_queue(self, noun: str) -> StartQueue:
        """Return the queue for the starts of one kind of job."""
        with self.lock:
            return self._start_queues.setdefault(noun, StartQueue())

    def run_with_client(self, function: Callable[[Callable[[], CleanRoomsMLHook]], None]) -> asyncio.Task[None]:
        """Run a function in a thread; see :func:`run_with_client`."""
        task = asyncio.ensure_future(run_in_thread(function, self._get_hook))
        # An event loop itself keeps no reference to a task.
        self._tasks.add(task)
        task.add_done_callback(self._handle_end)
        return task

    def _get_hook(self) -> CleanRoomsMLHook:
        with self._hook_lock:
            if self._hook is None:
                self._hook = self._make_hook()
            return self._hook

    def _make_hook(self) -> CleanRoomsMLHook:
        from airflow_cleanroomsml.hooks import CleanRoomsMLHook

        given = dict(self._arguments)
        hook = CleanRoomsMLHook(given.pop("aws_conn_id"), config=given.pop("botocore_config"), **given)
        require_connection(hook)
        digest = connection_digest(hook)
        for poller, polling_hook in [(poller, poller.hook) for poller in self.pollers]:
            if polling_hook is not None and poller.digest == digest:
                polling_hook.share_session(hook)
        _ = hook.conn
        return hook

    def _handle_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            # The next call reads the connection again, which may have changed.
            self._hook = None


def _read_digest_result(digest: Future[str] | None) -> str:
    return "" if digest is None or digest.cancelled() or digest.exception() else digest.result()


class Registry:
    """
    The connections that this process uses.

    They are never removed: there is one for each distinct set of arguments, and one without pollers and tasks holds neither a client nor
    a login.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything: a forked process has none of its parent's threads, and its locks may be held by them."""
        self._lock = threading.Lock()
        self._connections: dict[str, SharedConnection] = {}

    def connection(self, connection: AwsConnection) -> SharedConnection:
        """Return what is shared over a connection."""
        key, arguments = connection.connection_key, connection.connection
        with self._lock:
            return self._connections.setdefault(key, SharedConnection(arguments))

    @property
    def pollers(self) -> list[Poller]:
        """The pollers that run."""
        with self._lock:
            return [poller for each in self._connections.values() for poller in each.pollers]


registry = Registry()
os.register_at_fork(after_in_child=registry.clear)


def subscribe(connection: AwsConnection, subject: Wait | JobSearch | JobWatch) -> Subscription:
    """
    Begin to poll for something; the ``with`` block of the subscription ends it. To be called in an event loop.

    :param connection: How the service is reached.
    :param subject: What to wait for.
    """
    subscription = Subscription(subject, asyncio.get_running_loop())
    registry.connection(connection).subscribe(subscription)
    return subscription


def join_start_queue(connection: AwsConnection, noun: str, refusal: Mapping[str, Any] | None) -> Place:
    """
    Take the last place in the queue for the start of a job; the ``with`` block of the place gives it up.

    :param connection: How the service is reached.
    :param noun: Key of :data:`~airflow_cleanroomsml._resources.table.RESOURCES`.
    :param refusal: As for :meth:`~airflow_cleanroomsml._polling.start_queue.StartQueue.join`.
    """
    return registry.connection(connection).start_queue(noun).join(_clock.now(), refusal)


def run_with_client(
    connection: AwsConnection, function: Callable[[Callable[[], CleanRoomsMLHook]], None]
) -> asyncio.Task[None]:
    """
    Run a function in a thread that may call the service and Airflow. To be called in an event loop.

    Functions that run at the same time share a hook, which has the login of a poller if there is one with the same settings: hundreds of
    cancellations may come at once, and a client for each would take too long.

    :param connection: How the service is reached.
    :param function: Takes a function that returns the hook, with its client.
    """
    return registry.connection(connection).run_with_client(function)
