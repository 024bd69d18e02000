"""An auth manager that denies some users a Dag, or its XComs, which Airflow's own simple one cannot: its roles are for all Dags."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

DAG = "audience"


class DagAuthManager(SimpleAuthManager):
    """Denies ``noor`` the Dag of these tests, and ``xenia`` its XComs."""

    def is_authorized_dag(self, **arguments: Any) -> bool:
        """Whether a user may do something to a Dag, or to all of them."""
        user, details = arguments["user"].username, arguments.get("details")
        if details and details.id == DAG:
            is_xcom = arguments.get("access_entity") is DagAccessEntity.XCOM
            if user == "noor" or (user == "xenia" and is_xcom):
                return False
        return super().is_authorized_dag(**arguments)
