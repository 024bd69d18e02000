"""The poller: one thread and one client for all waits of a process over a connection."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._connection.aws_connection import AwsConnection, connection_digest
from airflow_cleanroomsml._polling import start_queue
from airflow_cleanroomsml._polling.backoff import Pace
from airflow_cleanroomsml._polling.calls import Call, Outbox, Plan
from airflow_cleanroomsml._polling.connecting import connect, passes
from airflow_cleanroomsml._polling.origin import Origin
from airflow_cleanroomsml._polling.planner import Planner
from airflow_cleanroomsml._polling.renewal import Renewal, expired
from airflow_cleanroomsml._polling.subscription import Mail, Subscription, Update
from airflow_cleanroomsml._waiting.job_search import JobSearch
from airflow_cleanroomsml._waiting.wait import Wait
from airflow_cleanroomsml.exceptions import ThrottledError, UnreachableError

if TYPE_CHECKING:
    from airflow_cleanroomsml._polling.client import PollingHook

log = logging.getLogger(__name__)

#: Seconds after which a long plan is left for a moment, to see to that.
_TENDING = 5.0
#: Pollers of a connection at most. Where it says something else each time, as of a secrets backend that makes new keys whenever it is
#: asked, each batch of waits would get its own.
_AT_MOST = 3
#: Longest sleep, in seconds: loops that were closed are noticed then.
_SLEEP = 60.0
_UNSEEN = "It could not be polled before the time-out."


class Poller:
    """
    A thread, from the first wait of a connection to the last.

    A call that hangs holds up all others: for 20 s at most (:mod:`~airflow_cleanroomsml._polling.client`), and once for each operation
    and round, since what waits on the same operation is left alone until its next turn.

    :param key: The connection, as text.
    :param arguments: The connection, as the hook takes it.
    """

    def __init__(self, key: str, arguments: dict[str, Any]) -> None:
        self.key = key
        self._arguments = arguments
        self._watches: set[Subscription] = set()
        self._wake = threading.Event()
        self._mail: dict[asyncio.AbstractEventLoop, Mail] = {}
        self._outbox = Outbox()
        self._planner = Planner(self._outbox)
        self._pace = Pace()
        self._renewal = Renewal()
        self._origin = Origin(arguments)
        self._hook: PollingHook | None = None
        self._interrupted = False
        self._tended = 0.0
        threading.Thread(target=self._run, name="cleanroomsml-poller", daemon=True).start()

    @property
    def is_needed(self) -> bool:
        """Whether anybody waits."""
        return bool(self._watches)

    def add(self, watch: Subscription, *, begins: bool = True) -> None:
        """
        Take a wait; the caller holds the lock.

        :param begins: Whether no other poller had it, by a connection that there was.
        """
        if not begins:
            self._origin.is_known = True
        self._watches.add(watch)
        watch.leave = self.remove
        if not self._wake.is_set():
            self._wake.set()
        if watch.job and begins:
            start_queue.began(self.key, watch.job)

    def remove(self, watch: Subscription) -> None:
        """End a wait; with the last one the poller is gone."""
        with _process.lock:
            watch.over = True
            if watch not in self._watches:
                return
            self._watches.remove(watch)
            if watch.job:
                start_queue.ended(self.key, watch.job)
            if not self._watches:
                self._retire()

    def _retire(self) -> None:
        """Take no more waits: the next one gets a new poller. The caller holds the lock."""
        if _process.pollers.get(self.key) is self:
            del _process.pollers[self.key]
        self._wake.set()

    def _run(self) -> None:
        try:
            while watches := self._under_way():
                self._round(watches)
        except Exception as error:  # all who wait have to be told
            log.exception("The poller has failed.")
            self._fail(error)
        finally:
            self._disconnect()
            with _process.lock:
                self._retire()
                _process.alive.discard(self)

    def _under_way(self) -> list[Subscription]:
        with _process.lock:
            return list(self._watches)

    def _round(self, watches: list[Subscription]) -> None:
        now = _clock.now()
        ready = max(self._pace.ready, 0.0 if self._hook else self._renewal.ready)
        self._tend(watches, slowed=now < ready and self._is_slow)
        if not any(watch.due <= now for watch in watches):
            self._sleep(min(watch.next for watch in watches))
        elif now < ready:
            self._sleep(min(ready, *(watch.patience(slowed=self._is_slow) for watch in watches)))
        elif self._hook is None:
            self._connect(watches)
        else:
            self._look(watches, self._hook)

    @property
    def _is_slow(self) -> bool:
        return self._pace.is_slowed or self._hook is None

    def _sleep(self, until: float) -> None:
        _clock.wait(self._wake, min(_SLEEP, max(0.0, until - _clock.now())))
        self._wake.clear()

    def _tend(self, watches: list[Subscription], *, slowed: bool) -> bool:
        """
        What does not need the service: deadlines, heartbeats, loops that are gone.

        :param slowed: Whether no look is to be had now.
        :return: Whether anybody still waits.
        """
        now = self._tended = _clock.now()
        for watch in watches:
            if watch.over or watch.loop.is_closed():
                self.remove(watch)
            elif now >= watch.patience(slowed=slowed):
                self._outbox.news.append((watch, watch.give_up(now, _UNSEEN)))
            elif news := watch.heartbeat(now):
                self._outbox.news.append((watch, news))
        self._send()
        return bool(self._watches)

    def _look(self, watches: list[Subscription], hook: PollingHook) -> None:
        strangers = self._strangers(watches)
        known = [watch for watch in watches if watch not in strangers and not watch.over]
        if any(watch.due <= _clock.now() for watch in known):
            self._follow(self._planner.plan(known), hook)
        elif strangers:
            self._sleep(min((_clock.now() + 1.0, *(watch.next for watch in known))))

    def _strangers(self, watches: list[Subscription]) -> set[Subscription]:
        """Those who began after the client was made, until it is known that they mean it; another poller takes those who do not."""
        strangers = self._origin.strangers(watches)
        loop = _loop_of(strangers)
        changed = self._origin.has_changed(loop, self._wake.set) if loop else None
        if changed and self._has_too_many_forebears:
            log.info("The connection keeps changing: new waits use its earlier settings.")
            return set()
        if changed:
            log.info("The connection has changed: new waits use its current settings.")
            self._hand_over(strangers)
        return set() if changed is False else set(strangers)

    @property
    def _has_too_many_forebears(self) -> bool:
        with _process.lock:
            mine = [poller for poller in _process.alive if poller.key == self.key]
            return len(mine) >= _AT_MOST and _process.pollers.get(self.key) is self

    def _hand_over(self, strangers: list[Subscription]) -> None:
        with _process.lock:
            left = [watch for watch in strangers if watch in self._watches]
            # A poller without a wait would end at once.
            if not left:
                return
            if _process.pollers.get(self.key) is self:
                del _process.pollers[self.key]
            heir = _process.poller(self.key, self._arguments)
            for watch in left:
                self._watches.remove(watch)
                heir.add(watch, begins=False)

    def _connect(self, watches: list[Subscription]) -> None:
        loop = _loop_of(watches)
        if loop is None:
            self._sleep(_clock.now() + 1)
            return
        began = _clock.now()
        try:
            self._hook = connect(
                self._arguments,
                loop,
                lambda: self._tend(self._under_way(), slowed=True),
                is_known=self._origin.is_known,
            )
            if self._hook is not None:
                self._origin.made(connection_digest(self._hook), began)
        except Exception as error:
            self._not_connected(error)

    def _not_connected(self, error: Exception) -> None:
        now = _clock.now()
        if expired(error):
            self._refused(error)
        elif not passes(error):
            self._fail(error)
            return
        self._pace.throttled(now)
        lost = UnreachableError(f"{type(error).__name__}: {error}")
        self._outbox.tell([watch for watch in self._under_way() if watch.due <= now], lost)
        self._send()

    def _disconnect(self) -> None:
        hook, self._hook = self._hook, None
        if hook is not None:
            hook.close()

    def _refused(self, error: Exception) -> None:
        """Take new credentials the next time, unless they were refused too often."""
        self._disconnect()
        self._renewal.refused(error, _clock.now())

    def _follow(self, plan: Plan, hook: PollingHook) -> None:
        """Make the calls of a plan, until throttling or bad credentials make it an old one."""
        self._interrupted = False
        call = next(plan, None)
        while call is not None:
            found = self._made(call, hook)
            try:
                call = plan.send(found)
            except StopIteration:
                call = None
            self._send()
            if self._interrupted or not self._rested():
                plan.close()
                return

    def _made(self, call: Call, hook: PollingHook) -> Any:
        try:
            found: Any = call.make(hook)
        except Exception as error:  # each wait judges what is its own
            found = error
        if isinstance(found, ThrottledError):
            self._pace.throttled(_clock.now())
            self._interrupted = True
            return found
        self._pace.went(_clock.now())
        if expired(found):
            self._interrupted = True
            self._refused(found)
            return UnreachableError(str(found))
        if not isinstance(found, UnreachableError):
            self._renewal.worked()
        return found

    def _rested(self) -> bool:
        """Wait for the next call; whether there still is somebody to make it for."""
        while _clock.now() < self._pace.ready and self._watches:
            if self._pace.is_slowed:
                watches = self._under_way()
                self._tend(watches, slowed=True)
                self._sleep(
                    min((self._pace.ready, *(watch.patience(slowed=True) for watch in watches if not watch.over)))
                )
            else:
                _clock.sleep(max(0.0, self._pace.ready - _clock.now()))
        if _clock.now() >= self._tended + _TENDING:
            self._tend(self._under_way(), slowed=False)
        return bool(self._watches)

    def _send(self) -> None:
        """Tell the waits their news, those of a loop together; whose news are final is gone."""
        news, self._outbox.news = self._outbox.news, []
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Subscription, Update]]] = {}
        for watch, item in news:
            by_loop.setdefault(watch.loop, []).append((watch, item))
            if item.final:
                self.remove(watch)
        for loop, items in by_loop.items():
            try:
                self._mail.setdefault(loop, Mail(loop)).post(items)
            except RuntimeError:  # the loop is closed: nobody is there to be told
                for watch, _ in items:
                    self.remove(watch)

    def _fail(self, error: Exception) -> None:
        with _process.lock:
            self._retire()
            watches = list(self._watches)
        self._outbox.news = [(watch, watch.fail(error)) for watch in watches]
        self._send()


def _loop_of(watches: Iterable[Subscription]) -> asyncio.AbstractEventLoop | None:
    """A loop that runs."""
    return next((watch.loop for watch in watches if watch.loop.is_running()), None)


class _Process:
    """The pollers of this process; a child process has none of its parent's threads."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.lock = threading.Lock()
        self.pollers: dict[str, Poller] = {}
        #: All that have not ended; of each connection one takes new waits.
        self.alive: set[Poller] = set()

    def poller(self, key: str, arguments: dict[str, Any]) -> Poller:
        """The poller of a connection; the caller holds the lock."""
        poller = self.pollers.get(key)
        if poller is None:
            poller = self.pollers[key] = Poller(key, arguments)
            self.alive.add(poller)
        return poller


_process = _Process()
os.register_at_fork(after_in_child=_process.forget)


def subscribe(connection: AwsConnection, subject: Wait | JobSearch) -> Subscription:
    """
    Have something watched from now on to the end of the block that this begins; it runs in an event loop.

    :param connection: How the service is reached.
    :param subject: What is waited for.
    """
    watch, key = Subscription(subject, asyncio.get_running_loop()), connection.connection_key
    with _process.lock:
        _process.poller(key, connection.connection).add(watch)
    return watch
