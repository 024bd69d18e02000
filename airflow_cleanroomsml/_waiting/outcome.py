"""What a poll means: the wait continues, has succeeded, or has failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._resources.table import OUTCOMES, Goal, Outcome, Resource
from airflow_cleanroomsml._waiting.wait import PollResult, Wait
from airflow_cleanroomsml.exceptions import (
    JobFailedError,
    ResourceNotFoundError,
    ThrottledError,
    UnavailableError,
    UnreachableError,
    WaitTimeoutError,
    format_request_id,
    join_lines,
)

if TYPE_CHECKING:
    from airflow_cleanroomsml._requests.redaction import Redact

log = logging.getLogger(__name__)

#: What users must know about a job that nobody cancels.
STILL_RUNNING = "It is still running and still incurring charges."
#: The same of a job whose status is not known.
MAY_BE_RUNNING = "It may still be running and incurring charges."
#: What becomes of a resource when an operator no longer waits for its goal.
_CONTINUES = {
    Goal.CREATED: STILL_RUNNING,
    Goal.DELETED: "The deletion continues without this task.",
    Goal.CANCELLED: "The cancellation continues without this task; the job may incur charges until it ends.",
}
#: What a clear does about a job that was still running at the time-out.
_CLEAR_ADVICE = "If you clear the task, it waits for this job if it is still running; otherwise it starts another one."
#: Errors that may be gone at the next poll. Missing permissions are not among them: they would hide the status until the time-out.
TRANSIENT_ERRORS = (ThrottledError, UnavailableError, UnreachableError)


def evaluate(wait: Wait, description: Mapping[str, Any] | Exception | None, redact: Redact | None = None) -> PollResult:
    """
    Decide what a read means to a wait.

    :param description: The resource as the service describes it; the error of the read; None if a listing does not show it.
    :param redact: As for :func:`~airflow_cleanroomsml._waiting.loop.poll_once`.
    :raises CleanRoomsMLError: The error of the read, unless it is transient or means that the resource is gone.
    """
    if isinstance(description, ResourceNotFoundError):
        return _evaluate_absence(wait, description.summary, description.request_id)
    if isinstance(description, TRANSIENT_ERRORS):
        return PollResult.from_error(description)
    if isinstance(description, Exception):
        raise description
    if description is None:
        return _evaluate_absence(wait, f"{_name_listing(wait.resource)} does not show it")
    return _evaluate_description(wait, description, redact)


def _name_listing(resource: Resource) -> str:
    from airflow_cleanroomsml._requests.request import find_operation, load

    return find_operation(load(resource.service), resource.list).name


def _evaluate_absence(wait: Wait, message: str, request_id: str = "") -> PollResult:
    # A cancelled job keeps its description, so only a deletion succeeds by "not found".
    if wait.goal == Goal.DELETED:
        # Get raises "not found" once a deletion is complete; lookalike resources have no status for it (service model).
        return PollResult("", Outcome.SUCCESS)
    # A read may not show at once what a create has returned.
    if _clock.now() - wait.started < wait.lag:
        return PollResult("", Outcome.PENDING, message=message, is_absent=True)
    return PollResult("", Outcome.FAILURE, message=join_lines(message, format_request_id(request_id)))


def _evaluate_description(wait: Wait, description: Mapping[str, Any], redact: Redact | None) -> PollResult:
    status = str(description.get("status", ""))
    outcome = OUTCOMES[Goal(wait.goal)].get(status)
    if outcome is None:
        # AWS may add a status; the time-out still ends the wait if it turns out to be final.
        log.warning(
            "The %s has the status %s, which this version of the provider does not know; still waiting.",
            wait.title,
            status,
        )
    details = description.get("statusDetails") or {}

    def redact_text(text: str) -> str:
        return _redact(wait.resource, description, text, redact) if text else ""

    return PollResult(
        status,
        outcome or Outcome.PENDING,
        details.get("statusCode") or "",
        redact_text(details.get("message") or ""),
        # Explanations of lost logs and metrics are free text as well, and may quote a variable of the container.
        {
            name: redact_text(description[name]) if name.endswith("StatusDetails") else description[name]
            for name in wait.resource.outputs
            if description.get(name) is not None
        },
    )


def _redact(resource: Resource, description: Mapping[str, Any], text: str, redact: Redact | None) -> str:
    """Redact a text about a resource; the descriptions of other members' resources show too little to do so, so it is withheld."""
    from airflow_cleanroomsml._requests.redaction import UNKNOWN, redact_by_description
    from airflow_cleanroomsml._requests.request import find_description_shape

    if resource.partners:
        return UNKNOWN
    return (redact or redact_by_description)(find_description_shape(resource), description, text)


