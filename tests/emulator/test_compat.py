"""What still works when a private API of moto or werkzeug that the emulator uses is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
from botocore.exceptions import ClientError
from werkzeug.datastructures import Headers
from werkzeug.serving import WSGIRequestHandler
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Response

from airflow_cleanroomsml.emulator import _compat
from airflow_cleanroomsml.emulator.errors import ApiError
from airflow_cleanroomsml.emulator.server import Emulator
from airflow_cleanroomsml.emulator.settings import Settings
from tests.helpers.in_process import URL, InProcess, in_process
from tests.support import RunningEmulator, World

ACCOUNT = "123456789012"
SERVER = "moto.moto_server.werkzeug_app"
DENY = '{{"Statement": [{{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::{}/*"{}}}]}}'
ON_HTTP = ', "Condition": {"Bool": {"aws:SecureTransport": "false"}}'


@pytest.fixture
def remove(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """A function that removes an attribute of a module, or the module itself, as a later release may."""

    def remove(module: str, name: str = "") -> None:
        if name:
            monkeypatch.delattr(import_module(module), name)
        else:
            monkeypatch.setitem(sys.modules, module, None)

    return remove


class ThreadEmulator(RunningEmulator):
    """
    An emulator in a thread of this process, where a test can remove parts of moto.

    :param emulator: The server.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.url = emulator.url


@contextmanager
def run_in_thread() -> Iterator[World]:
    with Emulator(Settings(scale=0.001)) as emulator:
        yield World(ThreadEmulator(emulator))


@pytest.fixture
def world() -> Iterator[World]:
    with run_in_thread() as world:
        yield world


@pytest.mark.parametrize("name", ["DomainDispatcherApplication", "create_backend_app", ""])
def test_clean_rooms_ml_works_without_moto_dispatcher(remove: Callable[..., None], name: str) -> None:
    remove(SERVER, name)
    with run_in_thread() as world:
        assert world.ml.list_training_datasets()["trainingDatasets"] == []
        with pytest.raises(ClientError, match=r"moto \S+ has no moto.moto_server.werkzeug_app") as caught:
            world.client("glue").get_databases()
    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0


def test_werkzeug_handler_replaces_missing_moto_handler(remove: Callable[..., None]) -> None:
    assert _compat.find_request_handler() is not WSGIRequestHandler
    remove(SERVER, "MotoRequestHandler")
    assert _compat.find_request_handler() is WSGIRequestHandler


@pytest.mark.parametrize(
    ("module", "name"),
    [("moto.s3.models", "FakeBucket"), ("moto.s3.models", ""), ("moto.iam.access_control", "PermissionResult")],
)
def test_moto_evaluates_policies_if_its_classes_are_missing(
    monkeypatch: pytest.MonkeyPatch, remove: Callable[..., None], module: str, name: str
) -> None:
    bucket: Any = import_module("moto.s3.models").FakeBucket
    monkeypatch.setattr(bucket, "get_permission", lambda *_: "moto")
    remove(module, name)
    _compat.replace_policy_evaluation(lambda *_: "emulator")
    assert bucket.get_permission() == "moto"


def test_nothing_is_replaced_without_moto_method(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket: Any = import_module("moto.s3.models").FakeBucket
    monkeypatch.delattr(bucket, "get_permission")
    _compat.replace_policy_evaluation(lambda *_: "emulator")
    assert not hasattr(bucket, "get_permission")


def test_denial_without_moto_exception_has_no_message(world: World, remove: Callable[..., None]) -> None:
    s3 = world.client("s3")
    s3.create_bucket(Bucket=world.bucket)
    s3.put_bucket_policy(Bucket=world.bucket, Policy=DENY.format(world.bucket, ""))
    with pytest.raises(ClientError, match="explicit deny in a resource-based policy"):
        s3.put_object(Bucket=world.bucket, Key="k", Body=b"")
    remove("moto.s3.exceptions", "S3ClientError")
    with pytest.raises(ClientError, match="403"):
        s3.put_object(Bucket=world.bucket, Key="k", Body=b"")
    s3.put_bucket_policy(Bucket=world.bucket, Policy=DENY.format(world.bucket, ON_HTTP))
    s3.put_object(Bucket=world.bucket, Key="k", Body=b"")


def test_account_id_works_as_key_without_moto_accounts(world: World, remove: Callable[..., None]) -> None:
    iam = world.client("iam")
    iam.create_user(UserName="user")
    key = iam.create_access_key(UserName="user")["AccessKey"]["AccessKeyId"]
    assert _compat.find_account(key) == world.account
    remove("moto.iam.models", "get_account_id_from")
    assert world.ml.list_training_datasets()["trainingDatasets"] == []
    with pytest.raises(ApiError, match="the account of the access key is unknown. Use the account id"):
        _compat.find_account(key)


@pytest.mark.parametrize("name", ["sts_backends", ""])
def test_policy_sees_account_without_moto_sessions(world: World, remove: Callable[..., None], name: str) -> None:
    session = world.client("sts").assume_role(RoleArn=world.role, RoleSessionName="session")["Credentials"]
    assert _compat.find_assumed_role(world.account, "aws", session["AccessKeyId"]) == world.role
    assert _compat.find_assumed_role(world.account, "aws", "other") == ""
    remove("moto.sts.models", name)
    assert _compat.find_assumed_role(world.account, "aws", session["AccessKeyId"]) == ""


ARN = "arn%3Aaws%3Acleanrooms-ml%3Aus-east-1%3A123456789012%3Atraining-dataset%2F0f3a6f0e-0000-4000-8000-000000000000"
AUTHORIZATION = f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20261124/us-east-1/cleanrooms-ml/aws4_request, Signature=0"


def send(emulator: InProcess, path: str, **environ: str) -> Response:
    """Send a request through a WSGI server that adds only these variables."""
    builder = EnvironBuilder(path, URL, headers=Headers({"Authorization": AUTHORIZATION}))
    request: dict[str, Any] = builder.get_environ()
    for name in ("RAW_URI", "REQUEST_URI"):
        request.pop(name, None)
    request.update(environ)
    return Response.from_app(emulator._application, request)


@pytest.mark.parametrize("variable", ["RAW_URI", "REQUEST_URI"])
def test_arn_is_read_from_raw_path(variable: str) -> None:
    path = f"/training-dataset/{ARN}"
    with in_process() as emulator:
        response = send(emulator, path, **{variable: path})
    assert (response.status_code, response.headers["x-amzn-ErrorType"]) == (404, "ResourceNotFoundException")


def test_requests_without_arns_do_not_need_raw_path() -> None:
    with in_process() as emulator:
        assert send(emulator, "/training-dataset?maxResults=1").status_code == 200
        response = send(emulator, f"/training-dataset/{ARN}")
    assert response.status_code == 400
    assert "neither RAW_URI nor REQUEST_URI" in response.get_json()["message"]


def test_close_connection_needs_socket_access() -> None:
    assert not _compat.close_connection({})
