"""What all operators share; a class of ours says only what the service model cannot know."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_cleanroomsml import waiting
from airflow_cleanroomsml._compat import AirflowFailException, BaseOperator, conf
from airflow_cleanroomsml.exceptions import (
    AlreadyExistsError,
    CleanRoomsMLError,
    ConflictError,
    InvalidRequestError,
    OutcomeUnknownError,
    ResourceNotFoundError,
    WaitBrokenError,
    lines,
)
from airflow_cleanroomsml.resources import Goal, Outcome, Resource
from airflow_cleanroomsml.waiting import Observation, Wait

if TYPE_CHECKING:
    from airflow.sdk.definitions.xcom_arg import PlainXComArg

    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook
    from airflow_cleanroomsml.service_model import Request
    from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger

_USABLE = ("ACTIVE", "CREATE_PENDING", "CREATE_IN_PROGRESS")
#: Pauses before each look for what a lost answer may have made, in seconds.
_COMMIT_LAG = (1.0, 5.0)
#: Seconds by which the service's clock may be behind ours.
_SKEW = 300
#: Seconds that Airflow's own limit on a deferral comes after ours, for a triggerer that is down.
_GRACE = 600


class CleanRoomsMLOperator(BaseOperator):
    """
    One operation of the API as a task.

    A subclass names its ``operation`` and declares the request's members as keyword-only parameters, which are stored as they are;
    the template fields follow from the signature.

    :param aws_conn_id: Airflow connection of type ``aws``; None takes boto3's own credentials.
    :param region_name: AWS region.
    :param verify: Whether or with which certificates to verify TLS.
    :param botocore_config: Arguments of ``botocore.config.Config``.
    """

    #: boto3's method name.
    operation: ClassVar[str]
    #: Member of the answer that is the task's result, in snake_case.
    returns: ClassVar[str | None] = None
    #: Request members, in snake_case; read from the signature.
    arguments: ClassVar[tuple[str, ...]] = ()
    template_fields: Collection[str] = ("aws_conn_id", "region_name", "verify")
    ui_color = "#f0e6ff"
    #: What the task returns; ``output["metrics"]`` is what it pushes under another key, which Airflow's own annotation does not allow.
    output: PlainXComArg

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "operation" in cls.__dict__:
            parameters = inspect.signature(cls.__init__).parameters.values()
            cls.arguments = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
            cls.template_fields = (*cls.arguments, *CleanRoomsMLOperator.template_fields)

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config

    @cached_property
    def hook(self) -> CleanRoomsMLHook:
        """The hook, made when the task runs: importing boto3 is not for the Dag processor."""
        from airflow_cleanroomsml.hooks import CleanRoomsMLHook

        return CleanRoomsMLHook(
            self.aws_conn_id, region_name=self.region_name, verify=self.verify, config=self.botocore_config
        )

    @property
    def request(self) -> dict[str, Any]:
        """The arguments that were given."""
        given = {name: getattr(self, name) for name in self.arguments}
        return {name: value for name, value in given.items() if value is not None}

    def execute(self, context: Context) -> Any:
        """Do the operation; see the class for what is returned."""
        self._prepare()
        return self._complete(context, self._submit())

    def _prepare(self) -> None:
        """Refuse before anything is sent what could only fail afterwards."""
        try:
            dict(json.loads(json.dumps(self.botocore_config or {})))
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(
                f"botocore_config: {error}; a dictionary of JSON, the arguments of Config"
            ) from None

    def _submit(self) -> dict[str, Any]:
        """Send the request; the answer's members by their names in snake_case."""
        return self._send(self.hook.check(self.operation, self.request))

    def _send(self, request: Request) -> dict[str, Any]:
        from botocore import xform_name

        return {xform_name(name): value for name, value in self.hook.send(request).items()}

    def _complete(self, context: Context, answer: dict[str, Any]) -> Any:
        """What the task returns, and whatever has to happen before."""
        return answer[self.returns] if self.returns else None


