"""What a task reports about a resource: outputs in XCom, progress, metrics, and why it failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._pipelines.audience_size import read_metrics
from airflow_cleanroomsml._resources.data_flow import S3Location, find_data
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, Goal, Outcome, Resource
from airflow_cleanroomsml._waiting.history import GONE, StatusHistory, format_time
from airflow_cleanroomsml._waiting.loop import poll_once, poll_until_done, poll_with_retries
from airflow_cleanroomsml._waiting.outcome import summarize
from airflow_cleanroomsml._waiting.wait import PollResult, Wait
from airflow_cleanroomsml._xcom import push_results, push_status_history

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import BaseOperator, Context
    from airflow_cleanroomsml._requests.redaction import Redact
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

log = logging.getLogger(__name__)


def push_outputs(
    operator: BaseOperator, context: Context, resource: Resource, members: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Push the outputs that the resource table names to XCom, each under its own key in snake_case, log and return them.

    :param operator: The task; with ``do_xcom_push=False`` nothing is pushed.
    :param members: What the service says of the resource, in either spelling.
    """
    from botocore import xform_name

    values = {xform_name(name): value for name, value in members.items()}
    keys = [xform_name(name) for name in resource.outputs]
    outputs = {key: values[key] for key in keys if values.get(key) is not None}
    push_results(operator, context, outputs)
    for key, text in format_outputs(outputs).items():
        # Without a full stop, which would be copied with the URI of a location.
        log.info("%s: %s", key.replace("_", " ").capitalize(), text)
    _warn_of_unpublished(resource, outputs)
    return outputs


def format_outputs(outputs: Mapping[str, Any]) -> dict[str, str]:
    """
    Format the outputs that people look for, each as one line: where the files are, how good an audience is, whether there are logs.

    :param outputs: As :func:`push_outputs` returns them.
    """
    texts = {name: str(outputs[name]) for name in ("logs_status", "metrics_status") if name in outputs}
    if locations := [each.uri for each in find_data(outputs) if isinstance(each, S3Location)]:
        texts["output_location"] = ", ".join(locations)
    if isinstance(outputs.get("metrics"), Mapping):
        # Metrics of another form than the documented one are pushed to XCom as they are.
        with suppress(ValueError):
            texts["metrics"] = str(read_metrics(outputs["metrics"]))
    return texts


def report_progress(context: Context, wait: Wait, poll_result: PollResult, history: StatusHistory) -> None:
    """
    Report a poll in the log, and in Airflow's task state store (3.3 and later).

    The log has each status once. :func:`report_end` logs the last one, with the duration of each.
    """
    now = _clock.now()
    is_new = history.record(poll_result, now)
    if poll_result.outcome is Outcome.PENDING:
        log.info("%s", summarize(wait, poll_result, now, is_repeated=not is_new))
    write_progress(context, wait, poll_result, now)


def report_end(
    operator: BaseOperator, context: Context, wait: Wait, poll_result: PollResult, history: StatusHistory
) -> None:
    """
    Report how the wait ended, with the statuses in XCom: the same after waiting in the worker and in the triggerer.

    :func:`report_outputs` reports what came of it.
    """
    history.record(poll_result, _clock.now())
    # Also of a wait that failed or timed out, where the durations say most.
    push_status_history(operator, context, history.to_xcom())
    write_progress(context, wait, poll_result, _find_last_poll(poll_result, history))
    if poll_result.outcome is not Outcome.PENDING:
        absence = "Gone" if poll_result.outcome is Outcome.SUCCESS else "Not found"
        verdict = f"{poll_result.status or absence} {history.describe_durations(wait.started)}"
        log.info("%s: %s", verdict.strip(), wait.title)


def report_deferral(context: Context, wait: Wait, poll_result: PollResult) -> None:
    """
    Report to Airflow's task state store (3.3 and later) that a triggerer takes over.

    It cannot write there (``triggerer_job_runner`` of Airflow 3.3.2 handles no such message), so this status stays until the task resumes.
    """
    now = _clock.now()
    write_progress(context, wait, poll_result, now, deferred_since=format_time(now))


def report_outputs(
    operator: BaseOperator, context: Context, wait: Wait, poll_result: PollResult, history: StatusHistory
) -> dict[str, Any]:
    """
    Report what came of a wait that has succeeded, in XCom, the log and the task state store; return it.

    :return: As of :func:`push_outputs`; nothing of a resource that was deleted or cancelled.
    """
    # What is gone or cancelled has no output that a later task could use.
    if Goal(wait.goal) is not Goal.CREATED:
        return {}
    outputs = push_outputs(operator, context, wait.resource, poll_result.outputs)
    if texts := format_outputs(outputs):
        write_progress(context, wait, poll_result, _find_last_poll(poll_result, history), **texts)
    return outputs


def _find_last_poll(poll_result: PollResult, history: StatusHistory) -> float:
    """Return when the resource was polled last: the triggerer may have done so long before the worker resumed the task."""
    return (history.changed_at if poll_result.outcome is not Outcome.PENDING else None) or _clock.now()


