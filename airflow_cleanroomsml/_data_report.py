"""What a task reports about its data: to OpenLineage, and with the events of its asset outlets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._resources.data_flow import DataFlow

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_cleanroomsml._compat import Context


class DataReport:
    """
    A task that reports what it reads and writes.

    Airflow's OpenLineage provider calls the methods whose names begin with ``get_openlineage_facets`` in the worker: before the task runs,
    and after it has ended.
    """

    outlets: list[Any]

    #: Identifiers and outputs of the resource that the task is about, as far as this process knows them.
    _members: Mapping[str, Any] = {}

    def describe_data_flow(self) -> DataFlow:
        """Describe what the task reads and writes; by default nothing, as of an operation that changes settings only."""
        return DataFlow(members=self._members)

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Return what the task reads."""
        from airflow_cleanroomsml._lineage import build_lineage

        return build_lineage(self.describe_data_flow(), is_complete=False)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return what the task has read and written."""
        from airflow_cleanroomsml._lineage import build_lineage

        return build_lineage(self.describe_data_flow(), is_complete=True)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return what the task has read, and which resource it was about."""
        from airflow_cleanroomsml._lineage import build_lineage

        return build_lineage(self.describe_data_flow(), is_complete=False)

    def remember(self, members: Mapping[str, Any]) -> None:
        """
        Remember members of the resource that the task is about.

        :param members: Identifiers and outputs, by their XCom keys.
        """
        # Another dictionary, because Airflow's copies of an operator would share one.
        self._members = {**self._members, **members}

    def report_data(self, context: Context, members: Mapping[str, Any]) -> None:
        """
        Report what the task has read and written, once it has succeeded.

        :param members: Identifiers and outputs of its resource, by their XCom keys.
        """
        self.remember(members)
        if self.outlets:
            from airflow_cleanroomsml.assets import fill_events

            fill_events(context, self.outlets, self.describe_data_flow())
