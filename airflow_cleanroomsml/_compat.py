"""The few names of Airflow that moved between 2.11 and 3.x, and private parts of botocore, each with what happens without it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow import __version__ as airflow_version

if TYPE_CHECKING:
    from airflow.sdk import (
        BaseOperator,
        BaseSensorOperator,
        Context,
        PokeReturnValue,
        TaskGroup,
        XComArg,
        get_current_context,
    )
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
        from airflow.sdk import (
            BaseOperator,
            BaseSensorOperator,
            PokeReturnValue,
            TaskGroup,
            XComArg,
            get_current_context,
        )
    except ImportError:  # Airflow 2.11
        from airflow.models.baseoperator import BaseOperator
        from airflow.models.xcom_arg import XComArg
        from airflow.operators.python import get_current_context
        from airflow.sensors.base import BaseSensorOperator, PokeReturnValue
        from airflow.utils.task_group import TaskGroup
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


#: Functions that a call has left before the first byte of its request goes out, by module: building and signing the request, choosing the
#: proxy, connecting (CONNECT and the TLS handshake included), and the request's head, which is buffered until it is complete. http.client
#: documents its three; the others belong to botocore. A name that a later release drops makes an error ambiguous, never "not sent".
_CONNECTION_STEPS = ("connect", "putrequest", "putheader")
_STEPS_BEFORE_SENDING = {
    "botocore.client": ("_convert_to_request_dict", "_emit_api_params", "_resolve_endpoint_ruleset"),
    "botocore.endpoint": ("create_request",),
    "botocore.httpsession": ("_get_connection_manager",),
    "http.client": _CONNECTION_STEPS,
    "urllib3.connection": _CONNECTION_STEPS,
}
#: Where botocore reads an answer.
_PARSERS = "botocore.parsers"


def step_before_sending(error: BaseException, handled: BaseException | None = None) -> str:
    """
    The step of a boto3 call that raised an error, if it precedes the first byte of the request; else empty.

    The tracebacks tell: the same classes and texts of urllib3 come from a handshake and from a connection that breaks later. botocore must
    not have sent the request before, in an attempt of its own.

    :param error: What boto3 raised.
    :param handled: What was being handled when the call began; it is the context of the call's own errors and says nothing about them.
    """
    return next((name for module, name in _calls(error, handled) if name in _STEPS_BEFORE_SENDING.get(module, ())), "")


def is_unreadable(error: BaseException, handled: BaseException | None = None) -> bool:
    """Whether an answer came that botocore could not read; parameters as for :func:`step_before_sending`."""
    return any(module == _PARSERS for module, _ in _calls(error, handled))


def _calls(error: BaseException, handled: BaseException | None) -> Iterator[tuple[str, str]]:
    """Module and name of the functions that an error, and the errors that it stems from, were raised in."""
    for each in causes(error, handled):
        for frame, _ in traceback.walk_tb(each.__traceback__):
            yield frame.f_globals.get("__name__", ""), frame.f_code.co_name


def causes(error: BaseException, handled: BaseException | None = None) -> Iterator[BaseException]:
    """An error and what it stems from; parameters as for :func:`step_before_sending`."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and each is not handled and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def botocore_variable(session: Any, name: str) -> Any:
    """
    A variable of boto3's own configuration: from the environment, or from its file.

    :param session: A session of boto3, which has no public way to it.
    :param name: botocore's name of the variable, for instance ``ca_bundle``.
    :return: None where it is not set, or cannot be read.
    """
    core = getattr(session, "_session", None)
    return core.get_config_variable(name) if core is not None else None


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
    "TaskGroup",
    "XComArg",
    "botocore_variable",
    "causes",
    "conf",
    "delete_xcom",
    "get_current_context",
    "is_unreadable",
    "stats",
    "step_before_sending",
]
