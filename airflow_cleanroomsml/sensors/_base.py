"""What all sensors share."""

from __future__ import annotations

import inspect
import logging
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import AirflowSensorTimeout, PokeReturnValue, conf
from airflow_cleanroomsml._connection.aws_connection import AwsConnection
from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.table import Goal, Outcome, Resource
from airflow_cleanroomsml._templating import TEXT, is_native, render_by_shape
from airflow_cleanroomsml._waiting import loop
from airflow_cleanroomsml._waiting.outcome import raise_for_outcome, summarize
from airflow_cleanroomsml._waiting.results import complete_result, explain_failure, push_outputs
from airflow_cleanroomsml._waiting.wait import PollResult, Wait, read_poll_result
from airflow_cleanroomsml.exceptions import InvalidRequestError, ResourceNotFoundError
from airflow_cleanroomsml.sensors._errors import GRACE, FailingSensor, broken_off

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context

#: What a template of None renders to.
_NOTHING = (None, "None")


class CleanRoomsMLBaseSensor(AwsConnection, FailingSensor):
    """
    A sensor that speaks to the service.

    :param aws_conn_id: Airflow connection of type ``aws``; None takes boto3's own credentials.
    :param region_name: AWS region.
    :param verify: Whether or with which certificates to verify TLS.
    :param botocore_config: Arguments of ``botocore.config.Config``.
    :param deferrable: Wait in the triggerer; ``mode="reschedule"`` frees the worker between two looks without one.
    """

    template_fields: Collection[str] = AwsConnection.connection_fields
    ui_color = "#e6ffe6"

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config
        self.deferrable = deferrable

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        rest = list(template_fields)
        if parent is self and is_native(jinja_env):
            shapes = {name: shape for name, shape in self._field_shapes().items() if name in rest}
            render_by_shape(self, shapes, context, jinja_env, seen_oids)
            rest = [name for name in rest if name not in shapes]
        super()._do_render_template_fields(parent, rest, context, jinja_env, seen_oids)

    def _field_shapes(self) -> dict[str, Any]:
        """The shapes of template fields, as far as they are texts, or hold texts; see :mod:`airflow_cleanroomsml._templating`."""
        return {"aws_conn_id": TEXT, "region_name": TEXT}

    def execute(self, context: Context) -> Any:
        """
        Wait; see the class for what is returned.

        :raises SensorTimeoutError: It had not come in time.
        """
        self.check_connection()
        if not isinstance(self.deferrable, bool):
            raise InvalidRequestError(
                f"deferrable: {self.deferrable!r} is not valid; must be True or False, not a template"
            )
        if self.deferrable:
            return self._look(context, _clock.now() + self.timeout)
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            raise self._late() from error

    def _look(self, context: Context, deadline: float) -> Any:
        def look() -> Any:
            found = self.poke(context)
            if isinstance(found, PokeReturnValue) and found.is_done:
                return found.xcom_value
            limit = timedelta(seconds=deadline - _clock.now() + GRACE)
            return self.defer(trigger=self._trigger(deadline), method_name="execute_complete", timeout=limit)

        return self._taken(look, deadline)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on after the trigger; the same result, and the same errors, as from waiting in the worker."""
        return self._taken(lambda: self._completed(context, event), event.get("wait", event)["deadline"])

    @abstractmethod
    def _completed(self, context: Context, event: dict[str, Any]) -> Any:
        """What the task returns after the trigger; each kind of sensor has its own."""

    @abstractmethod
    def _trigger(self, deadline: float) -> Any:
        """What waits in the triggerer; each kind of sensor has its own."""


class CleanRoomsMLSensor(CleanRoomsMLBaseSensor):
    """
    Wait for a resource that somebody made.

    A subclass names its ``resource`` and declares what identifies it as keyword-only parameters.

    :param goal: ``created``, ``deleted`` or ``cancelled``: what is waited for.
    """

    resource: ClassVar[Resource]
    #: What identifies the resource; read from the signature.
    arguments: ClassVar[tuple[str, ...]] = ()
    #: Those of them that cannot be left out.
    required: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "resource" in cls.__dict__:
            parameters = inspect.signature(cls.__init__).parameters.values()
            own = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
            cls.arguments = tuple(parameter.name for parameter in own)
            cls.required = tuple(parameter.name for parameter in own if parameter.default is parameter.empty)
            cls.template_fields = (*cls.arguments, *CleanRoomsMLBaseSensor.template_fields)

    def __init__(self, *, goal: Literal["created", "deleted", "cancelled"] = "created", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.goal = goal
        self._seen: PollResult | None = None

    def _field_shapes(self) -> dict[str, Any]:
        from airflow_cleanroomsml._requests.request import sought_shapes

        operations = [name for row in self._rows() for name in (row.get, row.list) if name]
        shapes = sought_shapes(self.resource.service, operations)
        # What an older botocore does not know is an identifier.
        return {**super()._field_shapes(), **{name: shapes.get(name, TEXT) for name in self.arguments}}

    def _rows(self) -> tuple[Resource, ...]:
        """The rows of the resource table that may be meant."""
        return (self.resource,)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Look once.

        :raises JobFailedError: It failed.
        :raises ResourceNotFoundError: There is none of that ARN.
        """
        wait = self._wait(_clock.now() + self.timeout)
        before, seen = self._seen, loop.poll_once(self.hook, wait)
        self._seen = seen.after(before)
        if before is None or (before.status, before.message) != (self._seen.status, self._seen.message):
            self.log.log(logging.INFO if seen.status else logging.WARNING, "%s.", summarize(wait, seen))
        if self._seen.outcome == Outcome.PENDING:
            return False
        return PokeReturnValue(is_done=True, xcom_value=self._finish(context, wait, self._seen))

    def _completed(self, context: Context, event: dict[str, Any]) -> Any:
        # Rendered anew, the arguments may name something else than what was waited for.
        wait = Wait(**event["wait"])
        vars(self)["_sought"] = wait.resource, wait.identifiers
        poll_result = read_poll_result(event)
        if poll_result is None:
            raise broken_off(event.get("error", ""))
        self._seen = complete_result(lambda: self.hook, wait, poll_result)
        if self._seen.outcome == Outcome.PENDING:
            raise self._late()
        return self._finish(context, wait, self._seen)

    def _finish(self, context: Context, wait: Wait, poll_result: PollResult) -> Any:
        if poll_result.outcome == Outcome.FAILURE and not poll_result.status:
            raise ResourceNotFoundError(poll_result.message)
        if poll_result.outcome == Outcome.FAILURE:
            poll_result = explain_failure(lambda: self.hook, wait, poll_result)
        raise_for_outcome(wait, poll_result)
        created = self.goal == Goal.CREATED.value
        report = push_outputs(self, context, wait.resource, poll_result.outputs) if created else {}
        return self._result(wait.identifiers, report)

    def _missed(self) -> tuple[str, ...]:
        resource, identifiers = self._sought
        status, reason = (self._seen.status, self._seen.reason) if self._seen else ("", "")
        return (
            f"The {resource.noun} was still {status or 'not seen'} after {self.timeout:.0f} s, the timeout of the sensor."
            + (" It is still running and still incurring charges." if status else ""),
            reason,
            lookup.describe(resource, identifiers),
        )

    def _result(self, identifiers: Mapping[str, Any], report: Mapping[str, Any]) -> Any:
        return identifiers[self.resource.identifiers[0]]

    def _trigger(self, deadline: float) -> Any:
        from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger

        return CleanRoomsMLWaitTrigger(wait=self._wait(deadline).to_json(), **self.connection)

    def _wait(self, deadline: float) -> Wait:
        if self.goal not in [goal.value for goal in Goal]:
            raise InvalidRequestError(f"goal: {self.goal!r} is unknown; allowed: created, deleted, cancelled")
        resource, identifiers = self._sought
        return Wait(
            resource.noun,
            self.goal,
            identifiers,
            _clock.now(),
            deadline,
            self.poke_interval,
            # An ARN that is not found is a wrong one; what has none may be started later.
            lag=self.timeout + GRACE if not resource.has_own_identifier else 0.0,
        )

    @cached_property
    def _sought(self) -> tuple[Resource, dict[str, Any]]:
        """The row of the resource table, and what identifies the resource, as its reading takes it."""
        from airflow_cleanroomsml._requests.request import sought

        resource = self._row()
        given = {name: getattr(self, name) for name in self.arguments}
        operations = [operation for operation in (resource.get, resource.list) if operation]
        return resource, sought(resource.service, operations, given, required=self.required)

    def _row(self) -> Resource:
        return self.resource


class CleanRoomsMLMemberSensor(CleanRoomsMLSensor):
    """Wait for what belongs to a member of a collaboration: the caller's own, or as another member sees it."""

    #: The same as another member sees it.
    partners: ClassVar[Resource]

    membership_identifier: Any
    collaboration_identifier: Any

    def _rows(self) -> tuple[Resource, ...]:
        return (self.resource, self.partners)

    def _row(self) -> Resource:
        given = [value not in _NOTHING for value in (self.membership_identifier, self.collaboration_identifier)]
        if given.count(True) != 1:
            raise InvalidRequestError(
                "membership_identifier, collaboration_identifier: give exactly one of the two; the first is for your own resources"
            )
        return self.resource if given[0] else self.partners
