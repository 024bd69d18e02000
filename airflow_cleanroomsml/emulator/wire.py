"""
The wire format, from the service model: a request becomes the arguments of a backend method, its result becomes an answer.

The protocol is restJson1: the serialization traits of the model say where each member stands and how it is spelled. ARNs are
percent-encoded in the path, so routes are matched on the raw path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.model import OperationModel, ServiceModel

from airflow_cleanroomsml._requests.documented_rules import broken_rules
from airflow_cleanroomsml._requests.validation import RequestCheck
from airflow_cleanroomsml.emulator import rest_json
from airflow_cleanroomsml.emulator.errors import ApiError, invalid

_JSON = {"Content-Type": "application/json"}
#: Statuses whose answers have no body (RFC 9110).
_WITHOUT_BODY = (204, 304)


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


@dataclass(frozen=True)
class Answer:
    """
    An answer as it goes out.

    :param status: HTTP status.
    :param headers: Headers that follow from the model, the type of the content among them.
    :param body: The body; empty where the model has none.
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
    The members of a request, typed and checked against the model.

    :param headers: Headers of the request, for operations that have members in them.
    :raises ApiError: ``SerializationException`` for what is not JSON, ``ValidationException`` for what breaks the model.
    """
    shape = operation.input_shape
    if shape is None:
        return {}
    check = RequestCheck(convert=False)
    typed = check.structure(shape, decode(operation, path, query, body, headers or {}), "")
    violations = [*check.violations, *broken_rules(typed)]
    if violations:
        text = "; ".join(str(violation) for violation in violations)
        raise ApiError("ValidationException", text, reason="FIELD_VALIDATION_FAILED")
    if len(typed.get("tags") or ()) > 50:
        raise invalid("A resource has at most 50 tags.")
    return typed


def decode(
    operation: OperationModel, path: Mapping[str, str], query: str, body: bytes, headers: Mapping[str, str]
) -> dict[str, Any]:
    """
    The members of a request, from wherever the model has put them.

    :raises ApiError: As :func:`parse`, for what has no value of its type.
    """
    shape = operation.input_shape
    members = {} if shape is None else shape.members
    outside = {name: member for name, member in members.items() if member.serialization.get("location")}
    decoded = {} if shape is None else _decode_body(shape, body)
    sent = {name.lower(): text for name, text in headers.items()}
    parameters = parse_qs(query, keep_blank_values=True)
    for name, member in outside.items():
        place, wire = member.serialization["location"], rest_json.wire_name(name, member)
        if place == "uri":
            decoded[name] = rest_json.from_text(member, path[wire], name)
        elif place == "querystring" and member.type_name == "map":
            bound = {rest_json.wire_name(key, other) for key, other in outside.items()}
            decoded[name] = {key: texts[0] for key, texts in parameters.items() if key not in bound}
        elif place == "querystring" and wire in parameters:
            decoded[name] = _from_query(member, parameters[wire], name)
        elif place == "header" and wire.lower() in sent:
            decoded[name] = rest_json.from_text(member, sent[wire.lower()], name, rest_json.HEADER)
        elif place == "headers":
            start = wire.lower()
            decoded[name] = {key[len(start) :]: text for key, text in sent.items() if key.startswith(start)}
    return decoded


def _decode_body(shape: Any, body: bytes) -> dict[str, Any]:
    """The members in a body: each by its name, or one that is the body."""
    payload = shape.serialization.get("payload")
    if payload is None:
        decoded: dict[str, Any] = rest_json.from_json(shape, _json_object(body))
        return decoded
    member = shape.members[payload]
    if not body:
        return {}
    if member.type_name == "structure":
        return {payload: rest_json.from_json(member, _json_object(body), payload)}
    return {payload: body if member.type_name == "blob" else body.decode(errors="replace")}


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body, parse_constant=_refuse_constant) if body else {}
    except (ValueError, RecursionError) as error:
        raise ApiError("SerializationException", f"The body is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise ApiError("SerializationException", "The body is not a JSON object.")
    return given


def _refuse_constant(word: str) -> Any:
    """Python reads NaN and Infinity, which JSON does not have."""
    raise ValueError(f"{word} is not a JSON value")


def _from_query(member: Any, texts: list[str], name: str) -> Any:
    if member.type_name == "list":
        return [rest_json.from_text(member.member, text, name) for text in texts]
    return rest_json.from_text(member, texts[0], name)


def answer(operation: OperationModel, result: Mapping[str, Any]) -> Answer:
    """
    The answer of an operation.

    :param result: Members in the API's own spelling; those that the model does not have are left out, as is None.
    """
    status = int(operation.http.get("responseCode", 200))
    shape: Any = operation.output_shape
    return Answer(status, {}, b"") if shape is None else _encode(shape, result, status)


def error_answer(model: ServiceModel, error: ApiError) -> Answer:
    """The answer that tells an error; its type is in a header."""
    members = {"message": error.message, **error.members}
    if error.code in model.shape_names:
        shape: Any = model.shape_for(error.code)
        found = _encode(shape, members, shape.metadata.get("error", {}).get("httpStatusCode", error.status))
    else:
        found = Answer(error.status, dict(_JSON), json.dumps({"message": error.message}).encode())
    return replace(found, headers={**found.headers, "x-amzn-ErrorType": error.code})


def _encode(shape: Any, result: Mapping[str, Any], status: int) -> Answer:
    """A structure as status, headers and body."""
    headers: dict[str, str] = {}
    inside: dict[str, Any] = {}
    for name, member in shape.members.items():
        place, value = member.serialization.get("location"), result.get(name)
        if value is None:
            continue
        if place == "statusCode":
            status = value
        elif place == "header":
            headers[rest_json.wire_name(name, member)] = rest_json.to_header(member, value)
        elif place == "headers":
            headers.update({rest_json.wire_name(name, member) + key: text for key, text in value.items()})
        else:
            inside[name] = value
    kind, body = _encode_body(shape, inside)
    if status in _WITHOUT_BODY or not kind:
        return Answer(status, headers, b"")
    return Answer(status, {**headers, "Content-Type": kind}, body)


def _encode_body(shape: Any, inside: Mapping[str, Any]) -> tuple[str, bytes]:
    """Type and content of a body; an answer without members in it is an empty object."""
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
