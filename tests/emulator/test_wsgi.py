"""HTTP requests and responses: signatures, errors, headers, times, accounts, and moto on the same port."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.helpers.collaboration import collaborate
from tests.support import REGION, EmulatorProcess, World


@dataclass
class HttpResponse:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str | None]:
        return self.status, self.headers["x-amzn-ErrorType"]


def send(
    world: World,
    method: str,
    path: str,
    body: Any = None,
    *,
    service: str = "cleanrooms-ml",
    region: str = REGION,
    signed: bool = True,
) -> HttpResponse:
    """Send a request unchanged: no client validates it, encodes its path or retries it."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = AWSRequest(method, world.emulator.url + path, data=data)
    if signed:
        SigV4Auth(Credentials(world.account, "secret"), service, region).add_auth(request)
    connection = http.client.HTTPConnection(urlsplit(world.emulator.url).netloc, timeout=30)
    connection.request(method, path, data, dict(request.headers.items()))
    raw_response = connection.getresponse()
    response = HttpResponse(raw_response.status, raw_response.headers, raw_response.read())
    connection.close()
    return response


def dataset(world: World, **changes: Any) -> dict[str, Any]:
    return {"name": "d", "roleArn": world.role, "trainingData": world.build_training_data(), **changes}


def encode_token(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def quote_arn(arn: str) -> str:
    return quote(arn, safe="")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/audience-model"),
        ("POST", "/training-dataset"),
        ("DELETE", "/audience-generation-job/arn%3Aaws%3Acleanrooms-ml"),
        ("PUT", "/configured-audience-model/arn%3Aaws%3Acleanrooms-ml/policy"),
        ("GET", "/memberships/m/trained-models"),
    ],
)
def test_unsigned_request_is_rejected(empty_world: World, method: str, path: str) -> None:
    response = send(empty_world, method, path, signed=False)
    assert response.error == (403, "MissingAuthenticationToken")
    assert response.json == {
        "message": "The request is not signed. Sign it with any secret key; the access key is the account id."
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"name": "d"', "The request body is not JSON: "),
        (b"name=d", "The request body is not JSON: "),
        (b'{"name": "\xff"}', "The request body is not JSON: "),
        (b'["d"]', "not a JSON object"),
        (b'"d"', "not a JSON object"),
        (b"null", "not a JSON object"),
    ],
)
def test_body_that_is_not_json_object_is_rejected(empty_world: World, body: bytes, message: str) -> None:
    response = send(empty_world, "POST", "/training-dataset", body)
    assert response.error == (400, "SerializationException")
    assert message in response.json["message"]


COLUMN = "trainingData[0].inputConfig.schema[0]"


def build_data_with_column(world: World, **changes: Any) -> list[dict[str, Any]]:
    (entry,) = world.build_training_data()
    column = {"columnName": "user_id", "columnTypes": ["USER_ID"], **changes}
    return [{**entry, "inputConfig": {**entry["inputConfig"], "schema": [column]}}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {"name": None}, "name: missing; required"),
        (lambda _: {"name": 5}, "name: 5 is an int; must be a string"),
        (lambda _: {"name": "x" * 64}, " has 64 characters; allowed: 1 to 63 characters"),
        (lambda _: {"name": ""}, "name: is empty; allowed: 1 to 63 characters"),
        (lambda _: {"name": " "}, "name: ' ' does not match; pattern: "),
        (lambda _: {"roleArn": "arn:aws:iam::1:role/short"}, "roleArn: 'arn:aws:iam::1:role/short' does not match"),
        (lambda _: {"trainingData": {}}, "trainingData: {} is a dict; must be a list"),
        (lambda _: {"trainingData": []}, "trainingData: is empty; allowed: 1 item"),
        (lambda _: {"trainingData": [None]}, "trainingData[0]: None; a value is required"),
        (lambda _: {"trainingData": [{"type": "INTERACTIONS"}]}, "trainingData[0].inputConfig: missing; required"),
        (lambda _: {"tags": {"k": 1}}, "tags['k']: 1 is an int; must be a string"),
        (lambda _: {"tags": {"k" * 129: ""}}, " has 129 characters; allowed: 1 to 128 characters"),
        (
            lambda w: {"trainingData": build_data_with_column(w, columnTypes=["USER"])},
            f"{COLUMN}.columnTypes[0]: 'USER' is unknown",
        ),
        (lambda w: {"trainingData": build_data_with_column(w, columnName="a" * 129)}, f"{COLUMN}.columnName: 'aaa"),
        (
            lambda w: {"trainingData": build_data_with_column(w, columnName="a.b")},
            f"{COLUMN}.columnName: 'a.b' does not match",
        ),
        (
            lambda w: {"trainingData": build_data_with_column(w, columnName=True)},
            f"{COLUMN}.columnName: True is a bool",
        ),
    ],
)
def test_violation_of_model_is_reported_with_path(
    empty_world: World, change: Callable[[World], dict[str, Any]], message: str
) -> None:
    response = send(empty_world, "POST", "/training-dataset", dataset(empty_world, **change(empty_world)))
    assert response.error == (400, "ValidationException")
    assert message in response.json["message"]
    assert empty_world.ml.list_training_datasets()["trainingDatasets"] == []


