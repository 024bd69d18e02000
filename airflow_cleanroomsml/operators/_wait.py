"""How a task waits for the resource that its operation creates, deletes or cancels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import FAILED_DEFERRAL, AirflowFailException, stop_timeout_alarm
from airflow_cleanroomsml._data_report import remember
from airflow_cleanroomsml._link_storage import store_result_links
from airflow_cleanroomsml._resources.data_flow import find_data, name_data
from airflow_cleanroomsml._resources.handle import Handle
from airflow_cleanroomsml._resources.lookup import describe
from airflow_cleanroomsml._resources.table import STOPPED, Goal, Outcome
from airflow_cleanroomsml._waiting import loop
from airflow_cleanroomsml._waiting.history import StatusHistory, format_time
from airflow_cleanroomsml._waiting.outcome import describe_continuation, raise_for_outcome
from airflow_cleanroomsml._waiting.results import (
    explain_failure,
    poll_at_deadline,
    record_metrics,
    report_deferral,
    report_end,
    report_outputs,
    report_progress,
)
from airflow_cleanroomsml._waiting.wait import PollResult, Wait, read_poll_result
from airflow_cleanroomsml.exceptions import (
    CleanRoomsMLError,
    ConfigurationError,
    InvalidRequestError,
    WaitBrokenError,
    join_lines,
)
from airflow_cleanroomsml.links import describe_logs
from airflow_cleanroomsml.operators._base import require_flags

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._requests.redaction import Redact
    from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteAndWaitOperator
    from airflow_cleanroomsml.operators._job import CleanRoomsMLJobOperator
    from airflow_cleanroomsml.operators._on_kill import Canceller

    WaitingOperator: TypeAlias = CleanRoomsMLJobOperator | CleanRoomsMLDeleteAndWaitOperator

#: Seconds by which Airflow's own limit on a deferral exceeds ours, as it is only for the case that no triggerer runs.
OPERATOR_DEFERRAL_MARGIN = 600
#: A bound for numbers of seconds or attempts, above any useful value. The product of two such numbers is still a valid time.
_MAX_NUMBER = 1_000_000


class Waiter:
    """
    Waits for the resource of one task: in the worker, or in the triggerer.

    :param operator: The task.
    :param canceller: Cancels the resource when the task is killed; None if the task only deletes or cancels it anyway.
    """

    def __init__(self, operator: WaitingOperator, canceller: Canceller | None = None) -> None:
        self._operator = operator
        self._canceller = canceller
        #: Whether the request, as it renders now, created the resource; another try may have sent a different one.
        self.knows_request = False
        self._history = StatusHistory()
        #: The error of a trigger that could not poll.
        self._interruption: CleanRoomsMLError | None = None

    def check_arguments(self) -> None:
        """
        Refuse arguments that are not valid.

        :raises InvalidRequestError: One is not valid.
        """
        require_flags(self._operator, "wait_for_completion", "deferrable")
        for name, kinds in (("waiter_delay", (int, float)), ("waiter_max_attempts", (int,))):
            value = getattr(self._operator, name)
            if value is None:
                continue
            # bool is a subclass of int, but waiter_delay=True is a mistake.
            if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < _MAX_NUMBER:
                kind = "a number" if float in kinds else "a whole number"
                raise InvalidRequestError(
                    f"{name}: {value!r} is not valid; must be {kind} above 0 and below {_MAX_NUMBER:,}, not a template"
                )

    def run(self, context: Context, handle: Handle) -> Any:
        """
        Wait; return the task's result.

        :raises TaskDeferred: The task waits in the triggerer.
        :raises JobFailedError: The job failed.
        :raises WaitTimeoutError: The wait timed out.
        """
        operator = self._operator
        try:
            wait, redact = self.build_wait(context, handle), self._build_redact()
            report = partial(report_progress, context, wait, history=self._history)
            poll_result = loop.poll_once(operator.hook, wait, redact)
            report(poll_result)
            # Only the description of a resource names its collaboration, not the response to the create.
            store_result_links(operator, context, {**handle.identifiers, **poll_result.outputs})
            # A resource that is already done, or already gone, needs no triggerer.
            if poll_result.outcome is Outcome.PENDING and operator.deferrable:
                self._defer(context, wait._replace(history=self._history.statuses), poll_result)
            poll = (
                loop.poll_until_done if self._canceller is None else partial(self._canceller.poll_until_done, context)
            )
            return self._finish(context, wait, poll(operator.hook, wait, poll_result, redact, report))
        # The errors of a failed job and of a time-out already say what to do. A deferral passes, too: TaskDeferred is not an Exception.
        except AirflowFailException:
            raise
        # The job still runs, so the error has to say whether a retry continues the wait or starts another job.
        except Exception as error:
            raise self._explain_interruption(f"{type(error).__name__}: {error}", handle.identifiers) from error

    def resume(
        self,
        resume: Callable[[str, dict[str, Any] | None, Context], Any],
        next_method: str,
        next_kwargs: dict[str, Any] | None,
        context: Context,
    ) -> Any:
        """
        Resume the task after a deferral.

        If Airflow ended the deferral because its time was over, no triggerer polled, so this method does.

        :param resume: Airflow's own way to resume.
        """
        # Airflow has rendered the templates again, so the request may differ from the one that was sent.
        self.knows_request = False
        event = (next_kwargs or {}).get("event")
        if event is not None and "wait" not in event:
            # The event of the start queue, whose task has not started anything yet.
            return resume(next_method, next_kwargs, context)
        is_failed = next_method == FAILED_DEFERRAL
        wait = Wait.from_json(event["wait"]) if event else None
        if self._canceller:
            wait = self._canceller.end_deferral(context, wait)
        if wait and _clock.now() >= wait.deadline:
            self._stop_alarm()
            if is_failed:
                self._operator.log.warning(
                    "No triggerer was running at the time-out; polling once more in the worker. Check that one is running now."
                )
                self._restore(wait)
                return self._finish(context, wait, PollResult("", Outcome.PENDING))
        # Before the deadline it is not a time-out: if the trigger failed, Airflow raises an error here.
        try:
            return resume(next_method, next_kwargs, context)
        except AirflowFailException:
            raise
        except Exception as error:
            # complete() has explained what the trigger met.
            if error is self._interruption:
                raise
            identifiers = wait.identifiers if wait else None
            raise self._explain_interruption(f"{type(error).__name__}: {error}", identifiers) from error

    def complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Return the task's result after the trigger; the same, with the same errors, as after waiting in the worker."""
        # The event has everything, because dag.test() of Airflow 2.11 loses whatever else a deferral carries.
        operator, wait, poll_result = self._operator, Wait.from_json(event["wait"]), read_poll_result(event)
        self._restore(wait)
        if poll_result is None:
            self._interruption = self._explain_interruption(event.get("error", ""), wait.identifiers)
            raise self._interruption
        # The trigger redacted the text by the resource's description, but the request may have values that a description lacks.
        poll_result = poll_result._replace(message=operator.load_request().redact(poll_result.message))
        return self._finish(context, wait, poll_result)

    def build_wait(self, context: Context, handle: Handle) -> Wait:
        """Build the wait for a resource; it starts now."""
        operator, now = self._operator, _clock.now()
        delay = operator.waiter_delay or operator.resource.delay
        if operator.waiter_max_attempts:
            timeout = delay * operator.waiter_max_attempts
        else:
            timeout = operator.estimate_timeout(handle, knows_request=self.knows_request)
        wait = Wait(
            operator.resource.noun,
            operator.goal,
            handle.set_identifiers,
            now,
            self.limit_deadline(context, now + timeout),
            delay,
            handle.created_after,
            # As rendered now, because the templates may name another account when the task resumes (docs/design/polling.md).
            connection=operator.rendered_connection,
            sources=name_data(operator.describe_data_flow().inputs),
        )
        return wait if self._canceller is None else self._canceller.prepare(wait, handle)

    def limit_deadline(self, context: Context, deadline: float) -> float:
        """Return the deadline, or an earlier one before ``execution_timeout``: Airflow 2.11 enforces that before a resumed task runs."""
        end = self._compute_execution_end(context)
        if end is None:
            return deadline
        # This leaves a twentieth of execution_timeout, at least a minute and at most half of it, for the last poll and the cancellation.
        allowed = self._operator.execution_timeout.total_seconds() if self._operator.execution_timeout else 0.0
        return min(deadline, end - min(allowed / 2, max(60, allowed / 20)))

    def _restore(self, wait: Wait) -> None:
        """Restore what the process that began the wait knew, after a deferral; templates may have rendered to other values since."""
        operator = self._operator
        # A Variable that has changed since must not lead the last calls to another account (docs/design/polling.md).
        operator.restore_connection(wait.connection)
        remember(operator, wait.identifiers)
        if wait.sources is not None:
            operator.data_sources = find_data({"sources": wait.sources})
        self._history = StatusHistory(wait.history)

    def _defer(self, context: Context, wait: Wait, poll_result: PollResult) -> None:
        from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger

        report_deferral(context, wait, poll_result)
        self._operator.log.info(
            "Waiting in the triggerer, which polls at least every %g s, until %s at the latest.",
            wait.delay,
            format_time(wait.deadline),
        )
        # Right before defer(), which raises: a kill in between would be lost.
        if self._canceller:
            self._canceller.begin_deferral(context, wait)
        self._operator.defer(
            trigger=CleanRoomsMLWaitTrigger(wait=wait.to_json(), **self._operator.connection),
            method_name="execute_complete",
            # The trigger ends by itself at the deadline; this is for a triggerer that is down and sends no event.
            timeout=timedelta(seconds=self._compute_deferral_end(context, wait.deadline) - _clock.now()),
        )

    def _compute_deferral_end(self, context: Context, deadline: float) -> float:
        """
        Return when Airflow ends the deferral if no triggerer does: after our deadline, but before ``execution_timeout``.

        Airflow 3 does not apply ``execution_timeout`` to a deferral, and 2.11 lets no task run once it is over.
        """
        latest, end = deadline + OPERATOR_DEFERRAL_MARGIN, self._compute_execution_end(context)
        return latest if end is None else min(latest, (deadline + end) / 2)

    def _compute_execution_end(self, context: Context) -> float | None:
        """Return when ``execution_timeout`` is over, in seconds since 1970; None if there is none."""
        # Airflow keeps the start date of a try while it is deferred, so execution_timeout includes the time in the triggerer.
        started, allowed = getattr(context.get("ti"), "start_date", None), self._operator.execution_timeout
        return started.timestamp() + allowed.total_seconds() if allowed and started else None

    def _finish(self, context: Context, wait: Wait, poll_result: PollResult) -> Any:
        operator, redact = self._operator, self._build_redact()
        remember(operator, wait.identifiers)
        if poll_result.outcome is Outcome.PENDING:
            # Before the last poll: an alarm in it could lose a job that ends at the last moment (docs/design/cancellation.md).
            self._stop_alarm()
        poll_result = poll_at_deadline(lambda: operator.hook, wait, poll_result, redact)
        if poll_result.outcome is Outcome.FAILURE:
            poll_result = explain_failure(lambda: operator.hook, wait, poll_result, redact)
        # Before the error is raised, so that failures and time-outs are counted and leave their history in XCom.
        record_metrics(wait, poll_result)
        report_end(operator, context, wait, poll_result, self._history)
        # Stopped only if the wait has timed out: a job that failed has nothing left to cancel.
        raise_for_outcome(
            wait, poll_result, lambda: self._stop_resource(wait), next_step=self._describe_next_step(poll_result.status)
        )
        outputs = report_outputs(operator, context, wait, poll_result, self._history)
        return operator.report_result(context, wait.identifiers, outputs)

    def _stop_resource(self, wait: Wait) -> str:
        """Cancel the resource once the wait has timed out, if the task is to; return what became of it, a sentence."""
        return self._canceller.cancel(wait) if self._canceller else describe_continuation(wait.goal)

    def _describe_next_step(self, status: str) -> str:
        """
        Return what to do once the resource has failed. Airflow does not retry the task (``exceptions``).

        :param status: Status of the resource; empty if it was not found.
        """
        operator = self._operator
        if operator.goal is not Goal.CREATED:
            return "Once the cause is corrected, clear the task: it sends the request again."
        # Without its tag, a cleared task does not know that the failed resource is its own, and the name is taken.
        clear = "change the name and clear the task" if operator.creates_another_on_retry else "clear the task"
        if not status:
            return f"First check the account and the region of the connection. Then {clear}: it starts another job."
        if status in STOPPED:
            return f"It was cancelled or deleted, or its retention period ended. To start another job, {clear}."
        if status in ("CANCEL_FAILED", "DELETE_FAILED"):
            return f"The attempt to cancel or delete it failed. To start another job, {clear}."
        advice = describe_logs(operator.resource.noun), operator.resource.failure_advice
        return join_lines(*filter(None, advice), f"Once the cause is corrected, {clear}: it starts another job.")

    def _build_redact(self) -> Redact:
        """
        Build the function that redacts what the service says about the resource.

        The request is known to have created the resource only in the try that sent it: after a deferral it is rendered again, an earlier
        try may have sent another one, and a delete or cancel never had it. In these cases only the service's own description shows which
        values are confidential.
        """
        from airflow_cleanroomsml._requests.redaction import redact_by_description

        request, knows_request = self._operator.load_request(), self.knows_request

        def redact(shape: Any, description: Mapping[str, Any], text: str) -> str:
            return request.redact(redact_by_description(shape, description, text, known=knows_request))

        return redact

    def _explain_interruption(self, reason: str, identifiers: Mapping[str, Any] | None = None) -> CleanRoomsMLError:
        """
        Build the error for a wait that could not continue.

        It is final if a retry would create another resource, or if the configuration is invalid.

        :param reason: Kind and text of the error.
        """
        operator = self._operator
        # The triggerer's errors arrive as text, so the class is known by its name alone.
        is_final = reason.partition(":")[0] == ConfigurationError.__name__
        if operator.creates_another_on_retry:
            kind: type[CleanRoomsMLError] = WaitBrokenError
            advice = 'To continue the wait, set if_exists="reuse" and clear the task.'
        elif is_final:
            kind, advice = ConfigurationError, "Once the cause is corrected, clear the task to continue the wait."
        else:
            kind, advice = CleanRoomsMLError, "A retry continues the wait."
        title = describe(operator.resource, identifiers) if identifiers else f"the {operator.resource.noun}"
        return kind(join_lines("The wait was interrupted; the resource is not affected.", title, reason, advice))

    def _stop_alarm(self) -> None:
        """
        Stop Airflow's alarm for ``execution_timeout``, as the time is over anyway.

        An alarm in the middle of ``import boto3`` leaves a half-imported module, with which nothing can be cancelled.
        """
        if self._operator.execution_timeout and self._canceller:
            stop_timeout_alarm()
