"""
Every trait of rest-json, in a fictitious service model, because those of Clean Rooms have no headers, blobs or payloads so far.

botocore serializes the requests; botocore and a strict client parse the responses.
"""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.model import OperationModel, ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from urllib3 import HTTPHeaderDict

from airflow_cleanroomsml.emulator import wire
from airflow_cleanroomsml.emulator.errors import ApiError
from tests.emulator.strict_client import StrictClient

TIME = datetime(2026, 11, 1, 12, 30, 15, tzinfo=timezone.utc)
PRECISE = TIME.replace(microsecond=250_000)
#: A time in each format: in a body, in a header, and in a path or query.
TIMES: dict[str, tuple[Any, str, str]] = {
    "": (1_793_536_215.25, "Sun, 01 Nov 2026 12:30:15 GMT", "2026-11-01T12:30:15Z"),
    "unixTimestamp": (1_793_536_215.25, "1793536215", "1793536215"),
    "rfc822": ("Sun, 01 Nov 2026 12:30:15 GMT", "Sun, 01 Nov 2026 12:30:15 GMT", "Sun, 01 Nov 2026 12:30:15 GMT"),
    "iso8601": ("2026-11-01T12:30:15.250Z", "2026-11-01T12:30:15.000Z", "2026-11-01T12:30:15Z"),
}
SCALARS = {
    "String": ("string", 'a, "b" \\ c'),
    "Integer": ("integer", -3),
    "Long": ("long", 2**40),
    "Float": ("float", 0.25),
    "Double": ("double", -1e-9),
    "Boolean": ("boolean", True),
    "Blob": ("blob", b"\x00\xff bytes"),
}


def build_members(**traits: Any) -> dict[str, Any]:
    """Build members of every type, each with these traits."""
    members = {name: {"shape": name, **traits} for name in SCALARS}
    timestamps = {f"Time{time_format}": {"shape": "Time", **traits} for time_format in TIMES}
    for time_format in filter(None, TIMES):
        timestamps[f"Time{time_format}"]["timestampFormat"] = time_format
    if traits:
        for name, member in {**members, **timestamps}.items():
            member["locationName"] = f"x-{name.lower()}"
    return {**members, **timestamps}


def build_model(**shapes: Any) -> dict[str, Any]:
    """Build the model of a service with one operation, ``Do``, whose input and output are the shapes ``In`` and ``Out``."""
    http = {"method": "POST", "requestUri": "/do", "responseCode": shapes.pop("status", 200)}
    operation = {"name": "Do", "http": http}
    operation |= {key: {"shape": name} for key, name in (("input", "In"), ("output", "Out")) if name in shapes}
    base = {name: {"type": kind} for name, (kind, _) in SCALARS.items()}
    structures = {name: {"type": "structure", **shape} for name, shape in shapes.items() if "members" in shape}
    return {
        "version": "2.0",
        "metadata": {
            "protocol": "rest-json",
            "protocols": ["rest-json"],
            "apiVersion": "1",
            "endpointPrefix": "made-up",
        },
        "operations": {"Do": operation},
        "shapes": {**base, "Time": {"type": "timestamp"}, **shapes, **structures},
    }


class Service:
    def __init__(self, **shapes: Any) -> None:
        self.text = build_model(**shapes)
        self.operation: OperationModel = ServiceModel(self.text).operation_model("Do")

    def send(self, members: dict[str, Any]) -> dict[str, Any]:
        """Serialize a request with botocore, and return the members that the emulator decodes."""
        request = create_serializer("rest-json").serialize_to_request(members, self.operation)
        method, path = request["method"], request["url_path"]
        operation, path_members = wire.Routes(self.operation.service_model).match(method, path)
        body = request["body"] if isinstance(request["body"], bytes) else str(request["body"]).encode()
        return wire.decode(
            operation, path_members, urlencode(request["query_string"], doseq=True), body, request["headers"]
        )

    def read(self, result: dict[str, Any]) -> dict[str, Any]:
        """Build a response, and return the members that both clients parse."""
        response = wire.build_response(self.operation, result)
        strict = StrictClient(self.text).read("Do", response)
        raw_response = {
            "status_code": response.status,
            "headers": HTTPHeaderDict(response.headers),
            "body": response.body,
        }
        shape: Any = self.operation.output_shape
        lenient = create_parser("rest-json").parse(raw_response, shape)
        lenient.pop("ResponseMetadata")
        assert lenient == strict
        return strict


def build_values(time: datetime) -> dict[str, Any]:
    return {
        **{name: value for name, (_, value) in SCALARS.items()},
        **{f"Time{time_format}": time for time_format in TIMES},
    }


def test_body_holds_every_type() -> None:
    service = Service(In={"members": build_members()}, Out={"members": build_members()})
    members = {**build_values(PRECISE), "Timerfc822": TIME}
    assert service.read(members) == members
    assert service.send(build_values(TIME)) == build_values(TIME)


