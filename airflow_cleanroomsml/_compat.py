"""The few names of Airflow that moved between 2.11 and 3.x, from wherever this Airflow keeps them."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow import __version__ as airflow_version

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, BaseSensorOperator, Context, PokeReturnValue, XComArg, get_current_context
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTerminated,
        AirflowTaskTimeout,
        TaskDeferralError,
        TaskDeferralTimeout,
        TaskDeferred,
    )
else:
    try:
        from airflow.sdk import BaseOperator, BaseSensorOperator, PokeReturnValue, XComArg, get_current_context
    except ImportError:  # Airflow 2.11
        from airflow.models.baseoperator import BaseOperator
        from airflow.models.xcom_arg import XComArg
        from airflow.operators.python import get_current_context
        from airflow.sensors.base import BaseSensorOperator, PokeReturnValue
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # before Airflow 3.1
        from airflow.configuration import conf

    def _exception(name: str, older: str = "") -> type[BaseException]:
        """An exception from where this Airflow has it: 3.0 and 3.1 have some in the one module, some in the other."""
        places = []
        for module in ("airflow.sdk.exceptions", "airflow.exceptions"):
            with suppress(ImportError):  # Airflow 2.11
                places.append(import_module(module))
        return next(vars(place)[each] for each in (name, older) for place in places if each in vars(place))

    AirflowException = _exception("AirflowException")
    AirflowFailException = _exception("AirflowFailException")
    AirflowSensorTimeout = _exception("AirflowSensorTimeout")
    AirflowSkipException = _exception("AirflowSkipException")
    AirflowTaskTerminated = _exception("AirflowTaskTerminated")
    AirflowTaskTimeout = _exception("AirflowTaskTimeout")
    TaskDeferralError = _exception("TaskDeferralError")
    TaskDeferred = _exception("TaskDeferred")
    # An older Airflow raises the one for the other.
    TaskDeferralTimeout = _exception("TaskDeferralTimeout", "TaskDeferralError")

    Context = dict

IS_AIRFLOW_2 = airflow_version.startswith("2.")


def stats() -> Any:
    """Airflow's metrics; imported when there is something to measure."""
    try:
        module = import_module("airflow.sdk.observability.stats")
    except ImportError:  # before Airflow 3.2
        module = import_module("airflow.stats")
    return module.Stats


def delete_xcom(ti: Any, key: str) -> None:
    """
    Delete an XCom of a task instance, in a custom backend too.

    :param ti: Anything with ``dag_id``, ``run_id``, ``task_id`` and ``map_index``.
    :raises Exception: It cannot be deleted.
    """
    of = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}
    if not IS_AIRFLOW_2:
        import_module("airflow.sdk.execution_time.xcom").XCom.delete(key=key, **of)
        return
    from airflow.utils.session import create_session

    model = import_module("airflow.models.xcom")
    with create_session() as session:
        # XCom.clear() of 2.11 deletes all keys of a task, and XCom.delete() refuses the rows of a custom backend.
        for row in session.query(model.BaseXCom).filter_by(key=key, **of):
            model.XCom.purge(row, session)
            session.delete(row)


__all__ = [
    "IS_AIRFLOW_2",
    "AirflowException",
    "AirflowFailException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTerminated",
    "AirflowTaskTimeout",
    "BaseOperator",
    "BaseSensorOperator",
    "Context",
    "PokeReturnValue",
    "TaskDeferralError",
    "TaskDeferralTimeout",
    "TaskDeferred",
    "XComArg",
    "conf",
    "delete_xcom",
    "get_current_context",
    "stats",
]