def test_one_error_reports_all_violations(empty_world: World) -> None:
    response = send(empty_world, "POST", "/training-dataset", {"name": "", "roleArn": 1})
    violations = "name: is empty; allowed: 1 to 63 characters", "roleArn: 1 is an int; must be a string, in quotes"
    assert response.json == {"message": "; ".join([*violations, "trainingData: missing; required"])}


@pytest.mark.parametrize("path", ["/not-an-arn", "/arn%3Aaws%3Acleanrooms-ml%3Aus-east-1%3A1%3Aaudience-model%2Fm"])
def test_malformed_arn_in_path_is_rejected(empty_world: World, path: str) -> None:
    response = send(empty_world, "GET", f"/audience-model{path}")
    assert response.error == (400, "ValidationException")
    assert response.json["message"].startswith("audienceModelArn: ")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("maxResults=0", "maxResults: 0 is out of range; allowed: 1 to 100"),
        ("maxResults=-1", "maxResults: -1 is out of range; allowed: 1 to 100"),
        ("maxResults=101", "maxResults: 101 is out of range; allowed: 1 to 100"),
        ("maxResults=ten", "maxResults: 'ten' is a string; must be an integer"),
        ("maxResults=", "maxResults: '' is a string; must be an integer"),
        ("nextToken=", "nextToken: is empty"),
        ("nextToken=page2", "nextToken is not valid: "),
        ("nextToken=%F0%9F%98%80", "nextToken is not valid: "),
        (f"nextToken={encode_token({})}", "nextToken is not valid: "),
        (f"nextToken={encode_token([1])}", "nextToken is not valid: "),
        (f"nextToken={encode_token({'from': 'x'})}", "nextToken is not valid: "),
    ],
)
@pytest.mark.parametrize("path", ["/audience-model", "/audience-export-job", "/training-dataset"])
def test_invalid_page_size_or_token_is_rejected(empty_world: World, path: str, query: str, message: str) -> None:
    response = send(empty_world, "GET", f"{path}?{query}")
    assert response.error == (400, "ValidationException")
    assert message in response.json["message"]


def test_largest_and_smallest_page_sizes_are_accepted(empty_world: World) -> None:
    for size in (1, 100):
        assert send(empty_world, "GET", f"/audience-model?maxResults={size}").json == {"audienceModels": []}


@pytest.mark.parametrize("service", ["cleanrooms-ml", "cleanrooms"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("PUT", "/audience-model"), ("GET", "/")])
def test_unknown_path_or_method_is_rejected(empty_world: World, service: str, method: str, path: str) -> None:
    response = send(empty_world, method, path, service=service)
    assert response.error == (404, "UnknownOperationException")
    assert response.json == {"message": f"No operation matches {method} {path}."}


def test_unsupported_operation_is_named_and_not_retried(empty_world: World) -> None:
    with pytest.raises(ClientError, match="not support ListConfiguredTables.*configured tables, analysis") as caught:
        empty_world.client("cleanrooms").list_configured_tables()
    assert caught.value.response["Error"]["Code"] == "NotImplementedByEmulatorException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert empty_world.calls == ["ListConfiguredTables"]


def test_boto3_retries_server_errors(empty_world: World) -> None:
    empty_world.add_fault("ListTrainingDatasets", "server_error")
    assert empty_world.ml.list_training_datasets()["trainingDatasets"] == []
    assert empty_world.calls == ["ListTrainingDatasets"] * 2


def test_every_response_has_its_own_request_id(empty_world: World) -> None:
    good, bad = (send(empty_world, "GET", f"/audience-model?maxResults={size}") for size in (1, 0))
    ids = {uuid.UUID(response.headers["x-amzn-RequestId"]) for response in (good, bad)}
    assert len(ids) == 2
    assert good.headers["x-amzn-ErrorType"] is None
    assert {response.headers["Content-Type"] for response in (good, bad)} == {"application/json"}