@pytest.mark.parametrize("time_format", TIMES)
def test_timestamp_in_body_follows_its_format(time_format: str) -> None:
    service = Service(Out={"members": build_members()})
    time = TIME if time_format == "rfc822" else PRECISE
    body = wire.build_response(service.operation, {f"Time{time_format}": time}).body
    expected = TIMES[time_format][0]
    assert (
        body
        == f'{{"Time{time_format}": {expected if isinstance(expected, float) else chr(34) + expected + chr(34)}}}'.encode()
    )


@pytest.mark.parametrize("time_format", TIMES)
def test_timestamp_in_header_follows_its_format(time_format: str) -> None:
    service = Service(Out={"members": build_members(location="header")})
    headers = wire.build_response(service.operation, {f"Time{time_format}": TIME}).headers
    assert headers[f"x-time{time_format.lower()}"] == TIMES[time_format][1]


@pytest.mark.parametrize("time_format", TIMES)
def test_timestamp_in_query_follows_its_format(time_format: str) -> None:
    service = Service(In={"members": build_members(location="querystring")})
    query = urlencode({f"x-time{time_format.lower()}": TIMES[time_format][2]})
    assert wire.decode(service.operation, {}, query, b"", {}) == {f"Time{time_format}": TIME}


def test_headers_hold_every_type() -> None:
    service = Service(
        In={"members": build_members(location="header")}, Out={"members": build_members(location="header")}
    )
    assert service.read(build_values(TIME)) == build_values(TIME)
    # botocore does not encode a blob in a header.
    members = {name: value for name, value in build_values(TIME).items() if name != "Blob"}
    assert service.send(members) == members
    assert wire.decode(service.operation, {}, "", b"", {"X-BLOB": "AP8="}) == {"Blob": b"\x00\xff"}
    assert wire.build_response(service.operation, build_values(TIME)).body == b"{}"


def test_query_holds_every_type() -> None:
    members = {name: member for name, member in build_members(location="querystring").items() if name != "Blob"}
    values = {name: value for name, value in build_values(TIME).items() if name != "Blob"}
    assert Service(In={"members": members}).send(values) == values


def test_path_holds_timestamp() -> None:
    service = Service(In={"members": {"Time": {"shape": "Time", "location": "uri", "locationName": "Time"}}})
    assert wire.decode(service.operation, {"Time": "2026-11-01T12:30:15.5Z"}, "", b"", {}) == {
        "Time": TIME.replace(microsecond=500_000)
    }


@pytest.mark.parametrize("location", ["header", "querystring"])
def test_headers_and_query_hold_lists(location: str) -> None:
    lists = {f"{name}List": {"type": "list", "member": {"shape": name}} for name in ("String", "Integer", "Time")}
    members = {name: {"shape": name, "location": location, "locationName": f"x-{name}"} for name in lists}
    service = Service(In={"members": members}, Out={"members": members}, **lists)
    values = {"StringList": ["a", 'b, "c"'], "IntegerList": [1, -2]}
    assert service.send(values) == values
    if location == "header":  # botocore's parser treats a comma in quotes as a separator
        assert StrictClient(service.text).read("Do", wire.build_response(service.operation, values)) == values


def test_map_is_spread_over_headers() -> None:
    headers = {"Map": {"type": "map", "key": {"shape": "String"}, "value": {"shape": "String"}}}
    member = {"Meta": {"shape": "Map", "location": "headers", "locationName": "x-meta-"}}
    service = Service(In={"members": member}, Out={"members": member}, **headers)
    assert service.send({"Meta": {"a": "1", "b": "2"}}) == {"Meta": {"a": "1", "b": "2"}}
    assert service.read({"Meta": {"a": "1", "b": "2"}}) == {"Meta": {"a": "1", "b": "2"}}


def test_map_is_spread_over_query() -> None:
    shapes = {"Map": {"type": "map", "key": {"shape": "String"}, "value": {"shape": "String"}}}
    members = {
        "All": {"shape": "Map", "location": "querystring"},
        "Named": {"shape": "String", "location": "querystring", "locationName": "named"},
    }
    values = {"All": {"a": "1"}, "Named": "x"}
    assert Service(In={"members": members}, **shapes).send(values) == values


def test_json_in_header_is_encoded() -> None:
    member = {"Context": {"shape": "String", "location": "header", "locationName": "x-context", "jsonvalue": True}}
    service = Service(In={"members": member}, Out={"members": member})
    assert service.read({"Context": {"a": [1, "ü"]}}) == {"Context": {"a": [1, "ü"]}}
    assert service.send({"Context": {"a": [1, "ü"]}}) == {"Context": {"a": [1, "ü"]}}


def test_member_sets_status() -> None:
    service = Service(Out={"members": {"Code": {"shape": "Integer", "location": "statusCode"}}})
    assert wire.build_response(service.operation, {"Code": 202}).status == 202
    assert service.read({"Code": 202}) == {"Code": 202}
    assert wire.build_response(service.operation, {}).status == 200


