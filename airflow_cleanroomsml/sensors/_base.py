"""The bases of all sensors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    cached,
    clear_cached,
    conf,
    render_own_fields,
)
from airflow_cleanroomsml._connection.aws_connection import AwsConnection
from airflow_cleanroomsml._data_report import report_failure, report_start, report_success
from airflow_cleanroomsml._link_storage import store_request_links
from airflow_cleanroomsml._resources.data_flow import DataFlow
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS_ML, Resource
from airflow_cleanroomsml._templating import TEXT, render_by_shape
from airflow_cleanroomsml.exceptions import InvalidRequestError
from airflow_cleanroomsml.links import choose_links
from airflow_cleanroomsml.sensors._errors import SENSOR_DEFERRAL_MARGIN, ErrorHandler

if TYPE_CHECKING:
    from typing_extensions import Self

    from airflow_cleanroomsml._compat import Context


@render_own_fields
class CleanRoomsMLBaseSensor(AwsConnection, BaseSensorOperator):
    """
    A sensor that calls the service.

    :param aws_conn_id: Airflow connection of type ``aws``; None uses boto3's own credentials.
    :param region_name: AWS region.
    :param verify: Whether to verify TLS, or the path of a CA bundle.
    :param botocore_config: Arguments of ``botocore.config.Config``.
    :param deferrable: Wait in the triggerer; ``mode="reschedule"`` frees the worker between two polls without a triggerer.
    """

    template_fields: Collection[str] = AwsConnection.connection_fields
    ui_color = "#e6ffe6"

    #: boto3's name of the service.
    service: ClassVar[str] = CLEAN_ROOMS_ML
    #: Empty for sensors; links read it from operators and sensors alike.
    operation: ClassVar[str] = ""
    #: Row of the resource table; None if the class is not about one resource.
    resource: ClassVar[Resource | None] = None
    #: For a class that is not about one resource: the operation to whose reference its tasks link.
    reference: ClassVar[str] = ""
    #: Whether Airflow's UI has a page about what tasks wait for.
    has_details: ClassVar[bool] = False

    #: Identifiers and outputs of the resource that the task is about, as far as this process knows them.
    data_members: Mapping[str, Any] = {}
    # Airflow's OpenLineage provider calls these by name.
    get_openlineage_facets_on_start = report_start
    get_openlineage_facets_on_complete = report_success
    get_openlineage_facets_on_failure = report_failure

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "reference" in cls.__dict__:
            cls.operator_extra_links = choose_links(cls)

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config
        self.deferrable = deferrable

    def describe_data_flow(self) -> DataFlow:
        """Describe what the sensor reads and writes; by default nothing."""
        return DataFlow(members=self.data_members)

    def prepare_for_execution(self) -> Self:
        """Return the copy that Airflow executes. ``dag.test()`` of Airflow 2.11 copies one that has been deferred."""
        task: Self = super().prepare_for_execution()
        return clear_cached(task)

    def execute(self, context: Context) -> Any:
        """
        Wait; see the class for the return value.

        :raises SensorTimeoutError: The sensor timed out.
        """
        self.data_members = {}
        self.check_connection()
        if not isinstance(self.deferrable, bool):
            raise InvalidRequestError(
                f"deferrable: {self.deferrable!r} is not valid; must be True or False, not a template"
            )
        store_request_links(self, context)
        if self.deferrable:
            # A fixed deadline, so that neither a deferral nor a pause extends the time-out.
            return self._poke_or_defer(context, _clock.now() + self.timeout)
        try:
            return super().execute(context)
        except AirflowSkipException:
            # With soft_fail Airflow skips a sensor that timed out.
            self._report_timeout(context)
            raise
        except AirflowSensorTimeout as error:
            self._report_timeout(context)
            # Airflow's own error names neither the resource nor its last status.
            raise self._error_handler.build_timeout() from error

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Return the result after the trigger; the same, with the same errors, as after waiting in the worker."""
        deadline = event.get("wait", event)["deadline"]
        return self._error_handler.run(partial(self._complete, context, event), deadline)

    def look_again(self, context: Context, event: dict[str, Any]) -> Any:
        """Poke again after a pause."""
        # Not renamed: Airflow stores the name of this method with the deferral, which may outlast an upgrade.
        return self._poke_or_defer(context, event["deadline"])

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral."""
        # Bypasses BaseSensorOperator, which would skip on any error with soft_fail, and handles never_fail only from 3.3 on
        # (docs/design/polling.md).
        resume = super(BaseSensorOperator, self).resume_execution
        return self._error_handler.resume(lambda: resume(next_method, next_kwargs, context))

    def render_fields(
        self,
        names: list[str],
        render_by_airflow: Callable[[Iterable[str]], None],
        context: Context,
        jinja_env: Any,
        seen_oids: set[int],
    ) -> None:
        """Render template fields; see :meth:`~airflow_cleanroomsml.operators._base.CleanRoomsMLOperator.render_fields`."""
        render_by_airflow(render_by_shape(self, names, self._find_field_shapes, context, jinja_env, seen_oids))

    @abstractmethod
    def describe_timeout(self) -> tuple[str, ...]:
        """Return lines for the error of a time-out: what the sensor waited for, and its last status."""

    @abstractmethod
    def _complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Return the result after the trigger, or raise its error."""

    @abstractmethod
    def _build_trigger(self, deadline: float) -> Any:
        """Build the trigger that continues the wait."""

    def _report_deferral(self, context: Context) -> None:
        """Report that a triggerer takes over; a sensor that waits for no single resource has nothing to report."""

    def _report_timeout(self, context: Context) -> None:
        """Report that the sensor timed out; one that waits for no single resource has nothing to report."""

    @cached
    def _error_handler(self) -> ErrorHandler:
        return ErrorHandler(self)

    def _poke_or_defer(self, context: Context, deadline: float) -> Any:
        def step() -> Any:
            # What is done already needs no triggerer, and arguments that are not valid fail here instead of in the triggerer.
            value = self.poke(context)
            if isinstance(value, PokeReturnValue) and value.is_done:
                return value.xcom_value
            self._report_deferral(context)
            # The trigger ends by itself at the deadline, with the last status; Airflow's limit is for a triggerer that is down.
            limit = timedelta(seconds=deadline - _clock.now() + SENSOR_DEFERRAL_MARGIN)
            return self.defer(trigger=self._build_trigger(deadline), method_name="execute_complete", timeout=limit)

        return self._error_handler.run(step, deadline)

    def _find_field_shapes(self) -> dict[str, Any]:
        """Return the shapes of template fields that are texts, or hold texts; see :mod:`airflow_cleanroomsml._templating`."""
        return {"aws_conn_id": TEXT, "region_name": TEXT}