class CleanRoomsMLCreateOperator(CleanRoomsMLOperator):
    """
    An operation that makes something with a name.

    :param if_exists: What to do about one of the same name (and parent): ``fail`` leaves it to the service to refuse; ``reuse``
        looks first and goes on with it.
    """

    resource: ClassVar[Resource]

    def __init__(self, *, if_exists: Literal["fail", "reuse"] = "fail", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.if_exists = if_exists

    def _submit(self) -> dict[str, Any]:
        if self.if_exists not in ("fail", "reuse"):
            raise AirflowFailException(f"if_exists: {self.if_exists!r} is unknown; allowed: fail, reuse")
        request = self.hook.check(self.operation, self.request)
        found = self._existing(request) if self.if_exists == "reuse" else None
        known = found or self._make(request)
        self.log.info("%s the %s.", "Going on with" if found else "Made", waiting.titled(self.resource, known))
        return known

    def _make(self, request: Request) -> dict[str, Any]:
        made_after = time.time() - _SKEW
        try:
            return {**self._identified(request, self._send(request)), "made_after": made_after}
        except AlreadyExistsError as error:
            raise self._with_owner(error, request.arguments) from None
        except OutcomeUnknownError:
            found = self._after_all(request) if self.if_exists == "reuse" else None
            if found is None:
                raise
            return found

    def _after_all(self, request: Request) -> dict[str, Any] | None:
        """What a request whose answer was lost has made; looked for more than once, for a commit may lag."""
        for pause in _COMMIT_LAG:
            time.sleep(pause)
            if found := self._existing(request):
                return found
        return None

    def _existing(self, request: Request) -> dict[str, Any] | None:
        """
        What identifies the newest of the same name that has not failed and is not being deleted.

        :raises AlreadyExistsError: It is not what the request asks for.
        """
        from botocore import xform_name

        entries = waiting.listed(self.hook, self.resource, request.arguments)
        entry = waiting.newest(entry for entry in entries if entry["status"] in _USABLE)
        if entry is None:
            return None
        known = self._identified(request, {xform_name(name): value for name, value in entry.items()})
        if different := request.differences(waiting.read(self.hook, self.resource, known) or {}):
            first = "What has this name is not what is asked for:"
            raise AlreadyExistsError(lines(first, *different, waiting.titled(self.resource, known)))
        return known

    def _identified(self, request: Request, known: Mapping[str, Any]) -> dict[str, Any]:
        """What identifies the resource, from what is known of it and from the request."""
        return {name: known.get(name, request.arguments.get(name)) for name in self.resource.identifiers}

    def _with_owner(self, error: AlreadyExistsError, asked: Mapping[str, Any]) -> AlreadyExistsError:
        """The same error with what stands in the way, where it can be seen."""
        from botocore import xform_name

        try:
            found = waiting.newest(waiting.listed(self.hook, self.resource, asked))
        except CleanRoomsMLError:
            found = None
        if found is None:
            return error
        title = waiting.titled(self.resource, {xform_name(name): value for name, value in found.items()})
        there = f"In the way, {found['status']}, made {found['createTime']:%Y-%m-%d %H:%M:%S %Z}: {title}"
        return AlreadyExistsError(
            lines(str(error), there), operation=error.operation, code=error.code, details=error.details
        )


class CleanRoomsMLWaitingOperator(CleanRoomsMLOperator):
    """
    An operation that takes time.

    :param wait_for_completion: Wait until it is done; otherwise the task ends when the service has accepted it.
    :param waiter_delay: Longest pause between two looks, in seconds; short waits are looked at sooner.
    :param waiter_max_attempts: Times ``waiter_delay``, the seconds after which the task gives up; without it the longest time that
        the service's documents name, and a margin. ``execution_timeout`` ends the wait, too.
    :param deferrable: Wait in the triggerer.
    """

    resource: ClassVar[Resource]
    goal: ClassVar[Goal] = Goal.CREATED

    def __init__(
        self,
        *,
        wait_for_completion: bool = True,
        waiter_delay: float | None = None,
        waiter_max_attempts: int | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.waiter_delay = waiter_delay
        self.waiter_max_attempts = waiter_max_attempts
        self.deferrable = deferrable

    def _prepare(self) -> None:
        super()._prepare()
        for name, kinds in (("waiter_delay", (int, float)), ("waiter_max_attempts", (int,))):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, kinds) or not value > 0):
                raise InvalidRequestError(f"{name}: {value!r} is not possible; a number above 0 is, and no template")

    def _complete(self, context: Context, answer: dict[str, Any]) -> Any:
        if not self.wait_for_completion:
            return self._result(answer, {})
        try:
            wait = self._wait(context, answer)
            observation = waiting.observe(self.hook, wait)
            self.log.info("%s.", waiting.described(wait, observation, time.time()))
            if observation.outcome == Outcome.AGAIN.value and self.deferrable:
                timeout = timedelta(seconds=wait.deadline - time.time() + _GRACE)
                self.defer(trigger=self._trigger(wait.plain()), method_name="execute_complete", timeout=timeout)
            return self._finish(context, wait, waiting.watch(self.hook, wait, observation))
        except AirflowFailException:
            raise
        except Exception as error:
            raise self._broken_off(f"{type(error).__name__}: {error}", answer) from error

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, one that Airflow itself ended included: a trigger that could not be loaded or was never heard of."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowFailException:
            raise
        except Exception as error:
            raise self._broken_off(f"{type(error).__name__}: {error}") from error

    def _broken_off(self, why: str, identifiers: Mapping[str, Any] | None = None) -> CleanRoomsMLError:
        """Looking failed; whether the next try would make another decides whether there may be one."""
        makes_another = self.goal is Goal.CREATED and getattr(self, "if_exists", "fail") != "reuse"
        kind = WaitBrokenError if makes_another else CleanRoomsMLError
        title = waiting.titled(self.resource, identifiers) if identifiers else f"the {self.resource.noun}"
        advice = 'To go on waiting, clear the task with if_exists="reuse".' if makes_another else ""
        return kind(lines("The wait broke off; what was waited for goes on.", why, title, advice))

    def _wait(self, context: Context, answer: Mapping[str, Any]) -> Wait:
        now = time.time()
        delay = self.waiter_delay or self.resource.delay
        deadline = now + (delay * self.waiter_max_attempts if self.waiter_max_attempts else self.resource.timeout)
        started = getattr(context.get("ti"), "start_date", None)
        if self.execution_timeout and started:
            # Airflow's own alarm would be retried, and 2.11 rings it before a resumed task can say anything.
            allowed = self.execution_timeout.total_seconds()
            deadline = min(deadline, started.timestamp() + allowed - min(allowed / 2, max(60, allowed / 20)))
        identifiers = {name: answer[name] for name in self.resource.identifiers}
        after = answer.get("made_after", 0.0)
        return Wait(self.resource.noun, self.goal.value, identifiers, now, deadline, delay, after)

    def _trigger(self, wait: dict[str, Any]) -> CleanRoomsMLWaitTrigger:
        from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger

        return CleanRoomsMLWaitTrigger(
            wait=wait,
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            botocore_config=self.botocore_config,
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on after the trigger; the same result, and the same errors, as from waiting in the worker."""
        # All that is needed is in the event: dag.test() of Airflow 2.11 loses what else a deferral carries.
        wait = Wait(**event["wait"])
        if "observation" not in event:
            raise self._broken_off(event.get("error", ""), wait.identifiers)
        observation = Observation(**event["observation"])
        self.log.info("%s.", waiting.described(wait, observation, time.time()))
        return self._finish(context, wait, observation)

    def _finish(self, context: Context, wait: Wait, observation: Observation) -> Any:
        from botocore import xform_name

        waiting.raise_unless_done(wait, observation)
        report = {xform_name(name): value for name, value in observation.report.items()}
        for key, value in report.items():
            context["ti"].xcom_push(key=key, value=value)
        return self._result(wait.identifiers, report)

    def _result(self, identifiers: Mapping[str, Any], report: Mapping[str, Any]) -> Any:
        """What the task returns, on every path."""
        return identifiers[self.returns] if self.returns else None

    def on_kill(self) -> None:
        """Say that it goes on: the API can cancel neither audience models nor audience jobs."""
        self.log.warning("The task was ended; the %s goes on: the service cannot cancel it.", self.resource.noun)


class CleanRoomsMLDeleteOperator(CleanRoomsMLOperator):
    """An operation that deletes something; gone already is success."""

    def _submit(self) -> dict[str, Any]:
        try:
            super()._submit()
        except ResourceNotFoundError as error:
            self.log.info("Nothing to delete: %s", error)
        except ConflictError:
            # The deletion may be under way already: a lost answer is sent for again, and so is a cleared task's.
            if not self._is_being_deleted():
                raise
        return self.request

    def _is_being_deleted(self) -> bool:
        resource: Resource | None = getattr(self, "resource", None)
        found = waiting.read(self.hook, resource, self.request) if resource else None
        return str((found or {}).get("status", "")).startswith("DELETE_")
