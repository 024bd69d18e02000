"""
Notifications about jobs: which job, how it ended, why, and after how long.

Use a notifier as ``on_success_callback``, ``on_failure_callback`` or ``on_retry_callback`` of a task or in ``default_args``. As
``on_execute_callback`` it reports the start of each try, once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from copy import copy
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.notifier import BaseNotifier

from airflow_cleanroomsml._compat import is_resumed
from airflow_cleanroomsml._resources.table import Resource
from airflow_cleanroomsml._xcom import list_identity_keys
from airflow_cleanroomsml.exceptions import CleanRoomsMLError

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context

log = logging.getLogger(__name__)

#: Longest subject that SNS accepts (API reference, Publish).
_LONGEST_SUBJECT = 100
#: What a message says by the state of the task. In any other state, and in none, it reports a failure: if the worker was killed, Airflow 3
#: calls back in the Dag processor, for failures only, without the exception and without a state (tried with 3.0.6 and 3.3.2).
_ENDS = {"success": "succeeded", "skipped": "was skipped"}
_NO_REASON = "not known; the worker may have been killed"


class CleanRoomsMLNotifier(BaseNotifier):
    """
    Send a message about a job with any other notifier.

    It adds ``cleanroomsml`` to the context with which the other notifier renders its templates: ``{{ cleanroomsml.subject }}`` and
    ``{{ cleanroomsml.message }}``, and their parts: ``noun``, ``arn``, ``status``, ``reason``, ``duration``. ``arn`` is that of the job;
    of an export, which has none, it is that of what is exported. It is None if nothing was created. Of an error that is not from this
    package only the class is named, since its text may quote something confidential.

    :param notifier: The other notifier, with templates.
    """

    def __init__(self, notifier: BaseNotifier) -> None:
        super().__init__()
        self.notifier = notifier

    def notify(self, context: Context) -> None:
        """Send the message."""
        if _repeats_start(context):
            return
        values: Any = context
        values["cleanroomsml"] = describe_end(context)
        # A notifier replaces its templates by their values, and may be called for more tasks than one.
        copy(self.notifier)(context)


class CleanRoomsMLSnsNotifier(BaseNotifier):
    """
    Publish a message about a job to an Amazon SNS topic.

    :param target_arn: ARN of the topic, or of an endpoint.
    :param aws_conn_id: Airflow connection of type ``aws``; it needs ``sns:Publish``.
    :param region_name: AWS region.
    """

    template_fields = ("target_arn", "aws_conn_id", "region_name")

    def __init__(
        self, *, target_arn: str, aws_conn_id: str | None = "aws_default", region_name: str | None = None
    ) -> None:
        super().__init__()
        self.target_arn = target_arn
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name

    def notify(self, context: Context) -> None:
        """Publish the message."""
        if _repeats_start(context):
            return
        # Imported here, because it loads boto3, which the Dag processor would do at every parse.
        from airflow.providers.amazon.aws.hooks.sns import SnsHook

        end = describe_end(context)
        hook = SnsHook(aws_conn_id=self.aws_conn_id, region_name=self.region_name)
        hook.publish_to_target(target_arn=self.target_arn, message=end["message"], subject=end["subject"])


def describe_end(context: Context) -> dict[str, Any]:
    """
    Describe how a task has ended, or that it starts, from the context of a callback for success, failure, retry, skipping or execution.

    :return: ``subject`` and ``message``, and their parts: ``noun``, ``arn``, ``status``, ``reason`` and ``duration``, in seconds; a part
        that is not known is None.
    """
    values: Mapping[str, Any] = context
    ti, task, error = values["ti"], values.get("task"), values.get("exception")
    end = "started" if _is_starting(values) else _ENDS.get(getattr(ti, "state", None) or "", "failed")
    resource = getattr(task, "resource", None)
    noun = resource.noun if isinstance(resource, Resource) else None
    arn = _find_arn(task, ti, resource) if isinstance(resource, Resource) else None
    # Errors of other packages may have a status as well, such as that of HTTP.
    status = (getattr(error, "status", None) if isinstance(error, CleanRoomsMLError) else None) or end
    reason = _explain(error)
    duration = _measure(ti)
    took = "" if duration is None or end == "started" else f" after {_format_duration(duration)}"
    lines = (
        f"Task {ti.task_id} of Dag {ti.dag_id} {end}{took} (run {ti.run_id}, try {ti.try_number}).",
        f"{noun or 'job'}: {arn}" if arn else "",
        f"status: {status}",
        f"reason: {reason or _NO_REASON}" if reason or end == "failed" else "",
        f"log: {ti.log_url}" if getattr(ti, "log_url", None) else "",
    )
    subject = f"{ti.dag_id}.{ti.task_id} {end}" + (f": {status}" if status != end else "")
    return {
        "noun": noun,
        "arn": arn,
        "status": status,
        "reason": reason,
        "duration": duration,
        # SNS accepts ASCII only (API reference, Publish).
        "subject": subject.encode("ascii", "replace").decode()[:_LONGEST_SUBJECT],
        "message": "\n".join(line for line in lines if line),
    }


def _is_starting(context: Mapping[str, Any]) -> bool:
    """Whether the callback is that for execution."""
    ti = context["ti"]
    state = getattr(ti, "state", None)
    # Every callback for an end has an exception or a state, except those of Airflow 3's Dag processor for a worker that was killed: their
    # task instance has no start date (task_runner and dag_processing.processor of Airflow 3.3.2; taskinstance of 2.11.0).
    if "exception" in context or state not in (None, "running", "scheduled"):
        return False
    # dag.test() of Airflow 2.11 runs a task in the state "scheduled", and sets no start date.
    return state is not None or isinstance(getattr(ti, "start_date", None), datetime)


def _repeats_start(context: Context) -> bool:
    """Whether the start of this try was reported before: Airflow calls back for it again whenever a task resumes."""
    return _is_starting(context) and is_resumed(context)


def _find_arn(task: Any, ti: Any, resource: Resource) -> str | None:
    """Find the ARN of what a task has created, or what it deletes or waits for."""
    arguments = getattr(task, "arguments", ())
    for key in list_identity_keys(resource, arguments):
        try:
            found = ti.xcom_pull(task_ids=ti.task_id, key=key, map_indexes=ti.map_index)
        # A message without the ARN is better than none: the callback runs once.
        except Exception:
            log.warning("Could not read %s from XCom; the message is sent without it.", key, exc_info=True)
            continue
        if isinstance(found, Mapping):
            found = found.get(resource.identifiers[0])
        if isinstance(found, str):
            return found
    # A delete or a sensor creates nothing: its own argument says which resource it is about.
    argument = resource.identifiers[0]
    value = getattr(task, argument, None) if argument in arguments else None
    # Where Airflow ends a task from outside, its templates have not been rendered.
    return value if isinstance(value, str) and "{" not in value else None


def _explain(error: Any) -> str | None:
    if error is None:
        return None
    # Airflow passes a text of its own if it ended the task from outside.
    if isinstance(error, (CleanRoomsMLError, str)):
        return str(error)
    return f"{type(error).__name__}; see the log of the task"


def _measure(ti: Any) -> float | None:
    """Return the seconds from the start of the try, before any deferral, to now."""
    start = getattr(ti, "start_date", None)
    if not isinstance(start, datetime):
        return None
    end = getattr(ti, "end_date", None) or datetime.now(timezone.utc)
    return float((end - start).total_seconds())


def _format_duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


__all__ = ["CleanRoomsMLNotifier", "CleanRoomsMLSnsNotifier"]
