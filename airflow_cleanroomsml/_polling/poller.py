"""The poller: a thread with one client that polls for all waits over a connection."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._connection.aws_connection import connection_digest
from airflow_cleanroomsml._polling.backoff import Pace
from airflow_cleanroomsml._polling.calls import Call, Outbox, Plan
from airflow_cleanroomsml._polling.connecting import connect, is_transient
from airflow_cleanroomsml._polling.planner import Planner
from airflow_cleanroomsml._polling.renewal import Renewal, needs_login
from airflow_cleanroomsml._polling.subscription import Subscription, Update, UpdateQueue
from airflow_cleanroomsml.exceptions import ThrottledError, UnreachableError

if TYPE_CHECKING:
    from airflow_cleanroomsml._polling.client import PollingHook

log = logging.getLogger(__name__)

#: Seconds after which a long plan is interrupted for deadlines, heartbeats and closed loops.
_CHECK_INTERVAL = 5.0
#: Longest sleep, in seconds, so that event loops that were closed during it are noticed.
_LONGEST_SLEEP = 60.0
_NOT_POLLED = "It could not be polled before the time-out."


class Poller:
    """
    A thread that runs from the first subscription to the last.

    A call that hangs holds up all others: for 20 s at most (:mod:`~airflow_cleanroomsml._polling.client`), and once for each operation
    in a plan.

    :param arguments: Those of :class:`~airflow_cleanroomsml._connection.aws_connection.AwsConnection`.
    :param digest: Digest of the Airflow connection; empty if it is not known, or there is none.
    :param lock: Held while subscriptions are added and removed.
    :param on_remove: Called with each subscription that is removed, and the lock held.
    """

    def __init__(
        self,
        arguments: Mapping[str, Any],
        digest: str,
        lock: threading.Lock,
        on_remove: Callable[[Poller, Subscription], None],
    ) -> None:
        self.digest = digest
        self.hook: PollingHook | None = None
        self._arguments = arguments
        self._lock = lock
        self._on_remove = on_remove
        self._subscriptions: set[Subscription] = set()
        self._wake_up = threading.Event()
        self._queues: dict[asyncio.AbstractEventLoop, UpdateQueue] = {}
        self._outbox = Outbox()
        self._planner = Planner(self._outbox)
        self._pace = Pace()
        self._renewal = Renewal()
        self._is_interrupted = False
        self._checked_at = 0.0
        # A daemon, so that a call that hangs does not keep a triggerer from exiting.
        threading.Thread(target=self._run, name="cleanroomsml-poller", daemon=True).start()

    @property
    def is_needed(self) -> bool:
        """Whether there are subscriptions."""
        return bool(self._subscriptions)

    def add(self, subscription: Subscription) -> None:
        """Add a subscription; the caller holds the lock."""
        self._subscriptions.add(subscription)
        subscription.owner = self
        if not self._wake_up.is_set():
            self._wake_up.set()

    def remove(self, subscription: Subscription) -> None:
        """End a subscription. The thread ends after the last one, and accepts no more."""
        with self._lock:
            subscription.is_finished = True
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)
                self._on_remove(self, subscription)
                if not self._subscriptions:
                    self._wake_up.set()

    def _run(self) -> None:
        try:
            while subscriptions := self._list_subscriptions():
                self._step(subscriptions)
        # Without this, waits would hang until Airflow ends their deferrals.
        except Exception as error:
            log.exception("Polling failed; all deferred tasks that share this connection resume with this error.")
            self._fail(error)
        finally:
            self._disconnect()

    def _list_subscriptions(self) -> list[Subscription]:
        with self._lock:
            return list(self._subscriptions)

    def _step(self, subscriptions: list[Subscription]) -> None:
        now = _clock.now()
        ready_at = max(self._pace.ready_at, 0.0 if self.hook else self._renewal.ready_at)
        self._check(subscriptions, is_slowed=now < ready_at and self._is_slowed)
        if not any(each.due_at <= now for each in subscriptions):
            self._sleep_until(min(each.next_event_at for each in subscriptions))
        elif now < ready_at:
            self._sleep_until(min(ready_at, *(each.compute_end(is_slowed=self._is_slowed) for each in subscriptions)))
        elif self.hook is None:
            self._connect(subscriptions)
        else:
            self._follow(self._planner.plan(each for each in subscriptions if not each.is_finished), self.hook)

    @property
    def _is_slowed(self) -> bool:
        return self._pace.is_slowed or self.hook is None

    def _sleep_until(self, time: float) -> None:
        _clock.wait(self._wake_up, min(_LONGEST_SLEEP, max(0.0, time - _clock.now())))
        self._wake_up.clear()

    def _check(self, subscriptions: list[Subscription], *, is_slowed: bool) -> bool:
        """
        Handle what needs no call: deadlines, heartbeats, and loops that were closed.

        :param is_slowed: Whether the service cannot be called now.
        :return: Whether there still are subscriptions.
        """
        now = self._checked_at = _clock.now()
        for each in subscriptions:
            if each.is_finished or each.loop.is_closed():
                self.remove(each)
            elif now >= each.compute_end(is_slowed=is_slowed):
                self._outbox.put(each, each.give_up(now, _NOT_POLLED))
            else:
                self._outbox.put(each, each.repeat_update(now))
        self._send_updates()
        return self.is_needed

    def _connect(self, subscriptions: list[Subscription]) -> None:
        loop = next((each.loop for each in subscriptions if each.loop.is_running()), None)
        if loop is None:
            # Logging in needs a thread of asgiref, and so a loop that runs (docs/design/polling.md).
            self._sleep_until(_clock.now() + 1)
            return

        def check() -> bool:
            return self._check(self._list_subscriptions(), is_slowed=True)

        try:
            self.hook = connect(self._arguments, loop, check, must_exist=bool(self.digest))
            if self.hook is not None:
                self.digest = connection_digest(self.hook) or self.digest
        except Exception as error:
            self._handle_failed_login(error)

    def _handle_failed_login(self, error: Exception) -> None:
        now = _clock.now()
        if needs_login(error):
            self._renewal.record_failure(error, now)
        elif not is_transient(error):
            self._fail(error)
            return
        self._pace.record_throttling(now)
        # As a temporary error, so that the waits continue until their deadlines, or until all attempts to log in are used up.
        due = [each for each in self._list_subscriptions() if each.due_at <= now]
        self._outbox.record_answer(due, UnreachableError(f"{type(error).__name__}: {error}"))
        self._send_updates()

    def _disconnect(self) -> None:
        hook, self.hook = self.hook, None
        if hook is not None:
            hook.close()

    def _follow(self, plan: Plan, hook: PollingHook) -> None:
        """Make the calls of a plan until it ends, or throttling or rejected credentials make it obsolete."""
        self._is_interrupted = False
        call = next(plan, None)
        while call is not None:
            answer = self._make_call(call, hook)
            try:
                call = plan.send(answer)
            except StopIteration:
                call = None
            self._send_updates()
            if self._is_interrupted or not self._pause():
                plan.close()
                return

    def _make_call(self, call: Call, hook: PollingHook) -> Any:
        """Return the answer, or the error, which each wait evaluates for itself."""
        began_at = _clock.now()
        try:
            answer: Any = call.make(hook)
        except Exception as error:
            answer = error
        if isinstance(answer, ThrottledError):
            # The rest of the plan would be throttled, too; a new plan is made after the pause.
            self._pace.record_throttling(_clock.now())
            self._is_interrupted = True
            return answer
        self._pace.record_success(began_at)
        if needs_login(answer):
            self._is_interrupted = True
            self._disconnect()
            self._renewal.record_failure(answer, _clock.now())
            # As a temporary error, because the next login may help; ServiceError would end the wait.
            return UnreachableError(str(answer))
        if not isinstance(answer, UnreachableError):
            self._renewal.record_success()
        return answer

    def _pause(self) -> bool:
        """
        Wait until the next call may be made.

        :return: Whether there still are subscriptions.
        """
        while _clock.now() < self._pace.ready_at and self.is_needed:
            if self._pace.is_slowed:
                subscriptions = self._list_subscriptions()
                self._check(subscriptions, is_slowed=True)
                ends = (each.compute_end(is_slowed=True) for each in subscriptions if not each.is_finished)
                self._sleep_until(min((self._pace.ready_at, *ends)))
            else:
                _clock.sleep(max(0.0, self._pace.ready_at - _clock.now()))
        if _clock.now() >= self._checked_at + _CHECK_INTERVAL:
            self._check(self._list_subscriptions(), is_slowed=False)
        return self.is_needed

    def _send_updates(self) -> None:
        """Send the updates to the event loops of their waits, and remove the subscriptions that have ended."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Subscription, Update]]] = {}
        for subscription, update in self._outbox.take_all():
            by_loop.setdefault(subscription.loop, []).append((subscription, update))
            if update.is_final:
                self.remove(subscription)
        for loop, updates in by_loop.items():
            try:
                self._queues.setdefault(loop, UpdateQueue(loop)).put(updates)
            except RuntimeError:  # the loop is closed
                for subscription, _ in updates:
                    self.remove(subscription)

    def _fail(self, error: Exception) -> None:
        """End all waits with an error."""
        # Repeated, because new waits may begin meanwhile, and this thread is about to end.
        subscriptions = self._list_subscriptions()
        while subscriptions:
            for each in subscriptions:
                self._outbox.put(each, each.fail(error))
            self._send_updates()
            subscriptions = self._list_subscriptions()