@pytest.mark.parametrize(
    ("shape", "value", "content_type"),
    [
        ("Blob", b"\x00\xff", "application/octet-stream"),
        ("String", "ü text", "text/plain"),
        ("Inner", {"Time": PRECISE}, "application/json"),
    ],
)
def test_payload_member_is_body(shape: str, value: Any, content_type: str) -> None:
    members = {"Body": {"shape": shape}, "Name": {"shape": "String", "location": "header", "locationName": "x-name"}}
    inner = {"Inner": {"type": "structure", "members": {"Time": {"shape": "Time"}}}}
    service = Service(In={"members": members, "payload": "Body"}, Out={"members": members, "payload": "Body"}, **inner)
    response = wire.build_response(service.operation, {"Body": value, "Name": "n"})
    assert response.headers["Content-Type"] == content_type
    assert StrictClient(service.text).read("Do", response) == {"Body": value, "Name": "n"}
    assert wire.build_response(service.operation, {"Name": "n"}) == wire.HttpResponse(200, {"x-name": "n"}, b"")
    request_value = {"Time": TIME} if shape == "Inner" else value
    assert service.send({"Body": request_value, "Name": "n"}) == {"Body": request_value, "Name": "n"}
    assert wire.decode(service.operation, {}, "", b"", {}) == {}


def test_location_name_replaces_member_name() -> None:
    members = {"Name": {"shape": "String", "locationName": "name_"}}
    service = Service(In={"members": members}, Out={"members": members})
    assert wire.build_response(service.operation, {"Name": "n"}).body == b'{"name_": "n"}'
    assert service.send({"Name": "n"}) == {"Name": "n"}


def test_response_without_content_has_no_body() -> None:
    no_content = Service(Out={"members": {"String": {"shape": "String"}}}, status=204)
    assert wire.build_response(no_content.operation, {}) == wire.HttpResponse(204, {}, b"")
    assert wire.build_response(Service(status=201).operation, {}) == wire.HttpResponse(201, {}, b"")
    assert wire.build_response(Service(Out={"members": {}}).operation, {}).body == b"{}"


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_nan_and_infinity_are_strings(value: float) -> None:
    member = {"Double": {"shape": "Double"}}
    service = Service(In={"members": member}, Out={"members": member})
    response = wire.build_response(service.operation, {"Double": value})
    assert repr(StrictClient(service.text).read("Do", response)["Double"]) == repr(value)
    assert repr(wire.decode(service.operation, {}, "", response.body, {})["Double"]) == repr(value)


def test_none_is_omitted_at_any_depth() -> None:
    shapes = {
        "Map": {"type": "map", "key": {"shape": "String"}, "value": {"shape": "Inner"}},
        "List": {"type": "list", "member": {"shape": "Inner"}},
        "Inner": {"type": "structure", "members": {"String": {"shape": "String"}}},
    }
    service = Service(Out={"members": {name: {"shape": name} for name in shapes}}, **shapes)
    result = {"Map": {"a": {"String": None}, "b": None}, "List": [{"String": None}], "Inner": None}
    assert wire.build_response(service.operation, result).body == b'{"Map": {"a": {}}, "List": [{}]}'


@pytest.mark.parametrize(
    ("time_format", "value"),
    [
        ("", "2026-11-01T12:30:15Z"),
        ("", True),
        ("", "1793536215"),
        ("unixTimestamp", 1e300),
        ("iso8601", 1_793_536_215),
        ("iso8601", "2026-11-01"),
        ("iso8601", "2026-13-01T00:00:00Z"),
        ("iso8601", "2026-11-01 12:30:15"),
        ("rfc822", "2026-11-01T12:30:15Z"),
        ("rfc822", 1),
    ],
)
def test_timestamp_in_another_format_is_rejected(time_format: str, value: Any) -> None:
    operation = Service(In={"members": build_members()}).operation
    body = json.dumps({f"Time{time_format}": value}).encode()
    with pytest.raises(
        ApiError, match=f"Time{time_format}: .* is not a timestamp in the format of the API; allowed: "
    ) as caught:
        wire.decode(operation, {}, "", body, {})
    assert caught.value.code == "ValidationException"


def test_blob_that_is_not_base64_is_rejected() -> None:
    with pytest.raises(ApiError, match="Blob: the value is not base64"):
        wire.decode(Service(In={"members": build_members()}).operation, {}, "", b'{"Blob": "*"}', {})


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_as_json_numbers_are_rejected(word: str) -> None:
    with pytest.raises(ApiError, match="is not a JSON value") as caught:
        wire.decode(Service(In={"members": build_members()}).operation, {}, "", f'{{"Double": {word}}}'.encode(), {})
    assert caught.value.code == "SerializationException"
