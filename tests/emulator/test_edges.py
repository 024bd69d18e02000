"""Cases that a first version got wrong: unsigned requests, deletion while paging, hostile bodies, policies, updates during jobs."""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import time
import urllib.error
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from botocore.model import OperationModel

from airflow_cleanroomsml._requests.request import load
from tests.emulator.clocked_world import expect_error
from tests.emulator.test_backend import export, start
from tests.emulator.test_request_guard import sign
from tests.emulator.test_wsgi import dataset, send
from tests.helpers.collaboration import collaborate
from tests.helpers.emulator_starter import SOCKET
from tests.support import EmulatorProcess, World

COLLABORATION = "12345678-1234-1234-1234-123456789012"
OPERATIONS = [load().operation_model(name) for name in load().operation_names]


def build_token_query(text: bytes) -> str:
    return "nextToken=" + base64.urlsafe_b64encode(text).decode()


def statement(arn: str, account: str, **more: Any) -> dict[str, Any]:
    jobs = arn.rsplit(":", 1)[0] + ":audience-generation-job/*"
    action = "cleanrooms-ml:StartAudienceGenerationJob"
    return {"Effect": "Allow", "Principal": {"AWS": [account]}, "Action": action, "Resource": [arn, jobs], **more}


def put(world: World, arn: str, *statements: Any) -> None:
    text = json.dumps({"Statement": statements})
    world.ml.put_configured_audience_model_policy(configuredAudienceModelArn=arn, configuredAudienceModelPolicy=text)


@pytest.fixture
def partner(world: World) -> World:
    other = World(world.emulator)
    other.client("s3").create_bucket(Bucket=other.bucket)
    return other


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_rejects_unsigned_requests(empty_world: World, operation: OperationModel) -> None:
    path = re.sub(r"\{\w+\}", "arn%3Aaws%3Acleanrooms-ml", operation.http["requestUri"])
    response = send(empty_world, operation.http["method"], path, signed=False)
    assert response.error == (403, "MissingAuthenticationToken")


@pytest.mark.parametrize(
    "query",
    [
        build_token_query(b'{"after": 1e999}'),
        build_token_query(b'{"after": -1}'),
        build_token_query(b"["),
        "maxResults=" + "9" * 5000,
    ],
)
def test_invalid_page_size_or_token_is_rejected(empty_world: World, query: str) -> None:
    empty_world.create_dataset()
    assert send(empty_world, "GET", f"/training-dataset?{query}").error == (400, "ValidationException")


def test_deeply_nested_body_is_rejected(empty_world: World) -> None:
    response = send(empty_world, "POST", "/training-dataset", b"[" * 200_000)
    assert response.error == (400, "SerializationException")


def test_out_of_range_timestamp_is_rejected(world: World) -> None:
    body = {
        "name": "m",
        "trainingDatasetArn": world.create_dataset(),
        "trainingDataStartTime": "0001-01-01T00:00:00+14:00",
    }
    assert send(world, "POST", "/audience-model", body).error == (400, "ValidationException")
    assert send(world, "GET", "/audience-model").status == 200


def test_deleting_while_paging_skips_nothing(empty_world: World) -> None:
    for index in range(4):
        empty_world.create_dataset(f"d{index}")
    for page in empty_world.ml.get_paginator("list_training_datasets").paginate(PaginationConfig={"PageSize": 2}):
        for entry in page["trainingDatasets"]:
            empty_world.ml.delete_training_dataset(trainingDatasetArn=entry["trainingDatasetArn"])
    assert empty_world.ml.list_training_datasets()["trainingDatasets"] == []


@pytest.mark.parametrize(
    ("tags", "message"),
    [({f"k{n}": "" for n in range(51)}, "at most 50 tags"), ({"aws:x": ""}, "reserved"), ({"AWS:x": ""}, "reserved")],
)
def test_invalid_tags_are_rejected(empty_world: World, tags: dict[str, str], message: str) -> None:
    with pytest.raises(ClientError, match=message):
        empty_world.ml.create_training_dataset(**dataset(empty_world), tags=tags)