def write_progress(context: Context, wait: Wait, poll_result: PollResult, polled_at: float, **more: Any) -> None:
    """
    Write a poll to Airflow's task state store (3.3 and later), where the UI shows it.

    :param polled_at: When it was polled, in seconds since 1970.
    :param more: Further entries.
    """
    store: Any = context.get("task_state_store")
    if store is None:
        return
    state = {
        "resource": wait.title,
        "status": poll_result.status or ("" if poll_result.outcome is Outcome.PENDING else GONE),
        "elapsed_seconds": round(polled_at - wait.started),
        "polled_at": format_time(polled_at),
        **more,
    }
    try:
        store.set("progress", state)
    except Exception:
        # Progress is for display only, and must not fail a task whose job runs.
        log.info("Could not write progress to Airflow's task state store.", exc_info=True)


def record_metrics(wait: Wait, poll_result: PollResult) -> None:
    """
    Record the end of a wait in Airflow's metrics.

    ``cleanroomsml.<noun>.duration`` is a timer of the wait, and ``cleanroomsml.<noun>.<status>`` a counter; both have noun, goal, status
    and outcome as tags.
    """
    from airflow_cleanroomsml._compat import load_stats

    noun, status = wait.noun.replace(" ", "_"), (poll_result.status or GONE).lower()
    tags = {"noun": noun, "goal": Goal(wait.goal).value, "status": status, "outcome": poll_result.outcome.value}
    load_stats().timing(f"cleanroomsml.{noun}.duration", timedelta(seconds=_clock.now() - wait.started), tags=tags)
    load_stats().incr(f"cleanroomsml.{noun}.{status}", tags=tags)


def _warn_of_unpublished(resource: Resource, outputs: Mapping[str, Any]) -> None:
    """Warn of lost logs and metrics: a job may succeed without them, and AWS does not publish them later."""
    for kind in ("logs", "metrics"):
        if outputs.get(f"{kind}_status") == "PUBLISH_FAILED":
            log.warning(
                "The %s of the %s were not published: %s. To receive them, a member needs an ML configuration with a role that may write "
                "to CloudWatch; for logs, the privacy configuration of the algorithm association must also name its account.",
                kind,
                resource.noun,
                # The service's texts end with a full stop, or with none.
                str(outputs.get(f"{kind}_status_details") or "AWS gave no reason").rstrip("."),
            )


def poll_at_deadline(
    make_hook: Callable[[], CleanRoomsMLHook],
    wait: Wait,
    poll_result: PollResult,
    redact: Redact | None = None,
) -> PollResult:
    """
    Poll a last time when the wait has timed out: the poll before may have failed, or be long past.

    Any error is logged only; the time-out stands. Parameters as for :func:`explain_failure`.

    :raises CleanRoomsMLError: The resource has reached its goal or failed, and its outputs cannot be read.
    """
    poll_result = complete_result(make_hook, wait, poll_result, redact)
    if poll_result.outcome is not Outcome.PENDING:
        return poll_result
    try:
        return poll_with_retries(make_hook(), wait, redact).after(poll_result)
    except Exception as error:
        log.info("Could not poll the resource one last time: %s", error)
        return poll_result


def complete_result(
    make_hook: Callable[[], CleanRoomsMLHook], wait: Wait, poll_result: PollResult, redact: Redact | None = None
) -> PollResult:
    """
    Read what a listing does not show: when thousands of waits end at once, the poller reports the status alone.

    Parameters as for :func:`explain_failure`.

    :raises CleanRoomsMLError: It cannot be read.
    """
    if not poll_result.is_partial:
        return poll_result
    hook = make_hook()
    return poll_until_done(hook, wait, poll_once(hook, wait, redact), redact)


def explain_failure(
    make_hook: Callable[[], CleanRoomsMLHook],
    wait: Wait,
    poll_result: PollResult,
    redact: Redact | None = None,
) -> PollResult:
    """
    Add to a failure the protected query, if there was one, and its error: the job itself may say less.

    Any error is logged only; the failure stands.

    :param make_hook: Makes the hook, if something has to be read.
    :param redact: Redacts the service's text; without it the query is not read.
    """
    query = poll_result.outputs.get("protectedQueryIdentifier")
    membership = wait.identifiers.get("membership_identifier")
    if not query:
        return poll_result
    error = _read_query_error(make_hook, query, membership, redact) if redact and membership else ""
    # The identifier even without an error: somebody who may read the query finds the cause with GetProtectedQuery.
    suffix = f"protected query {query}" + (f": {error}" if error else "")
    return poll_result._replace(message=f"{poll_result.message} ({suffix})")


def _read_query_error(make_hook: Callable[[], CleanRoomsMLHook], query: str, membership: str, redact: Redact) -> str:
    """Read why a protected query failed. Its own description shows its SQL: the task's request may have changed since."""
    from airflow_cleanroomsml._requests.request import find_operation, load

    arguments = {"protected_query_identifier": query, "membership_identifier": membership}
    try:
        response = make_hook().of(CLEAN_ROOMS).call("get_protected_query", arguments)
    except Exception as unreadable:
        log.info("Could not read the protected query %s: %s", query, unreadable)
        return ""
    error = response.get("protectedQuery", {}).get("error") or {}
    shape = find_operation(load(CLEAN_ROOMS), "get_protected_query").output_shape
    message = redact(shape, response, error["message"]) if error.get("message") else ""
    return ": ".join(text for text in (error.get("code"), message) if text)
