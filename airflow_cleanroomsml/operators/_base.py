"""The base of all operators: a subclass declares only what the service model does not contain."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_cleanroomsml._compat import AirflowException, BaseOperator, clear_cached, render_own_fields
from airflow_cleanroomsml._connection.aws_connection import AwsConnection
from airflow_cleanroomsml._data_report import report_data, report_failure, report_start, report_success
from airflow_cleanroomsml._requests.sensitive import hide, holds_sensitive, reveal
from airflow_cleanroomsml._resources.handle import Handle
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS_ML, Resource
from airflow_cleanroomsml._templating import TEXT, describe_template_error, render_by_shape, render_value_by_shape
from airflow_cleanroomsml.exceptions import CleanRoomsMLError, InvalidRequestError, QuotaExceededError
from airflow_cleanroomsml.links import choose_links

if TYPE_CHECKING:
    from airflow.sdk.definitions.xcom_arg import PlainXComArg
    from typing_extensions import Self

    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml._requests.request import Request
    from airflow_cleanroomsml._resources.data_flow import Data, DataFlow
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook
    from airflow_cleanroomsml.operators._wait import Waiter


@render_own_fields
class CleanRoomsMLOperator(AwsConnection, BaseOperator):
    """
    A task that calls the service.

    A subclass for one operation of the API names its ``operation`` and declares the request's members as keyword-only parameters, which
    are stored as they are; the template fields follow from the signature. A rendered argument that may be confidential, such as SQL or
    the environment of a container, is kept as :class:`~airflow_cleanroomsml._requests.sensitive.Hidden`; ``request`` has the plain values.

    :param aws_conn_id: Airflow connection of type ``aws``; None uses boto3's own credentials.
    :param region_name: AWS region.
    :param verify: Whether to verify TLS, or the path of a CA bundle.
    :param botocore_config: Arguments of ``botocore.config.Config``.
    """

    template_fields: Collection[str] = AwsConnection.connection_fields
    ui_color = "#f0e6ff"
    #: The task's return value; ``output["metrics"]`` is what it pushes under another key, which Airflow's own annotation does not allow.
    output: PlainXComArg

    #: boto3's name of the service.
    service: str = CLEAN_ROOMS_ML
    #: boto3's method name; empty if the class is not about one operation.
    operation: str = ""
    #: Row of the resource table; None if the class is not about one resource.
    resource: ClassVar[Resource | None] = None
    #: For a class that is not about one operation: the operation to whose reference its tasks link.
    reference: ClassVar[str] = ""
    #: Whether Airflow's UI has a page about what tasks wait for.
    has_details: ClassVar[bool] = False

    #: Identifiers and outputs of the resource that the task is about, as far as this process knows them.
    data_members: Mapping[str, Any] = {}
    #: What the resource was created from, if the request as it is rendered now may not say it; None if it does.
    data_sources: Sequence[Data] | None = None
    # Airflow's OpenLineage provider calls these by name.
    get_openlineage_facets_on_start = report_start
    get_openlineage_facets_on_complete = report_success
    get_openlineage_facets_on_failure = report_failure
    #: Member of the response that the task returns, in snake_case.
    returns: ClassVar[str | None] = None
    #: Request members, in snake_case; read from the signature.
    arguments: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Not in classes that users derive: their __init__ often takes **kwargs alone, and they keep the fields of the class above.
        if "operation" in cls.__dict__:
            parameters = inspect.signature(cls.__init__).parameters.values()
            cls.arguments = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
            cls.template_fields = (*cls.arguments, *AwsConnection.connection_fields)
        if {"operation", "reference"} & set(cls.__dict__):
            cls.operator_extra_links = choose_links(cls)

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config

    @property
    def api(self) -> CleanRoomsMLHook:
        """The hook of the operation's service."""
        return self.hook.of(self.service)

    @property
    def request(self) -> dict[str, Any]:
        """The arguments of the request that are not None."""
        given = {name: reveal(getattr(self, name)) for name in self.arguments}
        return {name: value for name, value in given.items() if value is not None}

    def describe_data_flow(self) -> DataFlow:
        """Describe what the task reads and writes; by default nothing, as of an operation that changes settings only."""
        # Imported here and in subclasses: Dag files that are parsed do not need it, and it takes a twentieth of their import.
        from airflow_cleanroomsml._resources.data_flow import DataFlow

        return DataFlow(members=self.data_members)

    def load_request(self) -> Request:
        """Build the request, typed and checked; warnings about it were logged when it was sent."""
        # Imported here because importing botocore would slow down every parse of a Dag file.
        from airflow_cleanroomsml._requests.request import Request, load

        return Request(load(self.service), self.operation, self.request)

    def prepare_for_execution(self) -> Self:
        """Return the copy that Airflow executes. ``dag.test()`` of Airflow 2.11 copies one that has been deferred."""
        task: Self = super().prepare_for_execution()
        return clear_cached(task)

    def execute(self, context: Context) -> Any:
        """Run the operation; see the class for the return value."""
        self.data_members, self.data_sources = {}, None
        # First, so that no invalid argument can fail the task while a job runs and costs money.
        self.check_arguments()
        # Loaded when a task runs: parsing a Dag file does not need it.
        from airflow_cleanroomsml._link_storage import store_request_links

        store_request_links(self, context)
        try:
            return self._complete(context, self._perform(context))
        except QuotaExceededError as error:
            # The only error that has a page of its own: the quota in Service Quotas, where an increase is requested.
            from airflow_cleanroomsml._link_storage import store_error_links

            store_error_links(self, context, error)
            raise

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral, even if Airflow ended it because the trigger could not be loaded or sent no event in time."""
        # Airflow calls this for every resumption, execute_complete() only after an event: a deferral that it ended itself has none.
        resume = super().resume_execution
        if self._waiter is None:
            return resume(next_method, next_kwargs, context)
        return self._waiter.resume(resume, next_method, next_kwargs, context)

    def check_arguments(self) -> None:
        """
        Refuse arguments that would otherwise fail only after something was sent.

        :raises InvalidRequestError: An argument of the operator is not valid.
        :raises ConfigurationError: An argument of the connection is not valid.
        """
        self.check_connection()

    def build_result(self, identifiers: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
        """
        Build the return value.

        :param identifiers: The arguments that name the resource.
        :param outputs: What the task pushes to XCom beside it.
        """
        return identifiers[self.returns] if self.returns else None

    def report_result(self, context: Context, identifiers: Mapping[str, Any], outputs: Mapping[str, Any]) -> Any:
        """
        Report the resource that the task is about, once it has succeeded; return the task's result.

        :param identifiers: The arguments that name the resource.
        :param outputs: What the task pushes to XCom beside it.
        """
        members = {**identifiers, **outputs}
        from airflow_cleanroomsml._link_storage import store_result_links

        store_result_links(self, context, members)
        report_data(self, context, members)
        return self.build_result(identifiers, outputs)

    def render_fields(
        self,
        names: list[str],
        render_by_airflow: Callable[[Iterable[str]], None],
        context: Context,
        jinja_env: Any,
        seen_oids: set[int],
    ) -> None:
        """
        Render template fields, and hide confidential values before Airflow stores them.

        Airflow logs the template of a field that cannot be rendered, so fields that may be confidential are rendered without it.

        :param render_by_airflow: Renders fields as Airflow does.
        :param seen_oids: Identities of values that are already rendered, or come from another task.
        """
        # Airflow stores rendered fields in its database and shows them in the UI (docs/design/confidentiality.md).
        # The others first: what CleanRoomsMLCallOperator hides depends on its rendered operation and service.
        confidential = self._list_confidential_fields()
        plain = [name for name in names if name not in confidential]
        render_by_airflow(render_by_shape(self, plain, self._find_field_shapes, context, jinja_env, seen_oids))
        for name in confidential:
            setattr(self, name, self._hide(name, self._render_confidential(name, context, jinja_env, seen_oids)))

    @property
    def _waiter(self) -> Waiter | None:
        """Waits for what the operation starts; None if the operation takes no time."""
        return None

    def _perform(self, context: Context) -> Handle:
        """Send the request."""
        return Handle({}, self._send(self.api.check(self.operation, self.request)))

    def _complete(self, context: Context, handle: Handle) -> Any:
        """Finish the task; return its result."""
        result = handle.response[self.returns] if self.returns else None
        report_data(self, context, {self.returns: result} if self.returns else {})
        return result

    def _find_request_data(self) -> list[Data]:
        """Find the data that the request names, except in its confidential values."""
        from airflow_cleanroomsml._resources.data_flow import find_data

        request = self.load_request()
        return find_data({name: hide(request.shapes[name], value) for name, value in request.arguments.items()})

    def _send(self, request: Request, **options: Any) -> dict[str, Any]:
        """Send a request; return the members of the response by their names in snake_case."""
        from botocore import xform_name

        return {xform_name(name): value for name, value in self.api.send(request, **options).items()}

    def _render_confidential(self, name: str, context: Context, jinja_env: Any, seen_oids: set[int]) -> Any:
        shape = self._find_field_shapes().get(name)
        try:
            return render_value_by_shape(self, shape, getattr(self, name), context, jinja_env, seen_oids)
        except AirflowException:
            raise
        except Exception as error:
            # Jinja's errors quote the template and other errors quote values, so hardly more than the kind of error is named. It is raised
            # outside of this block, because an error raised here would carry the original as its context.
            failure = CleanRoomsMLError(f"{name}: its template cannot be rendered: {describe_template_error(error)}")
        raise failure

    def _find_field_shapes(self) -> dict[str, Any]:
        """Return the shapes of template fields that are texts, or hold texts; see :mod:`airflow_cleanroomsml._templating`."""
        return {"aws_conn_id": TEXT, "region_name": TEXT, **self._find_argument_shapes()}

    def _list_confidential_fields(self) -> Collection[str]:
        """Return the template fields that may hold confidential values."""
        return [name for name, shape in self._find_argument_shapes().items() if holds_sensitive(shape)]

    def _hide(self, name: str, value: Any) -> Any:
        """Hide the confidential parts of a rendered field."""
        return hide(self._find_argument_shapes()[name], value)

    def _find_argument_shapes(self) -> dict[str, Any]:
        """Return the shapes of the arguments that the installed service model knows."""
        if not self.arguments:
            return {}
        from airflow_cleanroomsml._requests.request import find_argument_shapes

        shapes = find_argument_shapes(self.service, self.operation)
        return {name: shapes[name] for name in self.arguments if name in shapes}


def list_set_arguments(operator: BaseOperator, *names: str) -> tuple[str, ...]:
    """
    Return the optional arguments that a Dag sets, to be called by a constructor.

    A template or the output of another task can turn out to be None later. Where the task would then do something else, such as delete
    more, it refuses that.

    :param names: Optional arguments.
    """
    return tuple(name for name in names if getattr(operator, name) is not None)


def require_flags(operator: BaseOperator, *names: str) -> None:
    """
    Refuse a string for an argument that must be True or False: ``"False"`` would count as true.

    :raises InvalidRequestError: One is neither True nor False.
    """
    for name in names:
        value = getattr(operator, name)
        if not isinstance(value, bool):
            raise InvalidRequestError(f"{name}: {value!r} is not valid; must be True or False, not a template")