@pytest.mark.parametrize(
    "more",
    [
        [{}, {"Effect": "Deny"}],
        [{"Condition": {"StringEquals": {"cleanrooms-ml:CollaborationId": COLLABORATION}}}],
        [{"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}],
        [{"Resource": "{arn}"}],
    ],
    ids=["denied", "another collaboration", "another condition", "without the jobs"],
)
def test_policy_without_matching_allow_denies(world: World, partner: World, more: list[dict[str, Any]]) -> None:
    arn = world.create_configured_model()
    changes = [{name: arn if value == "{arn}" else value for name, value in each.items()} for each in more]
    put(world, arn, *(statement(arn, partner.account, **each) for each in changes))
    collaboration = {"collaborationId": collaborate(world, partner).id}
    expect_error("AccessDeniedException", start, world=partner, name="x", configured=arn, **collaboration)


def test_generation_job_requires_membership_in_its_collaboration(world: World, partner: World) -> None:
    arn, partner_collaboration, shared_collaboration = (
        world.create_configured_model(),
        collaborate(partner).id,
        collaborate(partner, world).id,
    )
    put(world, arn, statement(arn, partner.account))
    for caller, collaboration in ((world, COLLABORATION), (world, partner_collaboration), (partner, COLLABORATION)):
        expect_error(
            "AccessDeniedException", start, world=caller, name="x", configured=arn, collaborationId=collaboration
        )
    for caller in (world, partner):
        job = start(caller, "x", arn, collaborationId=shared_collaboration)
        response = caller.ml.get_audience_generation_job(audienceGenerationJobArn=job)
        assert response["collaborationId"] == shared_collaboration


def test_invalid_statement_is_not_stored(world: World) -> None:
    arn = world.create_configured_model()
    with pytest.raises(ClientError, match="Statement must be an object"):
        put(world, arn, "x")


def test_updates_do_not_affect_running_jobs(world: World, partner: World) -> None:
    arn = world.create_configured_model()
    put(world, arn, statement(arn, partner.account))
    job = start(partner, "j", arn)
    assert "metrics" in partner.wait(job)
    sizes = {"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [20]}
    world.ml.update_configured_audience_model(
        configuredAudienceModelArn=arn, sharedAudienceMetrics=["NONE"], audienceSizeConfig=sizes
    )
    assert "metrics" in partner.ml.get_audience_generation_job(audienceGenerationJobArn=job)
    export(partner, "e", job)


def test_owner_can_delete_despite_job_of_partner(world: World, partner: World) -> None:
    arn = world.create_configured_model()
    put(world, arn, statement(arn, partner.account))
    partner.wait(start(partner, "j", arn))
    (owner_entry,) = world.ml.list_audience_generation_jobs()["audienceGenerationJobs"]
    world.ml.delete_audience_generation_job(audienceGenerationJobArn=owner_entry["audienceGenerationJobArn"])
    end = time.monotonic() + 300
    while world.ml.list_audience_generation_jobs()["audienceGenerationJobs"] and time.monotonic() < end:
        time.sleep(0.1)
    world.ml.delete_configured_audience_model(configuredAudienceModelArn=arn)
    assert world.ml.list_configured_audience_models()["configuredAudienceModels"] == []


def test_misspelt_fault_is_rejected(empty_world: World) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        empty_world.add_fault("ListTrainingDatasets", "typo")
    assert caught.value.code == 400
    assert "allowed: reset, lose_response" in caught.value.read().decode()


def test_emulator_stops_when_parent_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    # A child of this process, not of the starter.
    monkeypatch.delenv(SOCKET, raising=False)
    child = EmulatorProcess("--scale", "0.001")
    assert isinstance(child._process, subprocess.Popen)
    assert child._process.stdin is not None
    child._process.stdin.close()
    assert child._process.wait(120) == 0


@pytest.mark.parametrize("principal", ["arn:x", "arn:aws:iam::root", ["111111111111", "arn:aws:iam"]])
def test_policy_with_truncated_principal_arn_is_rejected(world: World, partner: World, principal: Any) -> None:
    arn = world.create_configured_model()
    with pytest.raises(world.ml.exceptions.ValidationException, match="principal"):
        put(world, arn, statement(arn, "", Principal={"AWS": principal}))
    with pytest.raises(partner.ml.exceptions.AccessDeniedException):
        start(partner, "job", arn)


@pytest.mark.parametrize("source", ["not an ARN, but long enough", "arn:aws:iam::role/truncated"])
def test_policy_simulation_with_invalid_arn_is_rejected(empty_world: World, source: str) -> None:
    iam = empty_world.client("iam")
    with pytest.raises(ClientError) as caught:
        iam.simulate_principal_policy(PolicySourceArn=source, ActionNames=["s3:GetObject"])
    assert caught.value.response["Error"] == {
        "Type": "Sender",
        "Code": "InvalidInput",
        "Message": f"PolicySourceArn is '{source}'; must be the ARN of a role.",
    }


@pytest.mark.parametrize(
    ("service", "request_line", "body", "status"),
    [
        ("cleanrooms-ml", b"GET /audience-model?maxResults=\xff", b"", b" 400 "),
        ("iam", b"POST /", b"Action=SimulatePrincipalPolicy&PolicySourceArn=\xff", b" 400 "),
    ],
)
def test_text_that_is_not_utf_8_is_rejected(
    empty_world: World, service: str, request_line: bytes, body: bytes, status: bytes
) -> None:
    host = urlsplit(empty_world.emulator.url)
    head = [
        request_line + b" HTTP/1.1",
        f"Host: {host.netloc}".encode(),
        f"Authorization: {sign(empty_world.emulator, service)['Authorization']}".encode(),
        b"Content-Length: %d" % len(body),
        b"Connection: close",
    ]
    with socket.create_connection((str(host.hostname), host.port or 80), 30) as connection:
        connection.sendall(b"\r\n".join([*head, b"", body]))
        assert status in connection.makefile("rb").readline()


def test_invalid_role_header_does_not_match_denied_role(world: World) -> None:
    s3 = world._make_client("s3")
    s3.put_object(Bucket=world.bucket, Key="k", Body=b"")
    policy = {"Effect": "Deny", "Principal": {"AWS": world.role}, "Action": "s3:*", "Resource": "*"}
    s3.put_bucket_policy(Bucket=world.bucket, Policy=json.dumps({"Statement": [policy]}))
    s3.meta.events.register("before-sign", lambda request, **_: request.headers.add_header("x-emulator-role", "arn:x"))
    assert s3.head_object(Bucket=world.bucket, Key="k")["ContentLength"] == 0
