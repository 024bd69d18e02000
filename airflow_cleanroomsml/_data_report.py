"""What a task reports about its data: to OpenLineage, and with the events of its asset outlets."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._resources.data_flow import DataFlow

log = logging.getLogger(__name__)


class ReportingTask(Protocol):
    """
    A task that reports what it reads and writes.

    Airflow's OpenLineage provider calls methods whose names begin with ``get_openlineage_facets`` in the worker: before the task runs, and
    after it has ended. The base classes of operators and sensors use the functions of this module as these methods, which avoids another
    base class for each task.
    """

    outlets: list[Any]
    #: Identifiers and outputs of the resource that the task is about, as far as this process knows them.
    data_members: Mapping[str, Any]

    def describe_data_flow(self) -> DataFlow:
        """Describe what the task reads and writes."""


def report_start(task: ReportingTask) -> OperatorLineage[Any, Any]:
    """Return what the task reads, for OpenLineage."""
    from airflow_cleanroomsml._lineage import build_lineage

    return build_lineage(task.describe_data_flow(), is_complete=False)


def report_success(task: ReportingTask, _task_instance: Any) -> OperatorLineage[Any, Any]:
    """Return what the task has read and written, for OpenLineage."""
    from airflow_cleanroomsml._lineage import build_lineage

    return build_lineage(task.describe_data_flow(), is_complete=True)


def report_failure(task: ReportingTask, _task_instance: Any) -> OperatorLineage[Any, Any]:
    """Return what the task has read, and which resource it was about, for OpenLineage."""
    from airflow_cleanroomsml._lineage import build_lineage

    return build_lineage(task.describe_data_flow(), is_complete=False)


def remember(task: ReportingTask, members: Mapping[str, Any]) -> None:
    """
    Remember members of the resource that a task is about.

    :param members: Identifiers and outputs, by their XCom keys.
    """
    # A new dictionary, because Airflow's copies of an operator share the old one.
    task.data_members = {**task.data_members, **members}


def report_data(task: ReportingTask, context: Context, members: Mapping[str, Any]) -> None:
    """
    Report what a task has read and written, once it has succeeded; a failure is only logged.

    What the task has created exists by now. If its task failed here, a retry with ``durable=False`` would create another.

    :param members: Identifiers and outputs of its resource, by their XCom keys.
    """
    # Before the check of the outlets: OpenLineage asks for the data of every task.
    remember(task, members)
    if not task.outlets:
        return
    from airflow_cleanroomsml.assets import fill_events

    try:
        fill_events(context, task.outlets, task.describe_data_flow())
    except Exception:
        log.warning(
            "Could not add the resource to the asset events of the task's outlets; the task continues.", exc_info=True
        )
