"""What operators of things that take time share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import AirflowFailException, conf
from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.table import Goal, Outcome, Resource
from airflow_cleanroomsml._waiting import loop
from airflow_cleanroomsml._waiting.outcome import GOES_ON, raise_unless_done
from airflow_cleanroomsml._waiting.results import measure, progress, pushed, seen_at_last, why_it_failed
from airflow_cleanroomsml._waiting.wait import Observation, Wait
from airflow_cleanroomsml.exceptions import (
    CleanRoomsMLError,
    ConfigurationError,
    InvalidRequestError,
    WaitBrokenError,
    lines,
)
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._requests.redaction import Redact

#: Seconds that Airflow's own limit on a deferral comes after ours, for a triggerer that is down.
GRACE = 600
#: More seconds, or attempts, than anything lasts; their product still is a time.
_FOREVER = 1_000_000


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
        #: Whether what is waited for was made by the request as it is rendered now.
        self._knows_request = False

    def _prepare(self) -> None:
        super()._prepare()
        self._require_flags("wait_for_completion", "deferrable")
        for name, kinds in (("waiter_delay", (int, float)), ("waiter_max_attempts", (int,))):
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < _FOREVER
            ):
                raise InvalidRequestError(
                    f"{name}: {value!r} is not possible; a number from 0 to {_FOREVER} is, and no template"
                )

    def _complete(self, context: Context, answer: dict[str, Any]) -> Any:
        if not self.wait_for_completion:
            return self._result(answer, self._report(context, answer))
        try:
            wait, redact = self._wait(context, answer), self._redact()
            observation, tell = loop.observe(self.hook, wait, redact), partial(progress, context, wait)
            tell(observation)
            if observation.outcome == Outcome.AGAIN.value and self.deferrable:
                self._defer(context, wait)
            return self._finish(context, wait, self._watch(context, wait, observation, redact, tell))
        except AirflowFailException:
            raise
        except Exception as error:
            raise self._broken_off(f"{type(error).__name__}: {error}", answer) from error

    def _watch(
        self,
        context: Context,
        wait: Wait,
        observation: Observation,
        redact: Redact,
        tell: Callable[[Observation], None],
    ) -> Observation:
        """Wait in the worker; the last look."""
        return loop.watch(self.hook, wait, observation, redact, tell)

    def _defer(self, context: Context, wait: Wait) -> None:
        from airflow_cleanroomsml.triggers import CleanRoomsMLWaitTrigger

        self.defer(
            trigger=CleanRoomsMLWaitTrigger(wait=wait.plain(), **self.connection),
            method_name="execute_complete",
            timeout=timedelta(seconds=self._limit(context, wait.deadline) - _clock.now()),
        )

    def _limit(self, context: Context, deadline: float) -> float:
        """
        When Airflow ends a deferral by itself, for a triggerer that is down: after our deadline, and half way to ``execution_timeout``.

        Airflow 3 does not apply ``execution_timeout`` to a deferral, and once it is over 2.11 lets no task say anything.
        """
        started = getattr(context.get("ti"), "start_date", None)
        if not self.execution_timeout or not started:
            return deadline + GRACE
        ends = started.timestamp() + self.execution_timeout.total_seconds()
        return float(min(deadline + GRACE, (deadline + ends) / 2))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, one that Airflow itself ended included: a trigger that could not be loaded or was never heard of."""
        self._knows_request = False
        if next_method == "execute_in_turn":
            return super().resume_execution(next_method, next_kwargs, context)
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowFailException:
            raise
        except Exception as error:
            raise self._broken_off(f"{type(error).__name__}: {error}") from error

    def _broken_off(self, why: str, identifiers: Mapping[str, Any] | None = None) -> CleanRoomsMLError:
        """Looking failed; whether the next try would make another decides whether there may be one."""
        makes_another = self._makes_another
        is_final = why.partition(":")[0] == ConfigurationError.__name__
        kind = WaitBrokenError if makes_another else ConfigurationError if is_final else CleanRoomsMLError
        title = lookup.titled(self.resource, identifiers) if identifiers else f"the {self.resource.noun}"
        again = (
            "Once the cause is corrected, clear the task to continue the wait."
            if is_final
            else "A retry continues the wait."
        )
        advice = 'To continue the wait, clear the task with if_exists="reuse".' if makes_another else again
        return kind(lines("The wait was interrupted; the resource is not affected.", why, title, advice))

    @property
    def _makes_another(self) -> bool:
        """Whether the next try would not find what this one has made."""
        found_again = getattr(self, "durable", True) or getattr(self, "if_exists", "fail") != "fail"
        return self.goal is Goal.CREATED and not found_again

    def _ends_by(self, context: Context, deadline: float) -> float:
        """A deadline, or an earlier one before ``execution_timeout``: 2.11 rings that before a resumed task can say anything."""
        started = getattr(context.get("ti"), "start_date", None)
        if not self.execution_timeout or not started:
            return deadline
        allowed = self.execution_timeout.total_seconds()
        return float(min(deadline, started.timestamp() + allowed - min(allowed / 2, max(60, allowed / 20))))

    def _wait(self, context: Context, answer: Mapping[str, Any]) -> Wait:
        now = _clock.now()
        delay = self.waiter_delay or self.resource.delay
        patience = delay * self.waiter_max_attempts if self.waiter_max_attempts else self._timeout(answer)
        deadline = self._ends_by(context, now + patience)
        return Wait(
            self.resource.noun,
            self.goal.value,
            {name: answer[name] for name in self.resource.identifiers if answer.get(name) is not None},
            now,
            deadline,
            delay,
            answer.get("made_after", 0.0),
            connection=self.rendered_connection,
        )

    def _timeout(self, known: Mapping[str, Any]) -> float:
        """
        Seconds that it may take where nobody says otherwise.

        :param known: What identifies it.
        """
        return self.resource.timeout

    def _redact(self) -> Redact:
        """
        How a text of the service about what is waited for is shown.

        Only the request that was sent here is known to be the one that made it: after a deferral it is rendered anew, an earlier try may
        have sent another one, and whoever cancels or deletes never had it. Else the service's own description has to show what it was.
        """
        from airflow_cleanroomsml._requests.redaction import redact_by_description

        request, known = self._typed(), self._knows_request

        def redact(shape: Any, found: Mapping[str, Any], text: str) -> str:
            return request.redact(redact_by_description(shape, found, text, known=known))

        return redact

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on after the trigger; the same result, and the same errors, as from waiting in the worker."""
        # All that is needed is in the event: dag.test() of Airflow 2.11 loses what else a deferral carries.
        wait = Wait(**event["wait"])
        self.restore_connection(wait.connection)
        if "observation" not in event:
            raise self._broken_off(event.get("error", ""), wait.identifiers)
        # Redacted by the trigger, which knows the description. What a description may lack is usually still in the request.
        observation = Observation(**event["observation"])
        observation = observation._replace(message=self._typed().redact(observation.message))
        progress(context, wait, observation)
        return self._finish(context, wait, observation)

    def _finish(self, context: Context, wait: Wait, observation: Observation) -> Any:
        observation = self._at_last(wait, observation)
        if observation.outcome == Outcome.FAILURE.value:
            observation = why_it_failed(lambda: self.hook, wait, observation, self._redact())
        measure(wait, observation)
        raise_unless_done(wait, observation, partial(self._end, wait))
        return self._result(wait.identifiers, self._report(context, observation.report))

    def _at_last(self, wait: Wait, observation: Observation) -> Observation:
        """What is to be seen now."""
        return seen_at_last(lambda: self.hook, wait, observation, self._redact())

    def _report(self, context: Context, known: Mapping[str, Any]) -> dict[str, Any]:
        return pushed(self, context, self.resource, known) if self.goal is Goal.CREATED else {}

    def _result(self, identifiers: Mapping[str, Any], report: Mapping[str, Any]) -> Any:
        """What the task returns, on every path."""
        return identifiers[self.returns] if self.returns else None

    def _end(self, wait: Wait) -> str:
        """Do what is to be done when the time is over, and say what becomes of it."""
        return GOES_ON

    def on_kill(self) -> None:
        """Say what goes on."""
        self.log.warning("Task killed; the %s is still being %s.", self.resource.noun, self.goal.value)
