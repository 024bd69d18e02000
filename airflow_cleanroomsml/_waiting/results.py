"""What is known of a resource beside its ARN: what goes to XCom when it is done, and why it failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, Outcome, Resource
from airflow_cleanroomsml._waiting.loop import poll_once, poll_until_done, poll_with_retries
from airflow_cleanroomsml._waiting.outcome import summarize
from airflow_cleanroomsml._waiting.wait import PollResult, Wait
from airflow_cleanroomsml._xcom import push_results

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import BaseOperator, Context
    from airflow_cleanroomsml._requests.redaction import Redact
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

log = logging.getLogger(__name__)


def push_outputs(
    operator: BaseOperator, context: Context, resource: Resource, known: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Push the members that the resource table reports to XCom, each under its own key in snake_case, and return them.

    :param operator: The task; with ``do_xcom_push=False`` nothing is pushed.
    :param known: What is known, in either spelling.
    """
    from botocore import xform_name

    members = {xform_name(name): value for name, value in known.items()}
    keys = [xform_name(name) for name in resource.outputs]
    report = {key: members[key] for key in keys if members.get(key) is not None}
    push_results(operator, context, report)
    _warn_of_unpublished(resource, report)
    return report


def report_progress(context: Context, wait: Wait, poll_result: PollResult) -> None:
    """Tell how far it is: in the log, and where Airflow shows a task's state (3.3 and later) while it runs."""
    now = _clock.now()
    log.info("%s.", summarize(wait, poll_result, now))
    store: Any = context.get("task_state_store")
    if store is None:
        return
    elapsed, looked = (
        round(now - wait.started),
        datetime.fromtimestamp(now, tz=timezone.utc).isoformat(timespec="seconds"),
    )
    state = {"resource": wait.title, "status": poll_result.status, "elapsed_seconds": elapsed, "looked_at": looked}
    try:
        store.set("progress", state)
    except Exception:
        log.info("Could not write progress to Airflow's task state store.", exc_info=True)


def record_metrics(wait: Wait, poll_result: PollResult) -> None:
    """
    The end of a wait as metrics of Airflow's.

    ``cleanroomsml.<noun>.duration`` is a timer of the wait, and ``cleanroomsml.<noun>.<status>`` a counter; both have noun, goal, status
    and outcome as tags.
    """
    from airflow_cleanroomsml._compat import stats

    noun, status = wait.noun.replace(" ", "_"), (poll_result.status or "gone").lower()
    tags = {"noun": noun, "goal": wait.goal, "status": status, "outcome": poll_result.outcome}
    stats().timing(f"cleanroomsml.{noun}.duration", timedelta(seconds=_clock.now() - wait.started), tags=tags)
    stats().incr(f"cleanroomsml.{noun}.{status}", tags=tags)


def _warn_of_unpublished(resource: Resource, report: Mapping[str, Any]) -> None:
    """A job may succeed and its logs be lost: AWS does not publish them afterwards."""
    for kind in ("logs", "metrics"):
        if report.get(f"{kind}_status") == "PUBLISH_FAILED":
            log.warning(
                "The %s of the %s were not published: %s. Each member that wants them needs an ML configuration whose role may "
                "write to CloudWatch, and logs an algorithm association whose privacy configuration names its account.",
                kind,
                resource.noun,
                report.get(f"{kind}_status_details") or "the service gives no reason",
            )


def poll_at_deadline(
    hook: Callable[[], CleanRoomsMLHook],
    wait: Wait,
    poll_result: PollResult,
    redact: Redact | None = None,
) -> PollResult:
    """
    What is to be seen when the time of a wait is over: the look before may have failed, or be long past.

    Whatever goes wrong on the way, that the time is over stands. Arguments as for :func:`explain_failure`.

    :raises CleanRoomsMLError: It has ended, and the rest of the result cannot be read.
    """
    poll_result = complete_result(hook, wait, poll_result, redact)
    if poll_result.outcome != Outcome.PENDING:
        return poll_result
    try:
        return poll_with_retries(hook(), wait, redact).after(poll_result)
    except Exception as unreadable:
        log.info("Could not poll it one last time: %s", unreadable)
        return poll_result


def complete_result(
    hook: Callable[[], CleanRoomsMLHook], wait: Wait, poll_result: PollResult, redact: Redact | None = None
) -> PollResult:
    """
    Read what a listing did not say: if thousands of waits end at once, the poller reports the status alone.

    Arguments as for :func:`explain_failure`.

    :raises CleanRoomsMLError: It cannot be read.
    """
    if not poll_result.is_partial:
        return poll_result
    return poll_until_done(hook(), wait, poll_once(hook(), wait, redact), redact)


def explain_failure(
    hook: Callable[[], CleanRoomsMLHook],
    wait: Wait,
    poll_result: PollResult,
    redact: Redact | None = None,
) -> PollResult:
    """
    The poll_result with the protected query, where there was one, and what it says: the job itself may say less.

    Whatever goes wrong on the way, that it failed stands.

    :param hook: Makes the hook, where something is to be asked.
    :param redact: How a text of the service is shown; without it the query is not read.
    """
    query, membership = (
        poll_result.outputs.get("protectedQueryIdentifier"),
        wait.identifiers.get("membership_identifier"),
    )
    if not query:
        return poll_result
    said = _query_error(hook, query, membership, redact) if redact and membership else ""
    about = f"protected query {query}" + (f": {said}" if said else "")
    return poll_result._replace(message=f"{poll_result.message} ({about})")


def _query_error(hook: Callable[[], CleanRoomsMLHook], query: str, membership: str, redact: Redact) -> str:
    """Why a protected query failed. Its own description says what it was: the request of a task may have become another one since."""
    from airflow_cleanroomsml._requests.request import load, operation_model

    asked = {"protected_query_identifier": query, "membership_identifier": membership}
    try:
        answer = hook().of(CLEAN_ROOMS).call("get_protected_query", asked)
    except Exception as unreadable:
        log.info("The protected query %s cannot be read: %s", query, unreadable)
        return ""
    error = answer.get("protectedQuery", {}).get("error") or {}
    shape = operation_model(load(CLEAN_ROOMS), "get_protected_query").output_shape
    message = redact(shape, answer, error["message"]) if error.get("message") else ""
    return ": ".join(text for text in (error.get("code"), message) if text)
