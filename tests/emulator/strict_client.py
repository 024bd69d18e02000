"""
A strict rest-json client, which parses responses by the JSON of the service model and rejects everything that the model does not describe.

It shares no code with the emulator's serializer or with botocore's parser, which accepts timestamps in any format.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_ISO_8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
_NO_BODY = (204, 304)


class HttpResponse(Protocol):
    """Response of a service."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class StrictClient:
    """
    Parser of the responses of one service.

    :param model: The service model as JSON.
    """

    def __init__(self, model: Mapping[str, Any]) -> None:
        self._shapes = model["shapes"]
        self._operations = model["operations"]

    def read(self, operation: str, response: HttpResponse) -> dict[str, Any]:
        """Return the members of a response; AssertionError if it does not conform to the model."""
        description = self._operations[operation]
        expected, output = description["http"]["responseCode"], description.get("output")
        if output is not None:
            return self._read(self._shapes[output["shape"]], response, expected, operation)
        assert (response.status, response.body) == (expected, b""), f"{operation} has no output"
        assert "Content-Type" not in response.headers
        return {}

    def read_error(self, response: HttpResponse) -> tuple[str, dict[str, Any]]:
        """Return the name of an error and its members."""
        name = response.headers["x-amzn-ErrorType"]
        shape = self._shapes[name]
        return name, self._read(shape, response, shape["error"]["httpStatusCode"], name)

    def _read(self, shape: Mapping[str, Any], response: HttpResponse, expected: int, path: str) -> dict[str, Any]:
        headers = {name.lower(): value for name, value in response.headers.items()}
        metadata = self._read_metadata(shape, response.status, headers)
        assert self._has_status_member(shape) or response.status == expected
        return {**metadata, **self._read_body(path, shape, response.status, headers, response.body)}

    def _has_status_member(self, shape: Mapping[str, Any]) -> bool:
        return any(member.get("location") == "statusCode" for member in shape["members"].values())

    def _read_metadata(self, shape: Mapping[str, Any], status: int, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return the members in the status and the headers."""
        members: dict[str, Any] = {}
        for name, member in shape["members"].items():
            location, wire_name = member.get("location"), member.get("locationName", name).lower()
            if location == "statusCode":
                members[name] = status
            elif location == "header" and wire_name in headers:
                members[name] = self._read_header(member, headers[wire_name])
            elif location == "headers":
                members[name] = {
                    key[len(wire_name) :]: value for key, value in headers.items() if key.startswith(wire_name)
                }
        return members

    def _read_body(
        self, operation: str, shape: Mapping[str, Any], status: int, headers: Mapping[str, str], body: bytes
    ) -> dict[str, Any]:
        payload = shape.get("payload")
        if payload is not None:
            return self._read_payload(payload, shape["members"][payload], headers, body)
        if status in _NO_BODY:
            assert (body, "content-type" in headers) == (b"", False), f"{operation}: {status} with a body {body!r}"
            return {}
        assert headers["content-type"] == "application/json"
        members = {name: member for name, member in shape["members"].items() if "location" not in member}
        return self._read_structure(shape, members, _parse_strict_json(body), operation)

    def _read_payload(
        self, name: str, member: Mapping[str, Any], headers: Mapping[str, str], body: bytes
    ) -> dict[str, Any]:
        kind = self._shapes[member["shape"]]["type"]
        if kind in ("blob", "string"):
            expected = {"blob": "application/octet-stream", "string": "text/plain"}[kind]
            assert not body or headers["content-type"] == expected
            return ({name: body if kind == "blob" else body.decode()}) if body else {}
        assert headers["content-type"] == "application/json"
        return {name: self._read_value(member, _parse_strict_json(body), name)}

    def _read_value(self, member: Mapping[str, Any], value: Any, path: str) -> Any:
        shape = self._shapes[member["shape"]]
        kind = shape["type"]
        if kind == "structure":
            return value if shape.get("document") else self._read_structure(shape, shape["members"], value, path)
        if kind == "list":
            assert isinstance(value, list), f"{path}: {value!r} is not a list"
            return [self._read_value(shape["member"], item, f"{path}[{index}]") for index, item in enumerate(value)]
        if kind == "map":
            assert isinstance(value, dict), f"{path}: {value!r} is not an object"
            return {key: self._read_value(shape["value"], item, f"{path}[{key}]") for key, item in value.items()}
        if kind == "timestamp":
            return _check_timestamp(
                member.get("timestampFormat") or shape.get("timestampFormat") or "unixTimestamp", value, path
            )
        return _SCALARS[kind](value, path)

    def _read_structure(
        self, shape: Mapping[str, Any], members: Mapping[str, Any], value: Any, path: str
    ) -> dict[str, Any]:
        assert isinstance(value, dict), f"{path}: {value!r} is not an object"
        by_wire = {member.get("locationName", name): (name, member) for name, member in members.items()}
        unknown = set(value) - set(by_wire)
        assert not unknown, f"{path}: {unknown} is not in the model"
        missing = {name for name in shape.get("required", ()) if name in members} - {by_wire[key][0] for key in value}
        assert not missing, f"{path}: {missing} is required"
        assert not shape.get("union") or len(value) == 1, (
            f"{path}: a union has {set(value)}, but exactly one member is allowed"
        )
        return {
            by_wire[key][0]: self._read_value(by_wire[key][1], item, f"{path}.{key}") for key, item in value.items()
        }

    def _read_header(self, member: Mapping[str, Any], text: str) -> Any:
        shape = self._shapes[member["shape"]]
        kind = shape["type"]
        if member.get("jsonvalue") or shape.get("jsonvalue"):
            return _parse_strict_json(base64.b64decode(text, validate=True))
        if kind == "list":
            items = [item.strip() for item in re.findall(r'\s*"(?:[^"\\]|\\.)*"|[^,]+', text)]
            texts = [re.sub(r"\\(.)", r"\1", item[1:-1]) if item.startswith('"') else item for item in items]
            return [self._read_header(shape["member"], item) for item in texts]
        if kind == "timestamp":
            return _check_timestamp(
                member.get("timestampFormat") or shape.get("timestampFormat") or "rfc822", text, "header"
            )
        if kind == "blob":
            return base64.b64decode(text, validate=True)
        return text if kind == "string" else _SCALARS[kind](json.loads(text), "header")


def _parse_strict_json(body: bytes) -> Any:
    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(body, parse_constant=refuse)


def _check_timestamp(format_name: str, value: Any, path: str) -> datetime:
    if format_name == "unixTimestamp":
        number = float(value) if isinstance(value, str) and path == "header" else value
        return EPOCH + timedelta(milliseconds=round(_check_float(number, path) * 1000))
    assert isinstance(value, str), f"{path}: {value!r} is not a string"
    if format_name == "iso8601":
        assert _ISO_8601.fullmatch(value), f"{path}: {value!r} is not in ISO 8601"
        return datetime.fromisoformat(value.replace("Z", "+00:00"))
    assert format_name == "rfc822"
    assert _HTTP_DATE.fullmatch(value), f"{path}: {value!r} is not an HTTP date"
    return parsedate_to_datetime(value)


def _check_string(value: Any, path: str) -> str:
    assert isinstance(value, str), f"{path}: {value!r} is not a string"
    return value


def _check_integer(value: Any, path: str) -> int:
    assert type(value) is int, f"{path}: {value!r} is not an integer"
    return value


def _check_float(value: Any, path: str) -> float:
    if value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    assert type(value) in (int, float), f"{path}: {value!r} is not a number"
    return float(value)


def _check_boolean(value: Any, path: str) -> bool:
    assert isinstance(value, bool), f"{path}: {value!r} is neither true nor false"
    return value


def _check_blob(value: Any, path: str) -> bytes:
    assert isinstance(value, str), f"{path}: {value!r} is not base64"
    return base64.b64decode(value, validate=True)


_SCALARS: dict[str, Any] = {
    "string": _check_string,
    "integer": _check_integer,
    "long": _check_integer,
    "float": _check_float,
    "double": _check_float,
    "boolean": _check_boolean,
    "blob": _check_blob,
}
