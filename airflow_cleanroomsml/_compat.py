"""
Differences between versions of Airflow and Python, and private APIs of other packages.

If a later release drops a private API, this package loses an optimisation or a detail of a message, and nothing else.
"""

from __future__ import annotations

import inspect
import signal
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from airflow import __version__ as airflow_version

if TYPE_CHECKING:
    from airflow.sdk import (
        BaseOperator,
        BaseOperatorLink,
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
            BaseOperatorLink,
            TaskGroup,
            XComArg,
            get_current_context,
        )
    except ImportError:  # Airflow 2.11
        from airflow.models.baseoperator import BaseOperator
        from airflow.models.baseoperatorlink import BaseOperatorLink
        from airflow.models.xcom_arg import XComArg
        from airflow.operators.python import get_current_context
        from airflow.utils.task_group import TaskGroup
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # before Airflow 3.1
        from airflow.configuration import conf

    def _find_exception(name: str, older: str = "") -> type[BaseException]:
        """Find an exception: Airflow 3.0 and 3.1 have some in one module and some in the other."""
        places = []
        for module in ("airflow.sdk.exceptions", "airflow.exceptions"):
            with suppress(ImportError):  # Airflow 2.11
                places.append(import_module(module))
        return next(vars(place)[each] for each in (name, older) for place in places if each in vars(place))

    AirflowException = _find_exception("AirflowException")
    AirflowFailException = _find_exception("AirflowFailException")
    AirflowSensorTimeout = _find_exception("AirflowSensorTimeout")
    AirflowSkipException = _find_exception("AirflowSkipException")
    AirflowTaskTerminated = _find_exception("AirflowTaskTerminated")
    AirflowTaskTimeout = _find_exception("AirflowTaskTimeout")
    TaskDeferralError = _find_exception("TaskDeferralError")
    TaskDeferred = _find_exception("TaskDeferred")
    # Airflow 2.11 raises TaskDeferralError for a time-out, too.
    TaskDeferralTimeout = _find_exception("TaskDeferralTimeout", "TaskDeferralError")

    Context = dict

    def __getattr__(name: str) -> Any:
        """Import the base of sensors on demand: many Dag files have no sensor."""
        if name not in ("BaseSensorOperator", "PokeReturnValue"):
            raise AttributeError(name)
        return getattr(import_module("airflow.sensors.base" if IS_AIRFLOW_2 else "airflow.sdk"), name)


IS_AIRFLOW_2 = airflow_version.startswith("2.")
#: Whether a plugin can add a page to the UI (3.1 and later).
HAS_REACT_APPS = not airflow_version.startswith(("2.", "3.0."))


if TYPE_CHECKING or sys.version_info >= (3, 12):
    cached = cached_property
else:

    class cached:
        """
        ``functools.cached_property`` as Python 3.12 has it.

        Before, each property has one lock for all instances of the process, and holds it while it computes a value: a login that hangs for
        one connection would hold up all others.
        """

        def __init__(self, compute: Callable[[Any], Any]) -> None:
            self._compute = compute
            self.__doc__ = compute.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self._name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            value = vars(instance)[self._name] = self._compute(instance)
            return value


T = TypeVar("T")


def clear_cached(instance: T) -> T:
    """Remove the values of cached properties from a copy, and return it: they may refer to the instance that was copied."""
    for name in [name for name in vars(instance) if isinstance(getattr(type(instance), name, None), cached)]:
        del vars(instance)[name]
    return instance


#: What Airflow names as the next method of a task whose deferral it ended (``TRIGGER_FAIL_REPR`` in 2.11 and 3.x).
FAILED_DEFERRAL = "__fail__"


#: Stands for the state of a task instance that no longer exists.
NO_TASK_INSTANCE = "gone"


def read_task_state(ti: Any) -> str:
    """
    Read the current state of a task instance: :data:`NO_TASK_INSTANCE` if it does not exist, empty if it has no state, as after a clear.

    Call it where the supervisor answers: in the main thread of a worker, but not in a signal handler, or in one of asgiref's threads.

    :param ti: Anything with ``dag_id``, ``run_id``, ``task_id`` and ``map_index``.
    :raises Exception: It cannot be read.
    """
    return _query_task_state(ti) if IS_AIRFLOW_2 else _ask_supervisor(ti)


