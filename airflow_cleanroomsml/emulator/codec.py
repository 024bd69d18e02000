"""
The wire format, from the service model: a request becomes the arguments of a backend method, its answer becomes JSON.

restJson1 as botocore speaks it: ARNs are percent-encoded in the path, so routes are matched on the raw path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.model import OperationModel, ServiceModel

from airflow_cleanroomsml.documented_rules import broken_rules
from airflow_cleanroomsml.emulator.errors import ApiError, invalid
from airflow_cleanroomsml.request_check import RequestCheck


class Routes:
    """
    The operations of a service by method and path.

    :param model: Service model.
    """

    def __init__(self, model: ServiceModel) -> None:
        operations = [model.operation_model(name) for name in model.operation_names]
        self._routes = [(op, op.http["method"], _path_pattern(op.http["requestUri"])) for op in operations]

    def match(self, method: str, raw_path: str) -> tuple[OperationModel, dict[str, str]]:
        """
        The operation, and what its path holds.

        :raises ApiError: ``UnknownOperationException`` where no operation has this method and path.
        """
        for operation, verb, pattern in self._routes:
            found = pattern.fullmatch(raw_path) if verb == method else None
            if found:
                return operation, {name: unquote(text) for name, text in found.groupdict().items()}
        raise ApiError("UnknownOperationException", f"No operation at {method} {raw_path}.", status=404)


def _path_pattern(uri: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\+?\}", uri.split("?", maxsplit=1)[0])
    return re.compile("".join(f"(?P<{x}>[^/]+)" if i % 2 else re.escape(x) for i, x in enumerate(parts)))


def parse(operation: OperationModel, path: Mapping[str, str], query: str, body: bytes) -> dict[str, Any]:
    """
    The members of a request, typed and checked against the model.

    :raises ApiError: ``SerializationException`` for what is not JSON, ``ValidationException`` for what breaks the model.
    """
    shape = operation.input_shape
    if shape is None:
        return {}
    given = dict(_body(body))
    parameters = parse_qs(query, keep_blank_values=True)
    for name, member in shape.members.items():
        place, wire = member.serialization.get("location"), member.serialization.get("name", name)
        if place == "uri":
            given[name] = path[wire]
        elif place == "querystring" and wire in parameters:
            given[name] = _query_value(member, parameters[wire])
    check = RequestCheck(convert=False)
    typed = check.structure(shape, given, "")
    violations = [*check.violations, *broken_rules(typed)]
    if violations:
        text = "; ".join(str(violation) for violation in violations)
        raise ApiError("ValidationException", text, reason="FIELD_VALIDATION_FAILED")
    if len(typed.get("tags") or ()) > 50:
        raise invalid("A resource has at most 50 tags.")
    return typed


def _body(body: bytes) -> Mapping[str, Any]:
    try:
        given = json.loads(body) if body else {}
    except (ValueError, RecursionError) as error:
        raise ApiError("SerializationException", f"The body is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise ApiError("SerializationException", "The body is not a JSON object.")
    return given


def _query_value(member: Any, values: list[str]) -> Any:
    if member.type_name == "list":
        return values
    if member.type_name in ("integer", "long") and re.fullmatch(r"-?\d{1,18}", values[0]):
        return int(values[0])
    return values[0]


def serialise(shape: Any, value: Any) -> Any:
    """A value as JSON; what the shape does not have, and None, is left out."""
    kind = shape.type_name
    if kind == "structure":
        known = ((name, member, value.get(name)) for name, member in shape.members.items())
        return {name: serialise(member, item) for name, member, item in known if item is not None}
    if kind == "list":
        return [serialise(shape.member, item) for item in value]
    if kind == "map":
        return {key: serialise(shape.value, item) for key, item in value.items()}
    return _timestamp(value) if kind == "timestamp" else value


def _timestamp(value: datetime | float) -> str:
    """ISO 8601 with milliseconds and Z, as the service's timestamps are modelled."""
    time = value if isinstance(value, datetime) else datetime.fromtimestamp(value, tz=timezone.utc)
    return time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def error_body(model: ServiceModel, error: ApiError) -> tuple[int, dict[str, Any]]:
    """Status and body of an error answer."""
    shape = model.shape_for(error.code) if error.code in model.shape_names else None
    if shape is None:
        return error.status, {"message": error.message}
    status = shape.metadata.get("error", {}).get("httpStatusCode", error.status)
    return status, serialise(shape, {"message": error.message, **error.members})