@pytest.mark.parametrize("path", ["/collaborations", "/memberships"])
def test_times_of_clean_rooms_are_epoch_seconds(empty_world: World, path: str) -> None:
    collaborate(empty_world)
    response = send(empty_world, "GET", path, service="cleanrooms").json
    ((entry,),) = response.values()
    for name in ("createTime", "updateTime"):
        assert isinstance(entry[name], (int, float))
        assert abs(entry[name] - time.time()) < 3600


def test_operation_without_output_returns_no_body(empty_world: World) -> None:
    arn = empty_world.create_dataset()
    response = send(empty_world, "DELETE", f"/training-dataset/{quote_arn(arn)}")
    assert (response.status, response.body, response.headers["Content-Type"]) == (200, b"", None)
    assert uuid.UUID(response.headers["x-amzn-RequestId"])
    membership = collaborate(empty_world).find_membership(empty_world)
    response = send(empty_world, "DELETE", f"/memberships/{membership}", service="cleanrooms")
    assert (response.status, response.body, response.headers["Content-Type"]) == (204, b"", None)


def test_times_are_iso_8601_with_milliseconds_in_utc(world: World) -> None:
    day = {"trainingDataStartTime": "2025-11-01T05:30:00+05:30"}
    created = send(world, "POST", "/audience-model", {"name": "m", "trainingDatasetArn": world.create_dataset(), **day})
    model = send(world, "GET", f"/audience-model/{quote_arn(created.json['audienceModelArn'])}").json
    assert model["trainingDataStartTime"] == "2025-11-01T00:00:00.000Z"
    for name in ("createTime", "updateTime"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", model[name])


@pytest.mark.parametrize(("kind", "value"), [("quota", 2), ("no_quota", 0)])
def test_exceeded_quota_returns_402_with_name_and_value(empty_world: World, kind: str, value: int) -> None:
    empty_world.add_fault("CreateTrainingDataset", kind)
    response = send(empty_world, "POST", "/training-dataset", dataset(empty_world))
    assert response.error == (402, "ServiceQuotaExceededException")
    assert response.json == {
        "message": f"The request exceeds the quota 'Quota of an injected fault', which is {value}.",
        "quotaName": "Quota of an injected fault",
        "quotaValue": value,
    }


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("throttle", (429, "ThrottlingException")),
        ("server_error", (500, "InternalServiceException")),
        ("access_denied", (403, "AccessDeniedException")),
    ],
)
def test_fault_rejects_two_calls_and_executes_neither(empty_world: World, kind: str, error: tuple[int, str]) -> None:
    empty_world.add_fault("CreateTrainingDataset", kind, times=2)
    responses = [send(empty_world, "POST", "/training-dataset", dataset(empty_world)) for _ in range(3)]
    assert [response.error for response in responses] == [error, error, (200, None)]


@pytest.mark.parametrize(("kind", "names"), [("reset", []), ("lose_response", ["d"])])
def test_dropped_connection_returns_no_response(empty_world: World, kind: str, names: list[str]) -> None:
    empty_world.add_fault("CreateTrainingDataset", kind)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        send(empty_world, "POST", "/training-dataset", dataset(empty_world))
    datasets = empty_world.ml.list_training_datasets()["trainingDatasets"]
    assert [entry["name"] for entry in datasets] == names


def test_moto_serves_same_port_and_account(world: World) -> None:
    other = World(world.emulator)
    assert [bucket["Name"] for bucket in world.client("s3").list_buckets()["Buckets"]] == [world.bucket]
    assert other.client("s3").list_buckets()["Buckets"] == []
    assert world.client("glue").get_table(DatabaseName="lookalike", Name="interactions")["Table"]["Parameters"]
    assert other.client("glue").get_databases()["DatabaseList"] == []
    assert world.client("sts").get_caller_identity()["Account"] == world.account
    assert world.create_dataset().split(":")[4] == world.account


def test_assumed_role_acts_in_its_own_account(empty_world: World) -> None:
    other = World(empty_world.emulator)
    client = empty_world.make_client_of_role("cleanroomsml", other.role)
    arn = client.create_training_dataset(**dataset(other))["trainingDatasetArn"]
    assert arn.split(":")[4] == other.account
    assert (other.calls, empty_world.calls) == (["CreateTrainingDataset"], [])


def test_emulator_listens_on_loopback_only(emulator: EmulatorProcess) -> None:
    address = urlsplit(emulator.url)
    assert address.hostname == "127.0.0.1"
    assert address.port is not None
    socket.create_connection(("127.0.0.1", address.port), 5).close()
    # On Linux this is an address of this machine too: a server that listens on all addresses would accept the connection.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", address.port), 5)
