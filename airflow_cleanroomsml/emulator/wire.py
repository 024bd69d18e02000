"""
Decodes requests and encodes responses in the restJson1 protocol, by the serialization traits of the service model.

Routes match the raw path, because botocore percent-encodes ARNs in it, slashes included.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.model import OperationModel, ServiceModel

from airflow_cleanroomsml._requests.documented_rules import find_broken_rules
from airflow_cleanroomsml._requests.validation import RequestCheck
from airflow_cleanroomsml.emulator import rest_json
from airflow_cleanroomsml.emulator.errors import ApiError, validation_error

_JSON = {"Content-Type": "application/json"}
#: Statuses of responses without a body (RFC 9110).
_WITHOUT_BODY = (204, 304)


class Routes:
    """
    The operations of a service by method and path.

    :param model: Service model.
    """

    def __init__(self, model: ServiceModel) -> None:
        operations = [model.operation_model(name) for name in model.operation_names]
        self._routes = [(op, op.http["method"], _compile_path(op.http["requestUri"])) for op in operations]

    def match(self, method: str, raw_path: str) -> tuple[OperationModel, dict[str, str]]:
        """
        Return the operation of a request, and the values in its path.

        :raises ApiError: ``UnknownOperationException`` if no operation has this method and path.
        """
        for operation, verb, pattern in self._routes:
            match = pattern.fullmatch(raw_path) if verb == method else None
            if match:
                return operation, {name: unquote(text) for name, text in match.groupdict().items()}
        raise ApiError("UnknownOperationException", f"No operation matches {method} {raw_path}.", status=404)


def _compile_path(uri: str) -> re.Pattern[str]:
    # Every second part is a label. A greedy one ({name+}) needs no other pattern: encoded slashes do not count as separators.
    parts = re.split(r"\{(\w+)\+?\}", uri.split("?", maxsplit=1)[0])
    return re.compile("".join(f"(?P<{x}>[^/]+)" if i % 2 else re.escape(x) for i, x in enumerate(parts)))


@dataclass(frozen=True)
class HttpResponse:
    """
    An HTTP response.

    :param status: HTTP status.
    :param headers: Headers from the model, and ``Content-Type``.
    :param body: Body; empty if the model has none.
    """

    status: int
    headers: dict[str, str]
    body: bytes


def parse(
    operation: OperationModel,
    path: Mapping[str, str],
    query: str,
    body: bytes,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """
    Decode the members of a request, and check them against the model.

    :param path: Values in the path, as :meth:`Routes.match` returns them.
    :param headers: Headers of the request, for operations with members in headers.
    :raises ApiError: ``SerializationException`` for a body that is not JSON, ``ValidationException`` for what the model does not allow.
    """
    shape = operation.input_shape
    if shape is None:
        return {}
    # Without conversion, which operators need for rendered templates: the service rejects "5" where the model has a number.
    check = RequestCheck(convert=False)
    typed = check.check_structure(shape, decode(operation, path, query, body, headers or {}), "")
    violations = [*check.violations, *find_broken_rules(typed)]
    if violations:
        text = "; ".join(str(violation) for violation in violations)
        raise ApiError("ValidationException", text, reason="FIELD_VALIDATION_FAILED")
    # The model allows 200 tags, its documentation 50 per resource.
    if len(typed.get("tags") or ()) > 50:
        raise validation_error(f"tags: a resource can have at most 50 tags, not {len(typed['tags'])}.")
    return typed


def decode(
    operation: OperationModel, path: Mapping[str, str], query: str, body: bytes, headers: Mapping[str, str]
) -> dict[str, Any]:
    """
    Decode the members of a request from its path, query string, headers and body.

    :raises ApiError: As :func:`parse`, for a value that cannot be decoded.
    """
    shape = operation.input_shape
    members = {} if shape is None else shape.members
    outside = {name: member for name, member in members.items() if member.serialization.get("location")}
    decoded = {} if shape is None else _decode_body(shape, body)
    lower_headers = {name.lower(): text for name, text in headers.items()}
    # An empty value is one too: it is for the request check to say whether the model allows it.
    parameters = parse_qs(query, keep_blank_values=True)
    for name, member in outside.items():
        location, wire_name = member.serialization["location"], rest_json.get_wire_name(name, member)
        if location == "uri":
            decoded[name] = rest_json.from_text(member, path[wire_name], name)
        elif location == "querystring" and member.type_name == "map":
            # A map takes the parameters that belong to no other member (Smithy, httpQueryParams trait).
            bound = {rest_json.get_wire_name(key, other) for key, other in outside.items()}
            decoded[name] = {key: texts[0] for key, texts in parameters.items() if key not in bound}
        elif location == "querystring" and wire_name in parameters:
            decoded[name] = _decode_query_value(member, parameters[wire_name], name)
        elif location == "header" and wire_name.lower() in lower_headers:
            decoded[name] = rest_json.from_text(member, lower_headers[wire_name.lower()], name, rest_json.HEADER)
        elif location == "headers":
            prefix = wire_name.lower()
            decoded[name] = {key[len(prefix) :]: text for key, text in lower_headers.items() if key.startswith(prefix)}
    return decoded


def _decode_body(shape: Any, body: bytes) -> dict[str, Any]:
    """Decode the members in the body: an object with all of them, or a single one that is the whole body."""
    payload = shape.serialization.get("payload")
    if payload is None:
        decoded: dict[str, Any] = rest_json.from_json(shape, _parse_json_object(body))
        return decoded
    member = shape.members[payload]
    if not body:
        return {}
    if member.type_name == "structure":
        return {payload: rest_json.from_json(member, _parse_json_object(body), payload)}
    return {payload: body if member.type_name == "blob" else body.decode(errors="replace")}


def _parse_json_object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body, parse_constant=_reject_constant) if body else {}
    except (ValueError, RecursionError) as error:
        raise ApiError("SerializationException", f"The request body is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ApiError("SerializationException", "The request body is not a JSON object.")
    return content


def _reject_constant(word: str) -> Any:
    # json.loads() accepts NaN and Infinity, which JSON does not have.
    raise ValueError(f"{word} is not a JSON value")


def _decode_query_value(member: Any, texts: list[str], name: str) -> Any:
    if member.type_name == "list":
        return [rest_json.from_text(member.member, text, name) for text in texts]
    return rest_json.from_text(member, texts[0], name)


def build_response(operation: OperationModel, result: Mapping[str, Any]) -> HttpResponse:
    """
    Encode the result of an operation.

    :param result: Members in the API's own spelling; None, and members that the model does not have, are left out.
    """
    status = int(operation.http.get("responseCode", 200))
    shape: Any = operation.output_shape
    return HttpResponse(status, {}, b"") if shape is None else _encode_response(shape, result, status)


def build_error_response(model: ServiceModel, error: ApiError) -> HttpResponse:
    """Encode an error; its code is in the header ``x-amzn-ErrorType``."""
    members = {"message": error.message, **error.members}
    if error.code in model.shape_names:
        shape: Any = model.shape_for(error.code)
        response = _encode_response(shape, members, shape.metadata.get("error", {}).get("httpStatusCode", error.status))
    else:
        response = HttpResponse(error.status, dict(_JSON), json.dumps({"message": error.message}).encode())
    return replace(response, headers={**response.headers, "x-amzn-ErrorType": error.code})


def _encode_response(shape: Any, result: Mapping[str, Any], status: int) -> HttpResponse:
    headers: dict[str, str] = {}
    inside: dict[str, Any] = {}
    for name, member in shape.members.items():
        location, value = member.serialization.get("location"), result.get(name)
        if value is None:
            continue
        if location == "statusCode":
            status = value
        elif location == "header":
            headers[rest_json.get_wire_name(name, member)] = rest_json.to_header(member, value)
        elif location == "headers":
            headers.update({rest_json.get_wire_name(name, member) + key: text for key, text in value.items()})
        else:
            inside[name] = value
    content_type, body = _encode_body(shape, inside)
    if status in _WITHOUT_BODY or not content_type:
        return HttpResponse(status, headers, b"")
    return HttpResponse(status, {**headers, "Content-Type": content_type}, body)


def _encode_body(shape: Any, inside: Mapping[str, Any]) -> tuple[str, bytes]:
    """Return the content type and the body; a response without members in the body has an empty object."""
    payload = shape.serialization.get("payload")
    if payload is None:
        return _JSON["Content-Type"], json.dumps(rest_json.to_json(shape, inside), allow_nan=False).encode()
    if payload not in inside:
        return "", b""
    member, value = shape.members[payload], inside[payload]
    if member.type_name == "structure":
        return _JSON["Content-Type"], json.dumps(rest_json.to_json(member, value), allow_nan=False).encode()
    if member.type_name == "blob":
        return "application/octet-stream", value
    return "text/plain", value.encode()
