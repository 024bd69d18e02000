"""What all sensors share."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_cleanroomsml import clock, waiting
from airflow_cleanroomsml._compat import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)
from airflow_cleanroomsml.connection import AwsConnection
from airflow_cleanroomsml.exceptions import CleanRoomsMLError, InvalidRequestError, ResourceNotFoundError
from airflow_cleanroomsml.reports import pushed, why_it_failed
from airflow_cleanroomsml.resources import Goal, Outcome, Resource
from airflow_cleanroomsml.waiting import Observation, Wait

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context

#: Seconds that Airflow's own limit on a deferral comes after ours.
_GRACE = 60


class CleanRoomsMLBaseSensor(AwsConnection, BaseSensorOperator):
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

    def execute(self, context: Context) -> Any:
        """Wait; see the class for what is returned."""
        self.check_connection()
        if not self.deferrable:
            return super().execute(context)
        found = self._first_look(context)
        if isinstance(found, PokeReturnValue) and found.is_done:
            return found.xcom_value
        deadline = clock.now() + self.timeout
        # Airflow's own limit comes later: the trigger ends by itself, and says what it saw last.
        limit = timedelta(seconds=self.timeout + _GRACE)
        return self.defer(trigger=self._trigger(deadline), method_name="execute_complete", timeout=limit)

    def _first_look(self, context: Context) -> bool | PokeReturnValue:
        """As Airflow's own loop takes errors: a failure may skip the task."""
        try:
            return self.poke(context)
        except AirflowException as error:
            if self.never_fail or (self.soft_fail and isinstance(error, AirflowFailException)):
                raise AirflowSkipException(str(error)) from error
            raise

    def _trigger(self, deadline: float) -> Any:
        """What waits in the triggerer; each kind of sensor has its own."""
        raise NotImplementedError


class CleanRoomsMLSensor(CleanRoomsMLBaseSensor):
    """
    Wait for a resource that somebody made.

    A subclass names its ``resource`` and declares what identifies it as keyword-only parameters.

    :param goal: ``created``, ``deleted`` or ``cancelled``: what is waited for.
    """

    resource: ClassVar[Resource]
    #: What identifies the resource; read from the signature.
    arguments: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "resource" in cls.__dict__:
            parameters = inspect.signature(cls.__init__).parameters.values()
            cls.arguments = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
            cls.template_fields = (*cls.arguments, *CleanRoomsMLBaseSensor.template_fields)

    def __init__(self, *, goal: Literal["created", "deleted", "cancelled"] = "created", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.goal = goal
        self._seen: tuple[str, str] | None = None

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Look once.

        :raises JobFailedError: It failed.
        :raises ResourceNotFoundError: There is none of that ARN.
        """
        wait = self._wait(clock.now() + self.timeout)
        observation = waiting.observe(self.hook, wait)
        if self._seen != (observation.status, observation.message):
            self._seen = (observation.status, observation.message)
            level = logging.INFO if observation.status else logging.WARNING
            self.log.log(level, "%s.", waiting.described(wait, observation))
        if observation.outcome == Outcome.AGAIN.value:
            return False
        return PokeReturnValue(is_done=True, xcom_value=self._finish(context, wait, observation))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on after the trigger."""
        wait = Wait(**event["wait"])
        if "observation" not in event:
            raise CleanRoomsMLError(f"The wait broke off: {event.get('error')}")
        return self._finish(context, wait, Observation(**event["observation"]))

    def _finish(self, context: Context, wait: Wait, observation: Observation) -> Any:
        if observation.outcome == Outcome.FAILURE.value and not observation.status:
            raise ResourceNotFoundError(observation.message)
        if observation.outcome == Outcome.FAILURE.value:
            observation = why_it_failed(self.hook, wait, observation)
        waiting.raise_unless_done(wait, observation)
        created = self.goal == Goal.CREATED.value
        report = pushed(context, wait.resource, observation.report) if created else {}
        return self._result(wait.identifiers, report)

    def _result(self, identifiers: Mapping[str, Any], report: Mapping[str, Any]) -> Any:
        return identifiers[self.resource.identifiers[0]]

    def _trigger(self, deadline: float) -> Any:
        from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger

        return CleanRoomsMLWaitTrigger(wait=self._wait(deadline).plain(), **self.connection)

    def _wait(self, deadline: float) -> Wait:
        if self.goal not in [goal.value for goal in Goal]:
            raise InvalidRequestError(f"goal: {self.goal!r} is unknown; allowed: created, deleted, cancelled")
        resource = self._row()
        given = {name: getattr(self, name) for name in self.arguments}
        return Wait(
            resource.noun,
            self.goal,
            self._identified({name: value for name, value in given.items() if value is not None}),
            clock.now(),
            deadline,
            self.poke_interval,
            # An ARN that is not found is a wrong one; what has none may be started later.
            lag=self.timeout + _GRACE if "name" in resource.identifiers else 0.0,
        )

    def _identified(self, given: dict[str, Any]) -> dict[str, Any]:
        """What identifies the resource, as its reading takes it."""
        return given

    def _row(self) -> Resource:
        return self.resource


class CleanRoomsMLMemberSensor(CleanRoomsMLSensor):
    """Wait for what belongs to a member of a collaboration: the caller's own, or as another member sees it."""

    #: The same as another member sees it.
    partners: ClassVar[Resource]

    membership_identifier: Any
    collaboration_identifier: Any

    def _row(self) -> Resource:
        given = [self.membership_identifier, self.collaboration_identifier]
        if given.count(None) != 1:
            raise InvalidRequestError(
                "membership_identifier, collaboration_identifier: give one of the two; the first for what is one's own"
            )
        return self.resource if self.membership_identifier is not None else self.partners
