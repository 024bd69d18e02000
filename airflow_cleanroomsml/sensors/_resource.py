"""The bases of the sensors that wait for one resource."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import PokeReturnValue
from airflow_cleanroomsml._data_report import report_data
from airflow_cleanroomsml._link_storage import store_result_links
from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.data_flow import DataFlow, find_data
from airflow_cleanroomsml._resources.table import RUNNING, STOPPED, Goal, Outcome, Resource
from airflow_cleanroomsml._templating import RENDERED_NONE, TEXT
from airflow_cleanroomsml._waiting import loop
from airflow_cleanroomsml._waiting.history import StatusHistory
from airflow_cleanroomsml._waiting.outcome import STILL_RUNNING, describe_stop, raise_for_outcome, summarize
from airflow_cleanroomsml._waiting.results import (
    complete_result,
    explain_failure,
    report_deferral,
    report_end,
    report_outputs,
    write_progress,
)
from airflow_cleanroomsml._waiting.wait import PollResult, Wait, read_poll_result
from airflow_cleanroomsml.exceptions import InvalidRequestError, ResourceNotFoundError, join_lines
from airflow_cleanroomsml.links import choose_links, describe_logs
from airflow_cleanroomsml.sensors._base import CleanRoomsMLBaseSensor
from airflow_cleanroomsml.sensors._errors import SENSOR_DEFERRAL_MARGIN, build_interruption

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context

#: What to do about a resource that has failed to reach the goal.
_NEXT_STEPS = {
    Goal.CREATED: "It will not recover; start another one, and wait for that one.",
    Goal.DELETED: "Once the cause is corrected, delete it again, and clear the sensor.",
    Goal.CANCELLED: "Once the cause is corrected, cancel it again, and clear the sensor.",
}


class CleanRoomsMLSensor(CleanRoomsMLBaseSensor):
    """
    Wait for a resource that exists, or that somebody will create.

    A subclass names its ``resource`` and declares what identifies it as keyword-only parameters.

    :param goal: What to wait for: ``created``, ``deleted`` or ``cancelled``.
    """

    has_details = True
    resource: ClassVar[Resource]
    #: Arguments that identify the resource; read from the signature.
    arguments: ClassVar[tuple[str, ...]] = ()
    #: Those of them that are required.
    required: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "resource" in cls.__dict__:
            parameters = inspect.signature(cls.__init__).parameters.values()
            own = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
            cls.arguments = tuple(parameter.name for parameter in own)
            cls.required = tuple(parameter.name for parameter in own if parameter.default is parameter.empty)
            cls.template_fields = (*cls.arguments, *CleanRoomsMLBaseSensor.template_fields)
            cls.operator_extra_links = choose_links(cls)

    def __init__(self, *, goal: Literal["created", "deleted", "cancelled"] = "created", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.goal = goal
        self._target: tuple[Resource, dict[str, Any]] | None = None
        self._last_poll: PollResult | None = None
        self._history = StatusHistory()
        self._started: float | None = None
        self._reported_at = 0.0

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Poll once.

        :raises JobFailedError: The job failed.
        :raises ResourceNotFoundError: No resource has that ARN.
        """
        if self._started is None:
            self._started = self._find_start(context)
        wait = self._build_wait(_clock.now() + self.timeout)
        previous, latest = self._last_poll, loop.poll_once(self.hook, wait)
        # A failed poll keeps the last known status, so that a time-out reports it.
        self._last_poll = latest.after(previous)
        now = _clock.now()
        self._history.record(self._last_poll, now)
        is_changed = previous is None or (previous.status, previous.message) != (self._last_poll.status, latest.message)
        if previous is None:
            store_result_links(self, context, {**wait.identifiers, **latest.outputs})
        if self._last_poll.outcome is Outcome.PENDING:
            # A poke every few seconds for days would fill the log, and each entry in the store is a request to Airflow's API server.
            if is_changed or now - self._reported_at >= loop.REPORT_INTERVAL:
                self._reported_at = now
                write_progress(context, wait, self._last_poll, now)
            if is_changed:
                # Without a status nothing was read: the service failed, or the resource does not exist yet.
                self.log.log(logging.INFO if latest.status else logging.WARNING, "%s", summarize(wait, latest))
            return False
        return PokeReturnValue(is_done=True, xcom_value=self._finish(context, wait, self._last_poll))

    def build_result(self, identifiers: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
        """
        Build the return value.

        :param identifiers: The arguments that name the resource.
        :param outputs: What the task pushes to XCom beside it.
        """
        return identifiers[self.resource.identifiers[0]]

    def report_result(self, context: Context, identifiers: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
        """
        Report the resource once the wait has succeeded; return the task's result.

        :param identifiers: The arguments that name the resource.
        :param outputs: What the task pushes to XCom beside it.
        """
        members = {**identifiers, **outputs}
        store_result_links(self, context, members)
        report_data(self, context, members)
        return self.build_result(identifiers, outputs)

    def describe_data_flow(self) -> DataFlow:
        """Describe what the sensor waits for, and where it is; the sensor of an export names its location, as the export may not."""
        # After a deferral the arguments may be rendered to other values than those that were waited for.
        given = {name: getattr(self, name) for name in self.arguments}
        inputs = find_data(self._target[1] if self._target else given)
        outputs = [data for data in find_data(self.data_members) if data not in inputs]
        return DataFlow(inputs, outputs, members=self.data_members)

    def describe_timeout(self) -> tuple[str, ...]:
        """Return lines for the error of a time-out."""
        resource, identifiers = self._find_target()
        last = self._last_poll or PollResult("", Outcome.PENDING)
        status = last.status
        # "Did not appear" only if the service said so: the polls may have failed, or nobody polled.
        absence = "did not appear within" if last.is_absent else "could not be read within"
        verdict = f"was still {status} after" if status else absence
        is_running = (self.goal == Goal.CREATED.value and status) or status in RUNNING
        return (
            f"The {resource.noun} {verdict} {self.timeout:.0f} s, the timeout of the sensor."
            + (f" {STILL_RUNNING}" if is_running else ""),
            lookup.describe(resource, identifiers),
            last.reason,
            last.advice,
            # A job of a partner, for which the caller has no such operation, may be cancelled by that partner.
            describe_stop(resource) if is_running and resource.cancel else "",
        )

    def _complete(self, context: Context, event: dict[str, Any]) -> Any:
        # The arguments were rendered again, and may now identify another resource than the one that the trigger polled.
        wait = Wait.from_json(event["wait"])
        self._target = wait.resource, wait.identifiers
        poll_result = read_poll_result(event)
        # The trigger met an error that is not transient, such as missing permissions.
        if poll_result is None:
            raise build_interruption(event.get("error", ""), wait.title)
        self._history = StatusHistory(wait.history)
        self._last_poll = complete_result(lambda: self.hook, wait, poll_result)
        if self._last_poll.outcome is Outcome.PENDING:
            self._report_timeout(context)
            raise self._error_handler.build_timeout()
        return self._finish(context, wait, self._last_poll)

    def _finish(self, context: Context, wait: Wait, poll_result: PollResult) -> Any:
        # Not JobFailedError, which is final: the resource may not exist yet, and Airflow retries this error.
        if poll_result.outcome is Outcome.FAILURE and not poll_result.status:
            message = join_lines(f"The {wait.noun} was not found.", poll_result.message, wait.title)
            raise ResourceNotFoundError(message, to_do=self._advise_on_absence(wait.resource))
        if poll_result.outcome is Outcome.FAILURE:
            poll_result = explain_failure(lambda: self.hook, wait, poll_result)
        report_end(self, context, wait, poll_result, self._history)
        is_failed_job = wait.goal == Goal.CREATED and poll_result.status not in STOPPED
        advice = (describe_logs(wait.noun), wait.resource.failure_advice) if is_failed_job else ()
        next_step = join_lines(*filter(None, advice), _NEXT_STEPS[Goal(wait.goal)])
        raise_for_outcome(wait, poll_result, next_step=next_step)
        outputs = report_outputs(self, context, wait, poll_result, self._history)
        return self.report_result(context, wait.identifiers, outputs)

    def _advise_on_absence(self, resource: Resource) -> str:
        if resource.has_own_identifier:
            return ResourceNotFoundError.advice
        return f"Check the arguments that identify it ({', '.join(self.arguments)}), and whether it has been created."

    def _report_deferral(self, context: Context) -> None:
        if self._last_poll:
            report_deferral(context, self._build_wait(0.0), self._last_poll)

    def _report_timeout(self, context: Context) -> None:
        # What has ended was reported when that was seen.
        if self._last_poll and self._last_poll.outcome is Outcome.PENDING:
            report_end(self, context, self._build_wait(0.0), self._last_poll, self._history)

    def _build_trigger(self, deadline: float) -> Any:
        from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger

        return CleanRoomsMLWaitTrigger(wait=self._build_wait(deadline).to_json(), **self.connection)

    def _build_wait(self, deadline: float) -> Wait:
        goals = [goal.value for goal in Goal]
        if self.goal not in goals:
            raise InvalidRequestError(f"goal: {self.goal!r} is unknown; allowed: {', '.join(goals)}. Nothing was sent.")
        resource, identifiers = self._find_target()
        # Without on_kill: somebody else started the job, so killing a task that only watches it must not cancel it.
        return Wait(
            resource.noun,
            self.goal,
            identifiers,
            self._started or _clock.now(),
            deadline,
            self.poke_interval,
            # An ARN that is not found is wrong, whereas a resource that is identified by its name may be created later.
            lag=self.timeout + SENSOR_DEFERRAL_MARGIN if not resource.has_own_identifier else 0.0,
            history=self._history.statuses,
        )

    def _find_start(self, context: Context) -> float:
        """
        Return when the wait began, in seconds since 1970: the first poll of this process.

        With ``mode="reschedule"`` each poll has a process of its own; Airflow 3 has the time of the first, and has just read it to see
        whether the sensor has timed out.
        """
        read_start = getattr(context.get("ti"), "get_first_reschedule_date", None)
        started = read_start(context) if self.mode == "reschedule" and read_start else None
        return float(started.timestamp()) if started else _clock.now()

    def _find_target(self) -> tuple[Resource, dict[str, Any]]:
        """Return the row of the resource table, and the identifiers of the resource, in the types of the service model."""
        if self._target is None:
            from airflow_cleanroomsml._requests.request import convert_search

            resource = self._choose_row()
            given = {name: getattr(self, name) for name in self.arguments}
            operations = [operation for operation in (resource.get, resource.list) if operation]
            self._target = resource, convert_search(resource.service, operations, given, required=self.required)
        return self._target

    def _list_rows(self) -> tuple[Resource, ...]:
        """Return the rows of the resource table that may apply."""
        return (self.resource,)

    def _choose_row(self) -> Resource:
        """Return the row that applies to the arguments."""
        return self.resource

    def _find_field_shapes(self) -> dict[str, Any]:
        from airflow_cleanroomsml._requests.request import find_search_shapes

        operations = [name for row in self._list_rows() for name in (row.get, row.list) if name]
        shapes = find_search_shapes(self.resource.service, operations)
        # Every argument that an older botocore does not know is an identifier, so a text.
        return {**super()._find_field_shapes(), **{name: shapes.get(name, TEXT) for name in self.arguments}}


class CleanRoomsMLMemberSensor(CleanRoomsMLSensor):
    """Wait for a resource of a member of a collaboration: the caller's own, or another member's as the caller sees it."""

    #: Row of the same resource as another member sees it.
    partners: ClassVar[Resource]

    membership_identifier: Any
    collaboration_identifier: Any

    def _list_rows(self) -> tuple[Resource, ...]:
        return (self.resource, self.partners)

    def _choose_row(self) -> Resource:
        # The two are read by different operations: a member reads its own resources in full, those of others only in part.
        given = [value not in RENDERED_NONE for value in (self.membership_identifier, self.collaboration_identifier)]
        if given.count(True) != 1:
            raise InvalidRequestError(
                "membership_identifier, collaboration_identifier: set exactly one; membership_identifier is for your own resources. "
                "Nothing was sent."
            )
        return self.resource if given[0] else self.partners
