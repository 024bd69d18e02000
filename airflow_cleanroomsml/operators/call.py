"""Any operation of the API as a task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._data_report import report_data
from airflow_cleanroomsml._link_storage import store_error_links, store_request_links
from airflow_cleanroomsml._requests.sensitive import STARS, Hidden, hide, is_sensitive, reveal
from airflow_cleanroomsml._resources.data_flow import DataFlow, find_data
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, CLEAN_ROOMS_ML
from airflow_cleanroomsml._templating import TEXT, Members
from airflow_cleanroomsml.exceptions import InvalidRequestError, QuotaExceededError, ResultError, join_lines
from airflow_cleanroomsml.links import ApiReferenceLink, CollaborationLink, DocumentationLink, ServiceQuotaLink
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml.typing import AwsKwargs, Templated

log = logging.getLogger(__name__)

#: Members that contain explanations by the service.
_TEXTS = ("message", "logsStatusDetails", "metricsStatusDetails", "statusReason")
#: Errors of Python that applying a JMESPath expression may raise.
_PYTHON_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_SERVICES = (CLEAN_ROOMS_ML, CLEAN_ROOMS)


class CleanRoomsMLCallOperator(CleanRoomsMLOperator):
    """
    Call any operation of ``cleanroomsml`` or ``cleanrooms``, such as reads, listings, and operations without an operator.

    It does not wait: use a sensor for that. A create or start is sent once, as by the other operators.

    :param operation: boto3's method name, for instance ``get_audience_model``.
    :param parameters: The request: members in snake_case, nested values in the API's own spelling.
    :param jmespath: JMESPath expression that selects the result from the response, for instance ``trainedModels[?status=='ACTIVE'].name``.
    :param service: boto3's name of the service, ``cleanroomsml`` or ``cleanrooms``.
    :return: The response, or what the expression selects from it, as JSON in the API's own spelling: times in ISO 8601, confidential
        values as ``***``. All pages of a listing are merged into one response, without ``nextToken``.
    """

    operator_extra_links = (CollaborationLink(), ServiceQuotaLink(), ApiReferenceLink(), DocumentationLink())
    template_fields = ("operation", "parameters", "jmespath", "service", *CleanRoomsMLOperator.template_fields)

    #: Templated here, unlike in operators of one operation.
    operation: Any
    service: Any

    def __init__(
        self,
        *,
        operation: Templated[str],
        parameters: Templated[Mapping[str, Any]] | None = None,
        jmespath: Templated[str] | None = None,
        service: Templated[str] = CLEAN_ROOMS_ML,
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.operation = operation
        self.parameters = parameters
        self.jmespath = jmespath
        self.service = service

    def execute(self, context: Context) -> Any:
        """Send the request; read all pages of a listing."""
        from airflow_cleanroomsml._requests.redaction import UNKNOWN
        from airflow_cleanroomsml._requests.request import find_operation, load

        self.check_arguments()
        # Compiled first: an expression that is not valid must not fail the task after a create.
        select, operation = self._compile_expression(), str(self.operation)
        shape = find_operation(load(str(self.service)), operation).output_shape
        response = to_json(shape, self._call(context, operation, self._parse_parameters()))
        self._report_created(context, response)
        if "_collaboration_" in operation:
            # It describes other members' resources; their requests, which the service's texts may quote, are not known here.
            response = _redact_texts(response, lambda _: UNKNOWN)
        result = select(response)
        if result is None and self.jmespath is not None:
            log.warning(
                "jmespath %r selects nothing, so the task returns None; members of the response: %s.",
                self.jmespath,
                ", ".join(response) or "none",
            )
        return result

    def _call(self, context: Context, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        store_request_links(self, context, parameters)
        try:
            return self.api.call_all_pages(operation, parameters)
        except QuotaExceededError as error:
            store_error_links(self, context, error)
            raise

    def check_arguments(self) -> None:
        """Refuse a service that is unknown; see the base."""
        super().check_arguments()
        if self.service not in _SERVICES:
            raise InvalidRequestError(
                f"service: {self.service!r} is unknown; allowed: {', '.join(_SERVICES)}. Nothing was sent."
            )

    def describe_data_flow(self) -> DataFlow:
        """Describe what a create or start names, and what it has created; other operations handle metadata only."""
        if not self._is_creating() or not isinstance(self.parameters, Mapping):
            return DataFlow()
        inputs = find_data(self.parameters)
        outputs = [data for data in find_data(self.data_members) if data not in inputs]
        return DataFlow(inputs, outputs, members=self.data_members)

    # By name: the model does not mark which operations create something.
    def _is_creating(self) -> bool:
        return str(self.operation).startswith(("create_", "start_"))

    def _report_created(self, context: Context, response: Mapping[str, Any]) -> None:
        from botocore import xform_name

        # A read names ARNs as well, but its task has written nothing.
        arns = {xform_name(name): value for name, value in response.items() if name.endswith("Arn")}
        self.data_members = {}
        report_data(self, context, arns if self._is_creating() else {})

    def _parse_parameters(self) -> Mapping[str, Any]:
        from airflow_cleanroomsml._requests.coercion import parse_container
        from airflow_cleanroomsml._requests.violations import describe_type

        given = reveal(self.parameters) or {}
        parameters = parse_container(given) if isinstance(given, str) else given
        if not isinstance(parameters, Mapping):
            # Only the type: the value may hold SQL or a container's environment.
            raise InvalidRequestError(
                f"parameters: {describe_type(parameters)} is not valid; must be a mapping of the request's members in snake_case. "
                "Nothing was sent."
            )
        return parameters

    def _compile_expression(self) -> Callable[[Any], Any]:
        """
        Compile the JMESPath expression, before anything is sent.

        :raises InvalidRequestError: It is not valid.
        """
        if self.jmespath is None:
            return lambda response: response
        import jmespath

        from airflow_cleanroomsml._requests.request import find_operation, load

        try:
            search: Callable[[Any], Any] = jmespath.compile(str(self.jmespath)).search
            # Unknown functions are only noticed when the expression is applied. Errors of types may be due to the missing response.
            with suppress(jmespath.exceptions.JMESPathTypeError, TypeError):
                search({})
        # JMESPath lets errors of Python through, such as those of nesting that is too deep, a step of zero, and the ceiling of infinity.
        except (jmespath.exceptions.JMESPathError, *_PYTHON_ERRORS) as error:
            raise InvalidRequestError(
                join_lines(f"jmespath: {self.jmespath!r} is not a valid expression. Nothing was sent.", str(error))
            ) from None

        def select(response: Any) -> Any:
            try:
                return search(response)
            # JMESPath lets errors of Python through, such as that of comparing a number with a text.
            except (jmespath.exceptions.JMESPathError, *_PYTHON_ERRORS) as error:
                name = find_operation(load(str(self.service)), str(self.operation)).name
                # Final, as a retry would call an operation again that has already succeeded.
                raise ResultError(
                    join_lines(
                        f"{name} succeeded, but jmespath {str(self.jmespath)!r} cannot be applied to its response.",
                        str(error),
                        "If the operation created something, do not clear the task: it would create another. Otherwise correct jmespath.",
                    )
                ) from None

        return select

    def _find_field_shapes(self) -> dict[str, Any]:
        texts = dict.fromkeys(("operation", "jmespath", "service"), TEXT)
        return {**super()._find_field_shapes(), **texts, "parameters": Members(self._find_parameter_shapes())}

    def _list_confidential_fields(self) -> Collection[str]:
        # Rendered after the operation and the service, which determine their shapes.
        return ("parameters",)

    def _hide(self, name: str, value: Any) -> Any:
        shapes = self._find_parameter_shapes()
        if isinstance(value, Mapping):
            return {key: hide(shapes[key], item) if key in shapes else Hidden(item) for key, item in value.items()}
        return Hidden(value) if value else value

    def _find_parameter_shapes(self) -> dict[str, Any]:
        from airflow_cleanroomsml._requests.request import find_argument_shapes

        try:
            return find_argument_shapes(str(self.service), str(self.operation)) if self.service in _SERVICES else {}
        except InvalidRequestError:
            # execute() refuses an unknown operation, with a suggestion; an error here would fail the rendering without one.
            return {}


def to_json(shape: Any, response: Mapping[str, Any]) -> Any:
    """Convert a response to JSON, with confidential values as stars; texts of the service that may quote them are withheld."""
    from airflow_cleanroomsml._requests.redaction import redact_by_description

    if shape is None:
        return {}
    return _redact_texts(_convert(shape, response), lambda text: redact_by_description(shape, response, text))


def _convert(shape: Any, value: Any) -> Any:
    if value is not None and is_sensitive(shape):
        return STARS
    if isinstance(value, Mapping):
        members = shape.members if getattr(shape, "type_name", "") == "structure" else {}
        return {str(key): _convert(members.get(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_convert(getattr(shape, "member", None), item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _redact_texts(value: Any, redact: Callable[[str], str]) -> Any:
    """Redact the service's explanations: why a job failed, or why logs were not published."""
    if isinstance(value, dict):
        return {
            key: redact(item) if key in _TEXTS and isinstance(item, str) else _redact_texts(item, redact)
            for key, item in value.items()
        }
    return [_redact_texts(item, redact) for item in value] if isinstance(value, list) else value