def _query_task_state(ti: Any) -> str:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    key = {name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id", "map_index")}
    with create_session() as session:
        row = session.query(TaskInstance.state).filter_by(**key).one_or_none()
    return NO_TASK_INSTANCE if row is None else str(row[0] or "")


def _ask_supervisor(ti: Any) -> str:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    # A task of Airflow 3 has no access to the database; this is the public way to read the state of a task instance, its own included.
    runs = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    # The key of a mapped task contains its index.
    states = list(runs.get(ti.run_id, {}).values())
    return str(states[0] or "") if states else NO_TASK_INSTANCE


def is_resumed(context: Mapping[str, Any]) -> bool:
    """
    Whether a try continues that began in another process, before a deferral or a reschedule.

    Airflow calls ``on_execute_callback`` in both processes (``_run_execute_callback`` of 2.11, ``task_runner.run`` of 3.x).

    :param context: The context of the task.
    """
    ti = context["ti"]
    # The attribute next_method is public in 2.11 only. Without it, a deferred task counts as one that starts.
    server = getattr(ti, "_ti_context_from_server", None)
    if getattr(ti, "next_method", None) or getattr(server, "next_method", None):
        return True
    if IS_AIRFLOW_2 and getattr(context.get("task"), "mode", "") == "reschedule":
        return _count_reschedules(ti) > 0
    return bool(context.get("task_reschedule_count"))


def _count_reschedules(ti: Any) -> int:
    from airflow.models.taskreschedule import TaskReschedule
    from airflow.utils.session import create_session

    key = {name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id", "map_index", "try_number")}
    with create_session() as session:
        return int(session.query(TaskReschedule.id).filter_by(**key).count())


def is_deferral_timeout(error: BaseException | str) -> bool:
    """
    Whether Airflow ended a deferral because it timed out, and not because its trigger failed.

    Only the text distinguishes them in every version: "Trigger timeout" (``TriggerFailureReason``), or "Trigger/execution timeout" in 2.11,
    which has one class for both.

    :param error: The error, or its text.
    """
    return "timeout" in str(error)


def is_execution_timeout() -> bool:
    """
    Whether Airflow called the current ``on_kill`` because ``execution_timeout`` has passed.

    Airflow passes no reason. At a time-out it calls ``on_kill`` while it handles the error of its alarm (``TaskInstance._execute_task`` of
    2.11, ``task_runner._execute_task`` of 3.x), otherwise from a signal handler.
    """
    return isinstance(sys.exc_info()[1], AirflowTaskTimeout)


def stop_timeout_alarm() -> None:
    """Stop the alarm that Airflow sets for ``execution_timeout`` (``TimeoutPosix`` in 2.11 and 3.x), in the worker's own process."""
    # Airflow has no public function for this; without a timer it does nothing.
    signal.setitimer(signal.ITIMER_REAL, 0)


def load_stats() -> Any:
    """Load Airflow's client for metrics."""
    try:
        module = import_module("airflow.sdk.observability.stats")
    except ImportError:  # before Airflow 3.2
        module = import_module("airflow.stats")
    return module.Stats


def find_asset_classes() -> tuple[type[Any], ...]:
    """Return the classes of assets, and of references to them; the first one makes assets. In Airflow 2.11 they are datasets."""
    if IS_AIRFLOW_2:
        return (import_module("airflow.datasets").Dataset,)
    module = import_module("airflow.sdk.definitions.asset")
    return module.Asset, module.AssetRef


def find_asset_alias_class() -> type[Any]:
    """Return the class of aliases of assets."""
    if IS_AIRFLOW_2:
        alias: type[Any] = import_module("airflow.datasets").DatasetAlias
    else:
        alias = import_module("airflow.sdk.definitions.asset").AssetAlias
    return alias


#: Functions that return before the first byte of a request is sent, by module: building and signing the request, choosing the proxy,
#: connecting (CONNECT and the TLS handshake included), and the request's head, which is buffered until it is complete. http.client
#: documents its three; the others belong to botocore. If a later release drops a name, an error becomes ambiguous, but never "not sent".
_CONNECTION_STEPS = ("connect", "putrequest", "putheader")
_STEPS_BEFORE_SENDING = {
    "botocore.client": ("_convert_to_request_dict", "_emit_api_params", "_resolve_endpoint_ruleset"),
    "botocore.endpoint": ("create_request",),
    "botocore.httpsession": ("_get_connection_manager", "_setup_ssl_cert"),
    "http.client": _CONNECTION_STEPS,
    "urllib3.connection": _CONNECTION_STEPS,
    "urllib3.connectionpool": ("_get_conn",),
    "urllib3.poolmanager": ("connection_from_url",),
}
#: Module in which botocore parses responses.
_PARSERS = "botocore.parsers"


def find_step_before_sending(error: BaseException, handled: BaseException | None = None) -> str:
    """
    Return the step of a boto3 call that raised an error, if it precedes the first byte of the request; else an empty string.

    Only the traceback shows it: urllib3 raises the same classes with the same texts during a handshake and when a connection breaks later.
    The call must not have been retried by botocore, which may have sent the request in an earlier attempt.

    :param error: What boto3 raised.
    :param handled: The error that was being handled when the call began. Python makes it the context of the call's own errors, about which
        it says nothing.
    """
    return next(
        (name for module, name in _iterate_calls(error, handled) if name in _STEPS_BEFORE_SENDING.get(module, ())), ""
    )


def is_unreadable(error: BaseException, handled: BaseException | None = None) -> bool:
    """Whether botocore received a response that it could not read; parameters as for :func:`find_step_before_sending`."""
    return any(module == _PARSERS for module, _ in _iterate_calls(error, handled))


def _iterate_calls(error: BaseException, handled: BaseException | None) -> Iterator[tuple[str, str]]:
    """Iterate over the functions in the tracebacks of an error and its causes, as module and name."""
    for each in iterate_causes(error, handled):
        for frame, _ in traceback.walk_tb(each.__traceback__):
            yield frame.f_globals.get("__name__", ""), frame.f_code.co_name


def iterate_causes(error: BaseException, handled: BaseException | None = None) -> Iterator[BaseException]:
    """Iterate over an error and its causes; parameters as for :func:`find_step_before_sending`."""
    # Nothing in Python prevents a cycle among causes and contexts.
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and each is not handled and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def read_botocore_variable(session: Any, name: str) -> Any:
    """
    Read a variable of boto3's own configuration: from the environment, or from its file.

    :param session: A session of boto3, which has no public method for this.
    :param name: botocore's name of the variable, for instance ``ca_bundle``.
    :return: None if the variable is not set, or cannot be read.
    """
    core = getattr(session, "_session", None)
    return core.get_config_variable(name) if core is not None else None


def compute_property(cls: type, name: str, instance: Any) -> Any:
    """
    Compute a ``functools.cached_property`` of a base class, without caching its value.

    Before Python 3.12 such a property has one lock for all instances, and holds it while it computes. If the base class turns it into
    another kind of property, the value is read as usual.
    """
    attribute = inspect.getattr_static(cls, name)
    compute = getattr(attribute, "func", None)
    return compute(instance) if compute else attribute.__get__(instance, type(instance))


def render_own_fields(cls: type[T]) -> type[T]:
    """
    Decorate an operator: its method ``render_fields`` renders the template fields.

    Airflow renders an operator, and the operator of a mapped task, by its method ``_do_render_template_fields`` (2.11 and 3.x). If a later
    release does not have it, ``render_template_fields``, which is public, is replaced instead.
    """
    decorated: Any = cls
    render_by_airflow = getattr(cls, "_do_render_template_fields", None)

    def render(
        self: Any, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        def render_others(names: Iterable[str]) -> None:
            if render_by_airflow:
                render_by_airflow(self, parent, names, context, jinja_env, seen_oids)
                return
            for name in names:
                setattr(self, name, self.render_template(getattr(self, name), context, jinja_env, seen_oids))

        # A value may have template fields of its own, which Airflow renders with the operator's method, too.
        if parent is self:
            self.render_fields(list(template_fields), render_others, context, jinja_env, seen_oids)
        else:
            render_others(template_fields)

    def render_publicly(self: Any, context: Context, jinja_env: Any = None) -> None:
        render(self, self, self.template_fields, context, jinja_env or self.get_template_env(), set())

    if render_by_airflow:
        decorated._do_render_template_fields = render
    else:
        decorated.render_template_fields = render_publicly
    return cls


def name_caller(find: Callable[[], str]) -> Callable[[type[T]], type[T]]:
    """
    Decorate a hook: its user agent names the caller that a function finds.

    The amazon provider opens the source of every frame on the stack to find it (``AwsGenericHook._get_caller``, 9.8 to 9.39), which takes
    longer than making the client, and finds nothing when a deferred task resumes. If a later release does not call this method, only that
    is lost.
    """

    def decorate(cls: type[T]) -> type[T]:
        def get_caller(*_: Any, **__: Any) -> str:
            return find()

        decorated: Any = cls
        decorated._get_caller = get_caller
        return cls

    return decorate


def intercept_responses(session: Any, service: str, handle: Callable[..., None]) -> None:
    """
    Call a function with each response of a service before botocore parses it.

    :param session: A session of boto3. If its botocore no longer emits the event, the function is not called.
    :param handle: Takes ``response_dict`` and ``customized_response_dict``, whose content is added to the parsed response.
    """
    session.events.register(f"before-parse.{service}", handle)


def set_timestamp_parser(session: Any, parser: Callable[[Any], Any]) -> None:
    """
    Set the timestamp parser of the clients that a session of boto3 makes; boto3 has no public method for this.

    If a later botocore has no such component, its own parser remains, which takes longer.
    """
    with suppress(AttributeError):
        session._session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parser)


def delete_xcom(ti: Any, key: str) -> None:
    """
    Delete an XCom of a task instance, in a custom backend too.

    :param ti: Anything with ``dag_id``, ``run_id``, ``task_id`` and ``map_index``.
    :raises Exception: It cannot be deleted.
    """
    of = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}
    if not IS_AIRFLOW_2:
        import_module("airflow.sdk.execution_time.xcom").XCom.delete(key=key, **of)
        if airflow_version.startswith("3.0."):
            _delete_mapped_xcom(key, of)
        return
    from airflow.utils.session import create_session

    model = import_module("airflow.models.xcom")
    with create_session() as session:
        # XCom.clear() of 2.11 deletes all keys of a task, and XCom.delete() refuses the rows of a custom backend.
        for row in session.query(model.BaseXCom).filter_by(key=key, **of):
            model.XCom.purge(row, session)
            session.delete(row)


def _delete_mapped_xcom(key: str, of: Mapping[str, Any]) -> None:
    """Delete an XCom of a mapped task: ``XCom.delete`` of Airflow 3.0 leaves out the map index (apache/airflow#54954)."""
    execution = "airflow.sdk.execution_time"
    message = import_module(f"{execution}.comms").DeleteXCom(key=key, **of)
    import_module(f"{execution}.task_runner").SUPERVISOR_COMMS.send(message)


def find_class(module: str, name: str, fallback: type[T]) -> type[T]:
    """
    Return a class that older releases of Airflow do not have.

    :param fallback: What is returned instead.
    """
    try:
        found: type[T] = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return fallback
    return found


def list_asset_stores(trigger: Any) -> list[Any]:
    """
    Return the stores in which the trigger of an asset watcher can keep state: one for each asset that it watches.

    Empty before Airflow 3.3, and for a trigger that watches no asset. Airflow 3.3 passes one object for all (``AssetStateStoreAccessors``),
    whose public methods fail for several assets, and watchers with equal triggers share a trigger. If a later release renames the object's
    attributes, only a trigger of several assets keeps no state.
    """
    store = getattr(trigger, "asset_state_store", None)
    if store is None:
        return []
    by_name = getattr(store, "_by_name", None)
    if isinstance(by_name, dict):
        return [by_name[name] for name in sorted(by_name)]
    return [store]


def store_link(ti: Any, key: str, url: str) -> None:
    """
    Store an extra link of a task instance, so that the UI shows it at once.

    Airflow 3 stores links in its database itself, whatever the XCom backend is (``task_runner.finalize``), and its API server reads them
    there. Airflow 2.11 reads them through the backend.

    :raises Exception: It cannot be stored.
    """
    if IS_AIRFLOW_2:
        ti.xcom_push(key=key, value=url)
        return
    of = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}
    import_module("airflow.sdk.bases.xcom").BaseXCom.set(key=key, value=url, **of)


