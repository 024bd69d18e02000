"""The button on a task instance that leads to the page."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_cleanroomsml import _compat
from airflow_cleanroomsml._compat import HAS_REACT_APPS, BaseOperatorLink

if TYPE_CHECKING:
    from airflow_cleanroomsml._compat import BaseOperator, Context

log = logging.getLogger(__name__)


class CleanRoomsMLDetailsLink(BaseOperatorLink):
    """The page with relevance, recall, statuses and identifiers of what the task created."""

    name = "Clean Rooms ML details"
    xcom_key = "_link_CleanRoomsMLDetailsLink"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """
        Return the path of the page, which is relative to Airflow's base URL.

        :param operator: The task; with ``do_xcom_push=False`` there is nothing to show.
        """
        if not operator.do_xcom_push:
            return ""

        def encode(text: str) -> str:
            # As the UI itself encodes them: the browser would otherwise be on another page than its navigation shows.
            return quote(text, safe=":+")

        index = ti_key.map_index
        mapped = f"/mapped/{index}" if index is not None and index >= 0 else ""
        task = f"dags/{encode(ti_key.dag_id)}/runs/{encode(ti_key.run_id)}/tasks/{encode(ti_key.task_id)}"
        return f"{task}{mapped}/plugin/cleanroomsml"


#: For ``operator_extra_links``; empty where Airflow has no such pages.
DETAILS_LINKS: tuple[CleanRoomsMLDetailsLink, ...] = (CleanRoomsMLDetailsLink(),) if HAS_REACT_APPS else ()


def push_details_link(operator: BaseOperator, context: Context) -> None:
    """
    Show the button while the task runs; a failure is only logged.

    Airflow itself pushes a link when a task ends or is deferred (``finalize`` of Airflow 3.3.2's ``task_runner``).
    """
    ti = context.get("ti")
    if not ti or not operator.do_xcom_push:
        return
    for link in DETAILS_LINKS:
        try:
            _compat.store_link(ti, link.xcom_key, link.get_link(operator, ti_key=ti))
        except Exception:
            log.info("Could not push the link to the details; Airflow pushes it when the task ends.", exc_info=True)
