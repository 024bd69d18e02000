"""What operators that delete or cancel something share."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.lookup import BASE
from airflow_cleanroomsml._resources.table import REACHED, Goal, Resource
from airflow_cleanroomsml.exceptions import ConflictError, InvalidRequestError, ResourceNotFoundError, lines
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator

#: What an argument is that is pulled from an XCom which does not exist: native, or rendered to text.
_ABSENT = (None, "None")


class CleanRoomsMLDeleteOperator(CleanRoomsMLOperator):
    """An operation that deletes or cancels something; gone already is success, and so is what is being deleted."""

    resource: ClassVar[Resource | None] = None
    goal: ClassVar[Goal] = Goal.DELETED

    def _submit(self) -> dict[str, Any]:
        try:
            super()._submit()
        except InvalidRequestError as error:
            raise self._with_source(error) from None
        except ResourceNotFoundError as error:
            if self.goal is Goal.CANCELLED:
                # What can be cancelled does not vanish: the ARN is a wrong one.
                raise
            self.log.info("Nothing to delete: %s", error)
        except ConflictError:
            # It may be under way already: a lost answer is sent for again, and so is a cleared task's.
            if not self._is_reached():
                raise
        return self._target()

    def _with_source(self, error: InvalidRequestError) -> InvalidRequestError:
        """The same error with what to do about an argument that another task should have pushed to XCom."""
        refused = [violation.partition(":")[0] for violation in error.violations]
        absent = [name for name in self.arguments if name in refused and getattr(self, name) in _ABSENT]
        if not absent:
            return error
        return InvalidRequestError(
            lines(
                str(error),
                f"{', '.join(absent)} is None: if it is pulled from XCom, nothing was pushed under that key.",
                "If the task that pushes it created nothing, there is nothing to do here: mark this task as success or skipped.",
                "If it has, check task_ids and key of the xcom_pull, and that the task does not set do_xcom_push=False.",
            ),
            error.violations,
        )

    def _target(self) -> dict[str, Any]:
        """What identifies the resource; an omitted version is the first one here, and the latest in reads (API reference)."""
        if self.resource is not None and self.resource.versions:
            return {"version_identifier": BASE, **self._typed().arguments}
        return self._typed().arguments

    def _is_reached(self) -> bool:
        try:
            found = lookup.read(self.hook, self.resource, self._target()) if self.resource else None
        except ResourceNotFoundError:
            # It was being deleted a moment ago.
            return self.goal is Goal.DELETED
        return (found or {}).get("status") in REACHED[self.goal]