def read_link(ti_key: Any, key: str) -> str:
    """
    Read an extra link that :func:`store_link` has stored; empty if there is none.

    :param ti_key: Anything with ``dag_id``, ``run_id``, ``task_id`` and ``map_index``.
    :raises Exception: It cannot be read.
    """
    module, name = ("airflow.models.xcom", "XCom") if IS_AIRFLOW_2 else ("airflow.sdk.bases.xcom", "BaseXCom")
    return str(getattr(import_module(module), name).get_value(ti_key=ti_key, key=key) or "")


def list_config_options() -> Collection[str] | None:
    """Return the names of the options of ``botocore.config.Config``; None if botocore does not list them, so that none can be rejected."""
    from botocore.config import Config

    return getattr(Config, "OPTION_DEFAULTS", None)


def list_signature_versions() -> Collection[str] | None:
    """Return the values of the option ``signature_version``; None if botocore does not list them, so that none can be rejected."""
    return getattr(import_module("botocore.auth"), "AUTH_TYPE_MAPS", None)


__all__ = [
    "FAILED_DEFERRAL",
    "HAS_REACT_APPS",
    "IS_AIRFLOW_2",
    "NO_TASK_INSTANCE",
    "AirflowException",
    "AirflowFailException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTerminated",
    "AirflowTaskTimeout",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "Context",
    "PokeReturnValue",
    "TaskDeferralError",
    "TaskDeferralTimeout",
    "TaskDeferred",
    "TaskGroup",
    "XComArg",
    "cached",
    "clear_cached",
    "compute_property",
    "conf",
    "delete_xcom",
    "find_asset_alias_class",
    "find_asset_classes",
    "find_class",
    "find_step_before_sending",
    "get_current_context",
    "intercept_responses",
    "is_deferral_timeout",
    "is_execution_timeout",
    "is_resumed",
    "is_unreadable",
    "iterate_causes",
    "list_asset_stores",
    "list_config_options",
    "list_signature_versions",
    "load_stats",
    "name_caller",
    "read_botocore_variable",
    "read_link",
    "read_task_state",
    "render_own_fields",
    "set_timestamp_parser",
    "stop_timeout_alarm",
    "store_link",
]
