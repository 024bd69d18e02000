"""
Every trait of rest-json, in a made-up service model: the models of Clean Rooms have no headers, blobs or payloads so far.

Requests are serialised by botocore, answers are read by botocore and by a strict client.
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
#: In a body, in a header, and in a path or query.
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


def described(**places: Any) -> dict[str, Any]:
    """Members of every type, each with these traits."""
    members = {name: {"shape": name, **places} for name in SCALARS}
    stamps = {f"Time{spelling}": {"shape": "Time", **places} for spelling in TIMES}
    for spelling in filter(None, TIMES):
        stamps[f"Time{spelling}"]["timestampFormat"] = spelling
    if places:
        for name, member in {**members, **stamps}.items():
            member["locationName"] = f"x-{name.lower()}"
    return {**members, **stamps}


def model(**shapes: Any) -> dict[str, Any]:
    """A service with one operation, ``Do``, whose input and output are the shapes ``In`` and ``Out``."""
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
        self.text = model(**shapes)
        self.operation: OperationModel = ServiceModel(self.text).operation_model("Do")

    def sent(self, members: dict[str, Any]) -> dict[str, Any]:
        """What arrives of a request of botocore."""
        made = create_serializer("rest-json").serialize_to_request(members, self.operation)
        method, path = made["method"], made["url_path"]
        found, in_path = wire.Routes(self.operation.service_model).match(method, path)
        body = made["body"] if isinstance(made["body"], bytes) else str(made["body"]).encode()
        return wire.decode(found, in_path, urlencode(made["query_string"], doseq=True), body, made["headers"])

    def read(self, result: dict[str, Any]) -> dict[str, Any]:
        """What both clients read of an answer."""
        answer = wire.build_response(self.operation, result)
        strict = StrictClient(self.text).read("Do", answer)
        response = {"status_code": answer.status, "headers": HTTPHeaderDict(answer.headers), "body": answer.body}
        shape: Any = self.operation.output_shape
        lenient = create_parser("rest-json").parse(response, shape)
        lenient.pop("ResponseMetadata")
        assert lenient == strict
        return strict


def everything(time: datetime) -> dict[str, Any]:
    return {**{name: value for name, (_, value) in SCALARS.items()}, **{f"Time{each}": time for each in TIMES}}


def test_a_body_has_every_type() -> None:
    service = Service(In={"members": described()}, Out={"members": described()})
    members = {**everything(PRECISE), "Timerfc822": TIME}
    assert service.read(members) == members
    assert service.sent(everything(TIME)) == everything(TIME)


@pytest.mark.parametrize("spelling", TIMES)
def test_a_timestamp_in_a_body_is_spelled_as_its_trait_says(spelling: str) -> None:
    service = Service(Out={"members": described()})
    time = TIME if spelling == "rfc822" else PRECISE
    body = wire.build_response(service.operation, {f"Time{spelling}": time}).body
    expected = TIMES[spelling][0]
    assert (
        body
        == f'{{"Time{spelling}": {expected if isinstance(expected, float) else chr(34) + expected + chr(34)}}}'.encode()
    )


@pytest.mark.parametrize("spelling", TIMES)
def test_a_timestamp_in_a_header_is_spelled_as_its_trait_says(spelling: str) -> None:
    service = Service(Out={"members": described(location="header")})
    headers = wire.build_response(service.operation, {f"Time{spelling}": TIME}).headers
    assert headers[f"x-time{spelling.lower()}"] == TIMES[spelling][1]


@pytest.mark.parametrize("spelling", TIMES)
def test_a_timestamp_in_a_query_is_spelled_as_its_trait_says(spelling: str) -> None:
    service = Service(In={"members": described(location="querystring")})
    query = urlencode({f"x-time{spelling.lower()}": TIMES[spelling][2]})
    assert wire.decode(service.operation, {}, query, b"", {}) == {f"Time{spelling}": TIME}


def test_headers_have_every_type() -> None:
    service = Service(In={"members": described(location="header")}, Out={"members": described(location="header")})
    assert service.read(everything(TIME)) == everything(TIME)
    sent = {
        name: value for name, value in everything(TIME).items() if name != "Blob"
    }  # botocore does not encode it there
    assert service.sent(sent) == sent
    assert wire.decode(service.operation, {}, "", b"", {"X-BLOB": "AP8="}) == {"Blob": b"\x00\xff"}
    assert wire.build_response(service.operation, everything(TIME)).body == b"{}"


def test_a_query_has_every_type() -> None:
    members = {name: member for name, member in described(location="querystring").items() if name != "Blob"}
    sent = {name: value for name, value in everything(TIME).items() if name != "Blob"}
    assert Service(In={"members": members}).sent(sent) == sent


def test_a_path_has_a_time() -> None:
    service = Service(In={"members": {"Time": {"shape": "Time", "location": "uri", "locationName": "Time"}}})
    assert wire.decode(service.operation, {"Time": "2026-11-01T12:30:15.5Z"}, "", b"", {}) == {
        "Time": TIME.replace(microsecond=500_000)
    }


@pytest.mark.parametrize("location", ["header", "querystring"])
def test_lists_outside_the_body(location: str) -> None:
    lists = {f"{name}List": {"type": "list", "member": {"shape": name}} for name in ("String", "Integer", "Time")}
    members = {name: {"shape": name, "location": location, "locationName": f"x-{name}"} for name in lists}
    service = Service(In={"members": members}, Out={"members": members}, **lists)
    sent = {"StringList": ["a", 'b, "c"'], "IntegerList": [1, -2]}
    assert service.sent(sent) == sent
    if location == "header":  # botocore's parser takes a comma in quotes for a separator
        assert StrictClient(service.text).read("Do", wire.build_response(service.operation, sent)) == sent


def test_a_map_is_spread_over_headers() -> None:
    headers = {"Map": {"type": "map", "key": {"shape": "String"}, "value": {"shape": "String"}}}
    member = {"Meta": {"shape": "Map", "location": "headers", "locationName": "x-meta-"}}
    service = Service(In={"members": member}, Out={"members": member}, **headers)
    assert service.sent({"Meta": {"a": "1", "b": "2"}}) == {"Meta": {"a": "1", "b": "2"}}
    assert service.read({"Meta": {"a": "1", "b": "2"}}) == {"Meta": {"a": "1", "b": "2"}}


def test_a_map_is_spread_over_a_query() -> None:
    shapes = {"Map": {"type": "map", "key": {"shape": "String"}, "value": {"shape": "String"}}}
    members = {
        "All": {"shape": "Map", "location": "querystring"},
        "Named": {"shape": "String", "location": "querystring", "locationName": "named"},
    }
    sent = {"All": {"a": "1"}, "Named": "x"}
    assert Service(In={"members": members}, **shapes).sent(sent) == sent


def test_json_in_a_header_is_encoded() -> None:
    member = {"Context": {"shape": "String", "location": "header", "locationName": "x-context", "jsonvalue": True}}
    service = Service(In={"members": member}, Out={"members": member})
    assert service.read({"Context": {"a": [1, "ü"]}}) == {"Context": {"a": [1, "ü"]}}
    assert service.sent({"Context": {"a": [1, "ü"]}}) == {"Context": {"a": [1, "ü"]}}


def test_a_member_is_the_status() -> None:
    service = Service(Out={"members": {"Code": {"shape": "Integer", "location": "statusCode"}}})
    assert wire.build_response(service.operation, {"Code": 202}).status == 202
    assert service.read({"Code": 202}) == {"Code": 202}
    assert wire.build_response(service.operation, {}).status == 200


@pytest.mark.parametrize(
    ("shape", "value", "kind"),
    [
        ("Blob", b"\x00\xff", "application/octet-stream"),
        ("String", "ü text", "text/plain"),
        ("Inner", {"Time": PRECISE}, "application/json"),
    ],
)
def test_a_member_is_the_body(shape: str, value: Any, kind: str) -> None:
    members = {"Body": {"shape": shape}, "Name": {"shape": "String", "location": "header", "locationName": "x-name"}}
    inner = {"Inner": {"type": "structure", "members": {"Time": {"shape": "Time"}}}}
    service = Service(In={"members": members, "payload": "Body"}, Out={"members": members, "payload": "Body"}, **inner)
    answer = wire.build_response(service.operation, {"Body": value, "Name": "n"})
    assert answer.headers["Content-Type"] == kind
    assert StrictClient(service.text).read("Do", answer) == {"Body": value, "Name": "n"}
    assert wire.build_response(service.operation, {"Name": "n"}) == wire.HttpResponse(200, {"x-name": "n"}, b"")
    sent_members = {"Time": TIME} if shape == "Inner" else value
    assert service.sent({"Body": sent_members, "Name": "n"}) == {"Body": sent_members, "Name": "n"}
    assert wire.decode(service.operation, {}, "", b"", {}) == {}


def test_a_member_has_another_name_on_the_wire() -> None:
    members = {"Name": {"shape": "String", "locationName": "name_"}}
    service = Service(In={"members": members}, Out={"members": members})
    assert wire.build_response(service.operation, {"Name": "n"}).body == b'{"name_": "n"}'
    assert service.sent({"Name": "n"}) == {"Name": "n"}


def test_an_operation_without_content_returns_no_body() -> None:
    nothing = Service(Out={"members": {"String": {"shape": "String"}}}, status=204)
    assert wire.build_response(nothing.operation, {}) == wire.HttpResponse(204, {}, b"")
    assert wire.build_response(Service(status=201).operation, {}) == wire.HttpResponse(201, {}, b"")
    assert wire.build_response(Service(Out={"members": {}}).operation, {}).body == b"{}"


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_nan_and_infinity_are_strings(value: float) -> None:
    member = {"Double": {"shape": "Double"}}
    service = Service(In={"members": member}, Out={"members": member})
    answer = wire.build_response(service.operation, {"Double": value})
    assert repr(StrictClient(service.text).read("Do", answer)["Double"]) == repr(value)
    assert repr(wire.decode(service.operation, {}, "", answer.body, {})["Double"]) == repr(value)


def test_none_is_omitted_at_any_depth() -> None:
    shapes = {
        "Map": {"type": "map", "key": {"shape": "String"}, "value": {"shape": "Inner"}},
        "List": {"type": "list", "member": {"shape": "Inner"}},
        "Inner": {"type": "structure", "members": {"String": {"shape": "String"}}},
    }
    service = Service(Out={"members": {name: {"shape": name} for name in shapes}}, **shapes)
    sent_members = {"Map": {"a": {"String": None}, "b": None}, "List": [{"String": None}], "Inner": None}
    assert wire.build_response(service.operation, sent_members).body == b'{"Map": {"a": {}}, "List": [{}]}'


@pytest.mark.parametrize(
    ("spelling", "value"),
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
def test_a_timestamp_in_another_format_is_rejected(spelling: str, value: Any) -> None:
    operation = Service(In={"members": described()}).operation
    body = json.dumps({f"Time{spelling}": value}).encode()
    with pytest.raises(
        ApiError, match=f"Time{spelling}: .* is not a timestamp in the format of the API; allowed: "
    ) as caught:
        wire.decode(operation, {}, "", body, {})
    assert caught.value.code == "ValidationException"


def test_a_blob_that_is_not_base64_is_rejected() -> None:
    with pytest.raises(ApiError, match="Blob: the value is not base64"):
        wire.decode(Service(In={"members": described()}).operation, {}, "", b'{"Blob": "*"}', {})


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_as_json_numbers_are_rejected(word: str) -> None:
    with pytest.raises(ApiError, match="is not a JSON value") as caught:
        wire.decode(Service(In={"members": described()}).operation, {}, "", f'{{"Double": {word}}}'.encode(), {})
    assert caught.value.code == "SerializationException"
