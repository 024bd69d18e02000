"""Every operation of both services: a backend receives what botocore sends, and botocore and a strict client parse its results."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore import xform_name
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, Shape, StringShape, StructureShape

from airflow_cleanroomsml._requests.request import load
from airflow_cleanroomsml.emulator import wire
from airflow_cleanroomsml.emulator.backend import RESOURCES
from airflow_cleanroomsml.emulator.errors import ApiError, quota_error
from tests.emulator.strict_client import StrictClient

MODELS = {service: load(service) for service in RESOURCES}
MODEL = MODELS["cleanroomsml"]
ROUTES = {service: wire.Routes(model) for service, model in MODELS.items()}
STRICT = {service: StrictClient(Loader().load_service_model(service, "service-2")) for service in RESOURCES}
ALL = [model.operation_model(name) for model in MODELS.values() for name in model.operation_names]
OPERATIONS = [
    operation
    for operation in ALL
    if any(hasattr(kind, xform_name(operation.name)) for kind in RESOURCES[operation.service_model.service_name])
]
ERRORS = [
    (service, model.shape_for(name))
    for service, model in MODELS.items()
    for name in model.shape_names
    if model.shape_for(name).metadata.get("exception")
]
every_emulated_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
every_operation = pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.name)

MEMBERSHIP = "membership/01234567-89ab-cdef-0123-456789abcdef"
ACCOUNT = "us-gov-west-1:000000000012"
# The part after a noun may contain slashes, and may look like the end of another operation's path.
ARNS = [
    f"arn:aws-us-gov:cleanrooms-ml:{ACCOUNT}:{noun}/{end}"
    for noun in (
        "training-dataset",
        "audience-model",
        "configured-audience-model",
        "audience-generation-job",
        "configured-model-algorithm",
        f"{MEMBERSHIP}/configured-model-algorithm-association",
        f"{MEMBERSHIP}/ml-input-channel",
        f"{MEMBERSHIP}/trained-model",
        f"{MEMBERSHIP}/trained-model-inference-job",
    )
    for end in ("0f8fad5b", "a//b/../c.d_e-F/", "x/policy", "x/export-jobs", "x/versions")
]
TEXTS = [
    "arn:aws:kms:eu-west-1:000000000012:key/a b%2Fc+d?e&f=g#h/ü",
    "arn:aws:iam::000000000012:role/path/to/rôle %41+&?=",
    f"arn:aws:cleanrooms:us-east-1:000000000012:{MEMBERSHIP}/analysistemplate/t-1",
    f"arn:aws:cleanrooms:us-east-1:000000000012:{MEMBERSHIP}/configuredtableassociation/a_1",
    f"arn:aws:cleanrooms:us-east-1:000000000012:{MEMBERSHIP}",
    f"arn:aws:cleanrooms:us-east-1:000000000012:{MEMBERSHIP}/configuredaudiencemodelassociation/a_1",
    f"arn:aws:cleanrooms:us-east-1:000000000012:{MEMBERSHIP}/intermediatetable/a_1",
    "arn:aws:cleanrooms:us-east-1:000000000012:collaboration/01234567-89ab-cdef-0123-456789abcdef",
    "arn:aws:cleanrooms:us-east-1:000000000012:configuredtable/t-1",
    "arn:aws:cleanrooms:us-east-1:000000000012:configuredtableassociation/m-1/t-1",
    "arn:aws:cleanrooms:us-east-1:000000000012:privacybudgettemplate/t-1",
    f"arn:aws:cleanrooms:us-east-1:000000000012:{MEMBERSHIP}/idmappingtable/t-1",
    f"arn:aws:cleanrooms:us-east-1:000000000012:{MEMBERSHIP}/idnamespaceassociation/a-1",
    "arn:aws:entityresolution:us-east-1:000000000012:idmappingworkflow/w 1",
    "arn:aws:entityresolution:us-east-1:000000000012:idnamespace/n-1",
    "arn:aws:kms:us-east-1:000000000012:key/k-1",
    "arn:aws:secretsmanager:us-east-1:000000000012:secret:s",
    "https://x.cloud.databricks.com",
    f"https://x.cloud.databricks.com/api/2.0/delta-sharing/metastores/{MEMBERSHIP[11:]}/recipients/{MEMBERSHIP[11:]}",
    "arn:aws:iam::000000000012:role/path/to/role=+@.-",
    "a-bucket",
    "s3://bucket/a b/%2F+ü?x=1&y=2#z",
    "01234567-89ab-cdef-0123-456789abcdef",
    "000000000012",
    "0a" * 32,
    "a",
    "_",
    "under_score",
    "x-y",
    "words 2 and-more",
    "{a}@b/c;d=(e)|[f]?*+^$.\\ #,g",
    " %2F%25% ",
    "a+b c/d?e&f=g#h;i,j:k@l",
    "%",
    "+",
    "?",
    "/",
    "a//b/",
    "~.-_!*'()[]{}<>|^`$\"\\",
    "Grüße, 東京 и мир",
    "emoji 😀 and é as two: e\u0301",
    "tab\there",
    "line\r\nfeed\u2028and\u0085others",
    "null\x00 and delete\x7f",
    "None",
    "true",
    "12",
    "2026-11-01T00:00:00Z",
    "\ufeff",
    "",
]


class Draw:
    """
    Random values that a shape allows.

    :param seed: The same seed gives the same values.
    :param share: Probability of an optional member, from 0 to 1.
    """

    def __init__(self, seed: object, share: float) -> None:
        self.random = random.Random(str(seed))
        self.share = share

    def value(self, shape: Any) -> Any:
        return getattr(self, shape.type_name)(shape)

    def structure(self, shape: StructureShape) -> dict[str, Any]:
        if shape.is_document_type:
            return {"any": ["JSON", 1, 0.5, True, None, {"nested": {}}]}
        if shape.metadata.get("union"):
            chosen = [self.random.choice(list(shape.members))]
        else:
            required = shape.required_members
            chosen = [name for name in shape.members if name in required or self.random.random() < self.share]
        return {name: self.value(shape.members[name]) for name in chosen}

    def list(self, shape: ListShape) -> Sequence[Any]:
        return [self.value(shape.member) for _ in range(self._size(shape))]

    def map(self, shape: MapShape) -> dict[str, Any]:
        return {self.value(shape.key): self.value(shape.value) for _ in range(self._size(shape))}

    def _size(self, shape: Shape) -> int:
        # A query string does not distinguish an empty list from a missing one.
        minimum = 1 if shape.serialization.get("location") else shape.metadata.get("min", 0)
        return self.random.randint(minimum, max(minimum, min(3, shape.metadata.get("max", 3))))

    def string(self, shape: StringShape) -> str:
        if shape.enum:
            return self.random.choice(shape.enum)
        low, high = shape.metadata.get("min", 0), shape.metadata.get("max", 64)
        # Python's re has no Unicode categories; \w matches the characters of the samples that belong to them.
        text = re.sub(r"\\p\{\w+\}", r"\\w", shape.metadata.get("pattern", "(?s:.*)"))
        pattern = re.compile(text, re.ASCII)
        texts = ARNS if "cleanrooms-ml:" in pattern.pattern else [*TEXTS, "x" * high, "7" * high, "ü" * high]
        candidates = [text for text in texts if low <= len(text) <= high and pattern.fullmatch(text)]
        assert candidates, f"no sample of {shape.name} {shape.metadata}"
        return self.random.choice(candidates)

    def integer(self, shape: Shape) -> int:
        low, high = shape.metadata.get("min", -(2**31)), shape.metadata.get("max", 2**31 - 1)
        value: int = self.random.choice([low, high, self.random.randint(low, high)])
        return value

    def long(self, shape: Shape) -> int:
        return self.random.choice([-(2**63), 0, 2**53 + 1, 2**63 - 1])

    def double(self, shape: Shape) -> float:
        low, high = shape.metadata.get("min", -1e300), shape.metadata.get("max", 1e300)
        value: float = self.random.choice([low, high, self.random.uniform(low, high)])
        return value

    def float(self, shape: Shape) -> float:
        return self.random.choice([0.0, 0.5, -1.25, 2.0**20])

    def boolean(self, shape: Shape) -> bool:
        return self.random.random() < 0.5

    def timestamp(self, shape: Shape) -> datetime:
        zone = timezone(timedelta(minutes=self.random.choice([0, 330, -480])))
        milliseconds = self.random.choice([0, 1, 999, self.random.randrange(1000)])
        second = timedelta(seconds=self.random.randrange(-(10**9), 4 * 10**9), milliseconds=milliseconds)
        return (datetime(1970, 1, 1, tzinfo=timezone.utc) + second).astimezone(zone)


def draw_samples(operation: OperationModel, shape: Any) -> list[Any]:
    """Draw ten values: one with every member, one with the required members only, and eight with half of the others."""
    shares = [1, 0, *[0.5] * 8]
    return [Draw((operation.name, number), share).value(shape) for number, share in enumerate(shares)]


class Body:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._body


class CapturingClient:
    """A boto3 client whose requests are captured instead of sent."""

    def __init__(self, service: str) -> None:
        client: Any = boto3.client
        self.client: Any = client(
            service,
            endpoint_url="http://127.0.0.1:9",
            region_name="us-east-1",
            aws_access_key_id="123456789012",
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}),
        )
        self.request: Any = None
        self.response: tuple[int, Any, bytes] = 200, {}, b"{}"
        capture: Any = self._capture
        self.client.meta.events.register(f"before-send.{service}", capture)

    def _capture(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        self.request = request
        status, headers, body = self.response
        return AWSResponse(request.url, status, headers, Body(body))

    def send(self, operation: OperationModel, members: dict[str, Any]) -> tuple[str, str, str, bytes]:
        self.response = 200, {}, b"{}"
        self.client._make_api_call(operation.name, members)
        target = urlsplit(self.request.url)
        return self.request.method, target.path, target.query, self.request.body or b""

    def receive(self, operation: OperationModel, response: wire.HttpResponse) -> Any:
        self.response = response.status, response.headers, response.body
        parsed = self.client._make_api_call(operation.name, Draw(operation.name, 0).value(operation.input_shape))
        parsed.pop("ResponseMetadata")
        return parsed


@pytest.fixture(scope="module")
def clients() -> dict[str, CapturingClient]:
    return {service: CapturingClient(service) for service in RESOURCES}


def service_of(operation: OperationModel) -> str:
    return str(operation.service_model.service_name)


@every_emulated_operation
def test_backend_receives_sent_members(operation: OperationModel, clients: dict[str, CapturingClient]) -> None:
    for members in draw_samples(operation, operation.input_shape):
        method, path, query, body = clients[service_of(operation)].send(operation, members)
        target, path_members = ROUTES[service_of(operation)].match(method, path)
        assert target.name == operation.name
        assert wire.parse(target, path_members, query, body) == members


@every_operation
def test_request_is_decoded_to_its_members(operation: OperationModel, clients: dict[str, CapturingClient]) -> None:
    for members in draw_samples(operation, operation.input_shape):
        method, path, query, body = clients[service_of(operation)].send(operation, members)
        target, path_members = ROUTES[service_of(operation)].match(method, path)
        assert wire.decode(target, path_members, query, body, {}) == members


@every_emulated_operation
def test_path_matches_one_operation(operation: OperationModel, clients: dict[str, CapturingClient]) -> None:
    for members in draw_samples(operation, operation.input_shape):
        method, path, _, _ = clients[service_of(operation)].send(operation, members)
        routes = ROUTES[service_of(operation)]._routes
        matches = [candidate.name for candidate, verb, pattern in routes if verb == method and pattern.fullmatch(path)]
        assert matches == [operation.name]


def results(operation: OperationModel) -> list[dict[str, Any]]:
    """Draw results that a backend may return; an empty one if the operation has no output."""
    return draw_samples(operation, operation.output_shape) if operation.output_shape else [{}]


@every_operation
def test_botocore_parses_every_response(operation: OperationModel, clients: dict[str, CapturingClient]) -> None:
    for result in results(operation):
        assert clients[service_of(operation)].receive(operation, wire.build_response(operation, result)) == result


@every_operation
def test_strict_client_parses_every_response(operation: OperationModel) -> None:
    client = STRICT[service_of(operation)]
    for result in results(operation):
        assert client.read(operation.name, wire.build_response(operation, result)) == result


@every_operation
def test_members_outside_output_shape_are_omitted(operation: OperationModel) -> None:
    result = results(operation)[0]
    assert wire.build_response(operation, {**result, "secretOfTheBackend": 1}) == wire.build_response(operation, result)
    members = operation.output_shape.members if operation.output_shape else {}
    assert wire.build_response(operation, dict.fromkeys(members)).body in (b"{}", b"")


@pytest.mark.parametrize(("service", "shape"), ERRORS, ids=lambda value: getattr(value, "name", value))
def test_error_arrives_with_its_members(
    service: str, shape: StructureShape, clients: dict[str, CapturingClient]
) -> None:
    members = {**Draw(shape.name, 1).value(shape), "message": "Grüße 😀"}
    error = ApiError(shape.name, members.pop("message"), **members)
    model, client = MODELS[service], clients[service]
    operation = model.operation_model({"cleanroomsml": "CreateTrainedModel", "cleanrooms": "CreateMembership"}[service])
    with pytest.raises(ClientError) as caught:
        client.receive(operation, wire.build_error_response(model, error))
    assert isinstance(caught.value, getattr(client.client.exceptions, shape.name))
    response = caught.value.response
    assert response["Error"] == {"Code": shape.name, "Message": "Grüße 😀"}
    assert response["ResponseMetadata"]["HTTPStatusCode"] == shape.metadata["error"]["httpStatusCode"]
    assert {name: response[name] for name in members} == members
    members_with_message = {**error.members, "message": error.message}
    assert STRICT[service].read_error(wire.build_error_response(model, error)) == (shape.name, members_with_message)


def test_quota_error_has_name_and_value() -> None:
    response = wire.build_error_response(MODEL, quota_error("Models", 2))
    assert response.headers["x-amzn-ErrorType"] == "ServiceQuotaExceededException"
    assert json.loads(response.body) == {
        "message": "The request exceeds the quota 'Models', which is 2.",
        "quotaName": "Models",
        "quotaValue": 2.0,
    }


@pytest.mark.parametrize(
    ("time", "iso_8601", "epoch"),
    [
        (0, "1970-01-01T00:00:00.000Z", 0),
        (1_793_491_199.9996, "2026-10-31T23:59:59.999Z", 1_793_491_199.999),
        (-0.0004, "1969-12-31T23:59:59.999Z", -0.001),
        (datetime(1, 1, 1, tzinfo=timezone.utc), "0001-01-01T00:00:00.000Z", -62_135_596_800),
        (
            datetime(2026, 11, 1, 5, 30, 0, 999_999, timezone(timedelta(hours=5.5))),
            "2026-11-01T00:00:00.999Z",
            1_793_491_200.999,
        ),
    ],
)
def test_time_is_exact_to_the_millisecond(time: datetime | float, iso_8601: str, epoch: float) -> None:
    def encode_time(service: str, operation: str, result: dict[str, Any]) -> Any:
        return json.loads(wire.build_response(MODELS[service].operation_model(operation), result).body)

    assert encode_time("cleanroomsml", "GetAudienceModel", {"createTime": time}) == {"createTime": iso_8601}
    collaboration = encode_time("cleanrooms", "GetCollaboration", {"collaboration": {"createTime": time}})
    assert collaboration == {"collaboration": {"createTime": epoch}}


@pytest.mark.parametrize("path", ["/audience-model/", "/audience-model/a/b", "/Audience-model", "/", ""])
def test_unknown_path_is_rejected(path: str) -> None:
    with pytest.raises(ApiError, match="No operation matches GET") as caught:
        ROUTES["cleanroomsml"].match("GET", path)
    assert (caught.value.code, caught.value.status) == ("UnknownOperationException", 404)
