"""The base of operators that start a job: it takes time, costs money, and may have to wait for quota."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import FAILED_DEFERRAL, AirflowTaskTerminated, cached, conf, is_deferral_timeout
from airflow_cleanroomsml._ui.link import push_details_link
from airflow_cleanroomsml._xcom import delete_note, keep_note, read_note
from airflow_cleanroomsml.exceptions import (
    CleanRoomsMLError,
    InvalidRequestError,
    NoQuotaError,
    QuotaExceededError,
    ServiceError,
    ThrottledError,
    format_details,
    join_lines,
)
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.operators._on_kill import Canceller

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._idempotency.create_once import CreateOnce
    from airflow_cleanroomsml._resources.handle import Handle
    from airflow_cleanroomsml._waiting.wait import Wait
    from airflow_cleanroomsml.operators._wait import Waiter

#: How long a start waits for quota by default. Not the time-out of a job: many jobs, a few at a time, take longer than any one of them may.
WEEK = 604_800.0
#: Above any useful value, and low enough that a deadline is still a valid time.
_TEN_YEARS = 10 * 365 * 86_400
#: The first and the longest pause before the worker retries a start that was refused for lack of quota, in seconds.
_PAUSES = (30.0, 300.0)
_WAIT_LONGER = "To wait longer, increase quota_timeout (in seconds) and, if it is set, execution_timeout."
_RETRY = "A retry waits again."
#: Key in the note of a deferred task that waits in the start queue. Not renamed, because tasks may be deferred during an upgrade.
_QUEUED = "turn"


class CleanRoomsMLJobOperator(CleanRoomsMLCreateOperator):
    """
    An operation that starts a job.

    :param wait_for_completion: Wait until the job is done; otherwise the task ends when the service has accepted the request.
    :param waiter_delay: Longest pause between two polls, in seconds; a job that has just started is polled more often.
    :param waiter_max_attempts: Number of polls; multiplied by ``waiter_delay`` it is the time-out of the wait in seconds. By default, the
        time-out is the longest duration in AWS's documentation plus a margin. ``execution_timeout`` ends the wait, too.
    :param deferrable: Wait in the triggerer.
    :param cancel_on_kill: Cancel the job when the task is marked failed or success, its run is deleted, or it times out. Only trained
        models and inference jobs can be cancelled. A retry, a clear and a restart of Airflow continue the wait.
    :param delete_on_kill: Delete resources that cannot be cancelled: audience models, generation jobs, data of input channels; the service
        may refuse to.
    :param quota_timeout: Seconds for which a start waits while a quota for running jobs is used up, a week by default; 0 fails at once.
        ``execution_timeout`` ends it, too. With ``deferrable`` it waits in the triggerer, and mapped tasks queue from the beginning.
    """

    has_details = True

    def __init__(
        self,
        *,
        wait_for_completion: bool = True,
        waiter_delay: float | None = None,
        waiter_max_attempts: int | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        cancel_on_kill: bool = True,
        delete_on_kill: bool = False,
        quota_timeout: float = WEEK,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.waiter_delay = waiter_delay
        self.waiter_max_attempts = waiter_max_attempts
        self.deferrable = deferrable
        self.cancel_on_kill = cancel_on_kill
        self.delete_on_kill = delete_on_kill
        self.quota_timeout = quota_timeout
        self._create_once: CreateOnce | None = None
        #: When a start stops waiting for quota, in seconds since 1970.
        self._quota_deadline: float | None = None
        #: Whether the service has refused the start before, so that the log already has the whole error.
        self._is_refused = False
        #: Whether the start queue has let this task through.
        self._has_passed_queue = False

    @property
    def creates_another_on_retry(self) -> bool:
        """Whether a retry would not find what this try has created."""
        return not self.durable and self.if_exists == "fail"

    def check_arguments(self) -> None:
        """Refuse arguments that are not valid; see the base."""
        super().check_arguments()
        self._waiter.check_arguments()
        self._canceller.check_arguments()
        value = self.quota_timeout
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _TEN_YEARS:
            raise InvalidRequestError(
                f"quota_timeout: {value!r} is not valid; must be a number of seconds from 0 to ten years, not a template"
            )

    def estimate_timeout(self, handle: Handle, *, knows_request: bool) -> float:
        """
        Return the longest time that the job may take, in seconds.

        :param knows_request: Whether the current request created it.
        """
        return self.resource.timeout

    def execute(self, context: Context) -> Any:
        """Start the job and wait for it; see the class for the return value."""
        try:
            return super().execute(context)
        # Airflow 2 raises this from its signal handler, wherever the task is, so a request may have been interrupted.
        except AirflowTaskTerminated:
            self._canceller.handle_termination(context)
            raise

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Return the result after the trigger."""
        return self._waiter.complete(context, event)

    def execute_in_turn(self, context: Context, event: dict[str, Any]) -> Any:
        """Start the job once the start queue has let this task through; nothing was started before."""
        # The note says "nothing was started", which is about to become false.
        delete_note(context.get("ti"))
        if "error" in event:
            raise self._build_not_started_error(event["error"], _RETRY)
        if not event.get("turn"):
            raise self._build_not_started_error(_describe_obstacle(event.get("refused")), _WAIT_LONGER, _RETRY)
        # The first deadline counts, however often the service refuses the start and the task queues again.
        self._quota_deadline, self._has_passed_queue = event["deadline"], True
        # From the beginning: this process has neither checked the arguments nor built the request.
        return self.execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral; see the base. If Airflow ended the wait in the start queue, nothing was started."""
        # Airflow passes only an error then; the note distinguishes a task that queued from one whose job runs.
        ti = context.get("ti")
        if next_method == FAILED_DEFERRAL and _QUEUED in read_note(ti):
            delete_note(ti)
            error = str((next_kwargs or {}).get("error", ""))
            advice = "Check that a triggerer is running." if is_deferral_timeout(error) else ""
            raise self._build_not_started_error(error, advice, _RETRY)
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel the job; see ``cancel_on_kill``."""
        self._canceller.on_kill()

    @cached
    def _canceller(self) -> Canceller:
        return Canceller(self, self._find_started)

    @cached
    def _waiter(self) -> Waiter:
        # Only a running task needs it, not the Dag processor.
        from airflow_cleanroomsml.operators._wait import Waiter

        return Waiter(self, self._canceller)

    def _perform(self, context: Context) -> Handle:
        if self._quota_deadline is None:
            self._quota_deadline = self._waiter.limit_deadline(context, _clock.now() + self.quota_timeout)
            ti = context.get("ti")
            is_mapped, is_first = getattr(ti, "map_index", -1) >= 0, getattr(ti, "try_number", 1) <= 1
            # All mapped tasks begin at once, but the service accepts one start a second (user guide, Quotas). A retry searches before it
            # queues, because its job may have been started already.
            if is_mapped and is_first and self.deferrable and self.quota_timeout:
                self._queue_start(context, None)
        # A task may start many times in a week of waiting for quota. The search before the first start was long enough for any commit to
        # become visible, and nothing was sent since.
        self._create_once = self._build_create_once(context, has_searched=self._has_passed_queue)
        if self.deferrable and self.quota_timeout:
            # A task that can be deferred need not occupy a worker slot during a pause.
            self._create_once.send = partial(self._send, throttled_retries=0)
        handle = self._create(
            context, self._create_once, wait_for_quota=partial(self._send_when_possible, context, self._quota_deadline)
        )
        # What an earlier try created may have had other arguments, so its texts cannot be redacted by these.
        self._waiter.knows_request = self._create_once.created is handle
        return handle

    def _push_identity(self, context: Context, handle: Handle) -> None:
        super()._push_identity(context, handle)
        push_details_link(self, context)

    def _complete(self, context: Context, handle: Handle) -> Any:
        return self._waiter.run(context, handle) if self.wait_for_completion else super()._complete(context, handle)

    def _find_started(self, context: Context) -> Wait | None:
        handle = self._create_once.find_created() if self._create_once else None
        if not handle:
            return None
        self._push_identity(context, handle)
        return self._waiter.build_wait(context, handle)

    def _send_when_possible(self, context: Context, deadline: float, send: Callable[[], Handle]) -> Handle:
        """
        Send the request; while the service refuses it for lack of quota, try again.

        :raises TaskDeferred: The task waits in the start queue.
        :raises ServiceError: Waiting does not help, or has not helped in time.
        """
        pause = _PAUSES[0]
        while True:
            try:
                return send()
            except (QuotaExceededError, ThrottledError) as error:
                self._check_quota_deadline(error, deadline)
                from airflow_cleanroomsml._link_storage import store_error_links

                store_error_links(self, context, error)
                if self.deferrable:
                    self._queue_start(context, error)
                # With jitter, because tasks that were refused together would otherwise all retry at once.
                _clock.sleep(min(pause * random.uniform(0.7, 1.0), max(0.0, deadline - _clock.now())))
                pause = min(pause * 1.5, _PAUSES[1])

    def _check_quota_deadline(self, error: ServiceError, deadline: float) -> None:
        """
        Log that the task waits for quota, unless that is pointless.

        :raises ServiceError: Waiting does not help, or has not helped in time.
        """
        # A quota of 0, or of existing resources, does not become available when a job ends.
        if isinstance(error, NoQuotaError) or not self.quota_timeout:
            raise error
        remaining = deadline - _clock.now()
        if remaining <= 0:
            obstacle = (
                "The start was still throttled" if isinstance(error, ThrottledError) else "The quota was still used up"
            )
            waited = f"{obstacle} at the end of quota_timeout ({self.quota_timeout:.0f} s), which execution_timeout may shorten."
            # The same class, by which the base stores the link to the quota and the retry policy chooses its pause.
            raise error.extend(waited, to_do=_WAIT_LONGER)
        # The whole error only once: the service may refuse a start for days, each time with the same advice.
        if self._is_refused or self._has_passed_queue:
            self.log.warning(
                "%s was refused again (%s). Trying again for up to %.0f s.",
                error.operation,
                format_details(error.details) or error.code,
                remaining,
            )
        else:
            self.log.warning(
                "Nothing was started yet: the service refused the request. Trying again for up to %.0f s. %s",
                remaining,
                error,
            )
        self._is_refused = True

    def _queue_start(self, context: Context, error: ServiceError | None) -> None:
        """
        Wait in the start queue of the triggerer.

        :param error: Why the service refused the start; None if nothing was sent yet.
        """
        from airflow_cleanroomsml.operators._wait import OPERATOR_DEFERRAL_MARGIN
        from airflow_cleanroomsml.triggers import CleanRoomsMLTurnTrigger

        deadline = self._quota_deadline or 0.0
        # If Airflow itself ends the deferral, only the note says that nothing was started.
        if ti := context.get("ti"):
            keep_note(ti, {_QUEUED: self.resource.noun})
        self.defer(
            trigger=CleanRoomsMLTurnTrigger(
                noun=self.resource.noun, deadline=deadline, refused=_describe_refusal(error), **self.connection
            ),
            method_name="execute_in_turn",
            # Later than the trigger's own deadline, so that this one applies only if no triggerer runs.
            timeout=timedelta(seconds=max(0.0, deadline - _clock.now()) + OPERATOR_DEFERRAL_MARGIN),
        )

    def _build_not_started_error(self, *reasons: str) -> CleanRoomsMLError:
        first = f"Nothing was started: the task was still waiting to start its {self.resource.noun}."
        return CleanRoomsMLError(join_lines(first, *reasons))


def _describe_obstacle(refused: Mapping[str, Any] | None) -> str:
    """
    Return why a task could not start its job, a sentence.

    :param refused: Why the service refused the start, see :func:`_describe_refusal`; None if nothing was sent.
    """
    if refused is None:
        return "Other tasks were still ahead of it."
    if refused.get("why") == "throttled":
        return "The service had throttled the start, and other tasks may have been ahead of it."
    details = {name: refused.get(key) for name, key in (("quotaName", "quota_name"), ("quotaValue", "quota_value"))}
    known = format_details({name: value for name, value in details.items() if value not in (None, "")})
    return f"The quota was still used up ({known})." if known else "The quota was still used up."


def _describe_refusal(error: ServiceError | None) -> dict[str, Any] | None:
    """Describe why a start was refused, as the trigger takes it."""
    if error is None:
        return None
    return {
        "why": "throttled" if isinstance(error, ThrottledError) else "quota",
        "quota_name": error.details.get("quotaName", ""),
        "quota_value": error.details.get("quotaValue"),
    }
