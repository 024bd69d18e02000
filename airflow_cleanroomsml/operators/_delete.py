"""The bases of operators that delete or cancel something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_cleanroomsml._compat import cached, conf
from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.handle import Handle
from airflow_cleanroomsml._resources.lookup import BASE
from airflow_cleanroomsml._resources.table import REACHED, Goal, Resource
from airflow_cleanroomsml._templating import RENDERED_NONE
from airflow_cleanroomsml.exceptions import (
    AccessDeniedError,
    ConflictError,
    InvalidRequestError,
    ResourceNotFoundError,
    join_lines,
    summarize_error,
)
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._resources.data_flow import DataFlow
    from airflow_cleanroomsml.operators._wait import Waiter


class CleanRoomsMLDeleteOperator(CleanRoomsMLOperator):
    """An operation that deletes or cancels something. It succeeds if that was done before, or is in progress."""

    goal: ClassVar[Goal] = Goal.DELETED

    def describe_data_flow(self) -> DataFlow:
        """Describe what the task deletes; what is cancelled remains."""
        from airflow_cleanroomsml._resources.data_flow import DataFlow, find_data

        if self.goal is not Goal.DELETED:
            return DataFlow()
        # After a deferral the request may be rendered to other values than those that were sent.
        return DataFlow(deleted=find_data(self.data_members) or self._find_request_data())

    def _perform(self, context: Context) -> Handle:
        self._delete()
        # Nothing to wait for, and nothing that a later task could use.
        return Handle({})

    def _delete(self) -> None:
        try:
            self._send(self.api.check(self.operation, self.request))
        except InvalidRequestError as error:
            # A clean-up task often runs after a task that created nothing, and therefore pushed nothing.
            raise self._add_xcom_advice(error) from None
        except ResourceNotFoundError as error:
            if self.goal is Goal.CANCELLED:
                # Descriptions of jobs that can be cancelled are never deleted, so the ARN, the account or the region is wrong.
                raise
            self.log.info("Nothing to delete: %s", " ".join(summarize_error(error).split()))

    def _add_xcom_advice(self, error: InvalidRequestError) -> InvalidRequestError:
        """Add to the error what to do about an argument that another task should have pushed to XCom."""
        refused = [violation.partition(":")[0] for violation in error.violations]
        absent = [name for name in self.arguments if name in refused and getattr(self, name) in RENDERED_NONE]
        if not absent:
            return error
        verb, pronoun = ("are", "they are") if len(absent) > 1 else ("is", "it is")
        action = "cancel" if self.goal is Goal.CANCELLED else "delete"
        return InvalidRequestError(
            join_lines(
                str(error),
                f"{', '.join(absent)} {verb} None: if {pronoun} pulled from XCom, nothing was pushed under that key.",
                f"If the task that should push it created nothing, there is nothing to {action}: mark this task as success or skipped.",
                "Otherwise check task_ids and key of the xcom_pull, and that the other task does not set do_xcom_push=False.",
            ),
            error.violations,
        )


class CleanRoomsMLDeleteAndWaitOperator(CleanRoomsMLDeleteOperator):
    """
    An operation that deletes or cancels something and takes time.

    :param wait_for_completion: Wait until it is done; otherwise the task ends when the service has accepted the request.
    :param waiter_delay: Longest pause between two polls, in seconds; a deletion that has just started is polled more often.
    :param waiter_max_attempts: Number of polls; multiplied by ``waiter_delay`` it is the time-out of the wait in seconds. By default, the
        time-out is the longest duration in AWS's documentation plus a margin. ``execution_timeout`` ends the wait, too.
    :param deferrable: Wait in the triggerer.
    """

    resource: ClassVar[Resource]

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

    @property
    def creates_another_on_retry(self) -> bool:
        """Whether a retry would create another resource: never."""
        return False

    def check_arguments(self) -> None:
        """Refuse arguments that are not valid; see the base."""
        super().check_arguments()
        self._waiter.check_arguments()

    def estimate_timeout(self, handle: Handle, *, knows_request: bool) -> float:
        """Return the longest time that it may take, in seconds."""
        return self.resource.timeout

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Return the result after the trigger."""
        return self._waiter.complete(context, event)

    def on_kill(self) -> None:
        """Log that the deletion continues."""
        # The API has no operation that takes back a deletion or a cancellation (service model).
        self.log.warning("Task killed; the %s is still being %s.", self.resource.noun, self.goal.value)

    @cached
    def _waiter(self) -> Waiter:
        # Only a running task needs it, not the Dag processor.
        from airflow_cleanroomsml.operators._wait import Waiter

        return Waiter(self)

    def _perform(self, context: Context) -> Handle:
        try:
            self._delete()
        except ConflictError as error:
            # It may be in progress already: an earlier try sent the request, or botocore did, and the response was lost.
            if not self._is_reached(error):
                raise
        return Handle(self._build_identifiers())

    def _complete(self, context: Context, handle: Handle) -> Any:
        return self._waiter.run(context, handle) if self.wait_for_completion else None

    def _build_identifiers(self) -> dict[str, Any]:
        """Return what identifies the resource; without a version a delete means the first one, a read the latest (API reference)."""
        arguments = self.load_request().arguments
        return {"version_identifier": BASE, **arguments} if self.resource.versions else arguments

    def _is_reached(self, conflict: ConflictError) -> bool:
        """
        Whether the resource is being deleted or cancelled already, or that has ended.

        :raises ConflictError: The caller may not read the resource, so what the service said of the conflict is all there is.
        """
        try:
            description = lookup.read(self.hook, self.resource, self._build_identifiers())
        except ResourceNotFoundError:
            # The conflict was with its deletion, which is now complete.
            return self.goal is Goal.DELETED
        except AccessDeniedError as error:
            reason = f"Whether it is already being {self.goal.value} could not be checked: {summarize_error(error)}"
            raise conflict.extend(reason) from None
        return (description or {}).get("status") in REACHED[self.goal]