def summarize(wait: Wait, poll_result: PollResult, now: float | None = None, *, is_repeated: bool = False) -> str:
    """
    Write one line for the log; what changes comes first, as viewers cut off long lines.

    :param now: The time, in seconds since 1970; None if it is not known when the wait began.
    :param is_repeated: Whether the log has the status already.
    """
    absence = "Not found" if poll_result.is_absent else "Status unknown"
    status = poll_result.status or ("Gone" if poll_result.outcome is Outcome.SUCCESS else absence)
    if is_repeated and poll_result.status:
        status = f"Still {status}"
    # An error of the service has several lines.
    reason = f" ({' '.join(poll_result.reason.split())})" if poll_result.reason else ""
    elapsed = f" after {now - wait.started:.0f} s" if now is not None else ""
    return f"{status}{elapsed}{reason}: {wait.title}"


def describe_stop(resource: Resource) -> str:
    """Return how to stop a job that nobody cancels, a sentence."""
    from airflow_cleanroomsml._requests.request import find_operation, load

    operation = resource.cancel or resource.delete
    if operation is None:
        return "The service cannot cancel it."
    operator = f"CleanRoomsML{find_operation(load(resource.service), operation).name}Operator"
    if resource.cancel:
        return f"To stop it, run {operator}."
    return f"The service cannot cancel it, and may refuse to delete it while it is running; to try, run {operator}."


def describe_continuation(goal: str) -> str:
    """Return what becomes of a resource when an operator no longer waits for a goal and stops nothing, a sentence."""
    return _CONTINUES[Goal(goal)]


def raise_for_outcome(
    wait: Wait,
    poll_result: PollResult,
    stop_resource: Callable[[], str] = lambda: STILL_RUNNING,
    *,
    next_step: str = "",
) -> None:
    """
    Raise the error of a wait that did not succeed.

    :param stop_resource: Cancels the resource after a time-out, if the task should; returns what became of it, a sentence.
    :param next_step: What to do about a failure, a sentence.
    :raises JobFailedError: The job failed.
    :raises WaitTimeoutError: The job has not ended, and the deadline is over.
    """
    if poll_result.outcome is Outcome.SUCCESS:
        return
    status = poll_result.status
    if poll_result.outcome is Outcome.FAILURE:
        verdict = f"is {status}" if status else "was not found"
        raise JobFailedError(
            join_lines(
                f"The {wait.noun} {verdict}.",
                poll_result.reason or "AWS gave no reason.",
                wait.title,
                next_step,
            ),
            status=status or "not found",
            code=poll_result.status_code,
            reason=poll_result.message,
        )
    absence = "was not found" if poll_result.is_absent else "could not be read"
    verdict, stopped = f"was still {status}" if status else absence, stop_resource()
    if not status:
        stopped = stopped.replace(STILL_RUNNING, MAY_BE_RUNNING)
    raise WaitTimeoutError(
        join_lines(
            f"The {wait.noun} {verdict} after {wait.deadline - wait.started:.0f} s, when the wait timed out. {stopped}",
            wait.title,
            # After the title, because it may end with advice, such as that of an error of the network.
            poll_result.reason,
            poll_result.advice,
            "To wait longer, increase waiter_max_attempts (multiplied by waiter_delay, it is the time-out in seconds) and,",
            "if it is set, execution_timeout.",
            _CLEAR_ADVICE if wait.goal == Goal.CREATED else "",
        )
    )
