"""Any operation of the API as a task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._requests.sensitive import STARS, Hidden, hide, is_sensitive, reveal
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS, CLEAN_ROOMS_ML
from airflow_cleanroomsml._templating import TEXT, Members
from airflow_cleanroomsml.exceptions import InvalidRequestError, ResultError, lines
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml._compat import Context
    from airflow_cleanroomsml.typing import AwsKwargs, Templated

log = logging.getLogger(__name__)

#: Members in which the service says something in words.
_TEXTS = ("message", "logsStatusDetails", "metricsStatusDetails")
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

    def _field_shapes(self) -> dict[str, Any]:
        texts = dict.fromkeys(("operation", "jmespath", "service"), TEXT)
        return {**super()._field_shapes(), **texts, "parameters": Members(self._shapes())}

    def _confidential_fields(self) -> Collection[str]:
        # Rendered after the operation and the service, which say what their shapes are.
        return ("parameters",)

    def _hide(self, name: str, value: Any) -> Any:
        shapes = self._shapes()
        if isinstance(value, Mapping):
            return {key: hide(shapes[key], item) if key in shapes else Hidden(item) for key, item in value.items()}
        return Hidden(value) if value else value

    def _shapes(self) -> dict[str, Any]:
        from airflow_cleanroomsml._requests.request import argument_shapes

        try:
            return argument_shapes(str(self.service), str(self.operation)) if self.service in _SERVICES else {}
        except InvalidRequestError:
            return {}

    def execute(self, context: Context) -> Any:
        """Send the request; all pages of a listing."""
        self.check_connection()
        if self.service not in _SERVICES:
            raise InvalidRequestError(f"service: {self.service!r} is unknown; allowed: {', '.join(_SERVICES)}")
        from airflow_cleanroomsml._requests.redaction import UNKNOWN
        from airflow_cleanroomsml._requests.request import load, operation_model

        pick, operation = self._picker(), str(self.operation)
        answers = operation_model(load(str(self.service)), operation).output_shape
        answer = shown(answers, self.hook.of(str(self.service)).call_all_pages(operation, self._request()))
        if "_collaboration_" in operation:
            answer = _without_texts(answer, lambda _: UNKNOWN)
        found = pick(answer)
        if found is None and self.jmespath is not None:
            log.warning(
                "jmespath %r selects nothing; the response has: %s.", self.jmespath, ", ".join(answer) or "nothing"
            )
        return found

    def _request(self) -> Mapping[str, Any]:
        from airflow_cleanroomsml._requests.coercion import parse_container

        given = reveal(self.parameters) or {}
        found = parse_container(given) if isinstance(given, str) else given
        if not isinstance(found, Mapping):
            raise InvalidRequestError("parameters: must be a mapping of the request's members in snake_case")
        return found

    def _picker(self) -> Callable[[Any], Any]:
        """What picks the result; refused before anything is sent if it cannot."""
        if self.jmespath is None:
            return lambda answer: answer
        import jmespath

        try:
            search: Callable[[Any], Any] = jmespath.compile(str(self.jmespath)).search
            # Functions that there are not are found when something is searched only.
            with suppress(jmespath.exceptions.JMESPathTypeError):
                search({})
        except jmespath.exceptions.JMESPathError as error:
            raise InvalidRequestError(f"jmespath: {error}") from None

        def pick(answer: Any) -> Any:
            try:
                return search(answer)
            except jmespath.exceptions.JMESPathError as error:
                raise ResultError(
                    lines(f"{self.operation} was carried out; jmespath cannot be applied to its answer.", str(error))
                ) from None

        return pick


def shown(shape: Any, answer: Mapping[str, Any]) -> Any:
    """An answer as JSON, what is not to be shown as stars; texts of the service that quote it are withheld."""
    from airflow_cleanroomsml._requests.redaction import redact_by_description

    if shape is None:
        return {}
    return _without_texts(_plain(shape, answer), lambda text: redact_by_description(shape, answer, text))


def _plain(shape: Any, value: Any) -> Any:
    if value is not None and is_sensitive(shape):
        return STARS
    if isinstance(value, Mapping):
        members = shape.members if getattr(shape, "type_name", "") == "structure" else {}
        return {str(key): _plain(members.get(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(getattr(shape, "member", None), item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _without_texts(value: Any, redact: Callable[[str], str]) -> Any:
    """The same with what the service says in words redacted: why something failed, or was not published."""
    if isinstance(value, dict):
        return {
            key: redact(item) if key in _TEXTS and isinstance(item, str) else _without_texts(item, redact)
            for key, item in value.items()
        }
    return [_without_texts(item, redact) for item in value] if isinstance(value, list) else value
