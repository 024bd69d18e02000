"""Requests that the emulator rejects: from web pages of other origins, with foreign host names, and with oversized bodies."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from werkzeug.test import create_environ
from werkzeug.wrappers import Response

from airflow_cleanroomsml.emulator import wsgi
from airflow_cleanroomsml.emulator.request_guard import RequestGuard
from airflow_cleanroomsml.emulator.server import format_url_host
from tests.helpers.in_process import URL, in_process
from tests.support import REGION, EmulatorProcess, RunningEmulator, World, make_client

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[EmulatorProcess]:
    """A separate emulator, because a request that gets through may change its clock."""
    process = EmulatorProcess("--scale", "0.001", "--allowed-host", "emulator", "--allowed-host", "192.0.2.7")
    yield process
    process.stop()


def get_netloc(server: EmulatorProcess) -> str:
    return urlsplit(server.url).netloc


def sign(server: RunningEmulator, service: str) -> dict[str, str]:
    request = AWSRequest("GET", server.url)
    SigV4Auth(Credentials("123456789012", "secret"), service, REGION).add_auth(request)
    return {"Authorization": request.headers["Authorization"]}


#: Method, path, signing name of the service, and body: paths of the emulator itself, of both services, and of moto.
REQUESTS = {
    "health": ("GET", "/_emulator/health", "", None),
    "clock": ("POST", "/_emulator/clock", "", b'{"advance": 3600}'),
    "unknown path of the emulator": ("POST", "/_emulator/nothing", "", b"{}"),
    "list": ("GET", "/training-dataset", "cleanrooms-ml", None),
    "create": ("POST", "/training-dataset", "cleanrooms-ml", b"{}"),
    "unsigned": ("GET", "/training-dataset", "", None),
    "Clean Rooms": ("GET", "/memberships", "cleanrooms", None),
    "S3": ("GET", "/", "s3", None),
    "S3, unsigned": ("PUT", "/bucket-of-a-page", "", b""),
    "STS": ("POST", "/", "sts", b"Action=GetCallerIdentity&Version=2011-06-15"),
    "moto's reset": ("POST", "/moto-api/reset", "", b""),
    "moto's dashboard": ("GET", "/moto-api/", "", None),
    "preflight": ("OPTIONS", "/_emulator/clock", "", None),
    "preflight of S3": ("OPTIONS", "/bucket-of-a-page/key", "", None),
}


def send(server: EmulatorProcess, request: str, *headers: tuple[str, str]) -> tuple[int, str | None, bytes]:
    """
    Send a request, and return status, error type and body of the response.

    :param headers: The same name may occur twice; without Host, the server's is sent.
    """
    method, path, service, body = REQUESTS[request]
    with closing(http.client.HTTPConnection(get_netloc(server), timeout=30)) as connection:
        names = {name for name, _ in headers}
        connection.putrequest(method, path, skip_host="Host" in names)
        for name, value in headers:
            connection.putheader(name, value)
        for name, value in (sign(server, service) if service else {}).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Type", "text/plain")
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.headers["x-amzn-ErrorType"], response.read()


def expect_rejection(server: EmulatorProcess, request: str, *headers: tuple[str, str]) -> str:
    """Expect a request to be rejected without effect, and return the type of the error."""
    before = (server._control("clock")["now"], len(server._control("requests")["requests"]))
    status, error, body = send(server, request, *headers)
    after = (server._control("clock")["now"], len(server._control("requests")["requests"]))
    assert status == 403
    assert "allowed" in json.loads(body)["message"]
    assert after[0] - before[0] < 1800
    assert after[1] == before[1]
    return str(error)


FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:5055",
    "127.0.0.1.evil.example",
    "localhost.evil.example:5055",
    "evillocalhost",
    "notemulator:5055",
    "emulator.evil.example",
    "127.0.0.1@evil.example",
    "evil.example@127.0.0.1",
    "127.0.0.1:5055@evil.example",
    "127.0.0.1,evil.example",
    "evil.example,127.0.0.1",
    "127.0.0.1:port",
    "2130706433",
    "127.1",
    "0.0.0.0:5055",
    "[::]:5055",
    "192.0.2.8",
    "[2001:db8::1]:5055",
    "[evil.example]",
    "host.docker.internal",
    "s3.amazonaws.com",
    "localhost..",
    ".localhost",
    "",
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_foreign_host_is_rejected(server: EmulatorProcess, host: str) -> None:
    assert expect_rejection(server, "clock", ("Host", host)) == "ForbiddenHostException"


@pytest.mark.parametrize("request_", REQUESTS)
def test_foreign_host_is_rejected_on_every_path(server: EmulatorProcess, request_: str) -> None:
    assert expect_rejection(server, request_, ("Host", "evil.example:5055")) == "ForbiddenHostException"


def test_every_host_header_must_be_allowed(server: EmulatorProcess) -> None:
    for hosts in (("127.0.0.1", "evil.example"), ("evil.example", "127.0.0.1")):
        assert expect_rejection(server, "clock", *(("Host", host) for host in hosts)) == "ForbiddenHostException"


def test_host_in_request_line_is_checked(server: EmulatorProcess) -> None:
    host, port = get_netloc(server).split(":")
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall(b"GET http://evil.example/_emulator/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 403 ")


ALLOWED_HOSTS = [
    "127.0.0.1",
    "127.0.0.1:5055",
    "127.0.0.2:6000",
    "localhost",
    "LocalHost:5055",
    "localhost.:5055",
    "[::1]:5055",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "bucket.localhost:5055",
    "my.bucket_1.localhost",
    "emulator:5055",
    "bucket.emulator",
    "192.0.2.7:5055",
]


@pytest.mark.parametrize("host", ALLOWED_HOSTS)
@pytest.mark.parametrize("request_", ["health", "list", "S3", "STS"])
def test_local_and_allowed_host_names_are_accepted(server: EmulatorProcess, host: str, request_: str) -> None:
    status, error, _ = send(server, request_, ("Host", host))
    # S3 takes what precedes the emulator's name as the name of a bucket, which does not exist.
    assert (status, error) == (404 if request_ == "S3" and host.startswith("bucket.") else 200, None)


def test_request_without_host_is_accepted(server: EmulatorProcess) -> None:
    host, port = get_netloc(server).split(":")
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall(b"GET /_emulator/health HTTP/1.0\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")


CROSS_SITE: list[tuple[tuple[str, str], ...]] = [
    (("Origin", "https://evil.example"),),
    (("Origin", "http://evil.example:5055"),),
    (("Origin", "null"),),
    (("Origin", ""),),
    (("Origin", "http://localhost"),),
    (("Origin", "http://localhost:1"),),
    (("Origin", "http://127.0.0.1.evil.example:{port}"),),
    (("Origin", "http://{host}@evil.example"),),
    (("Origin", "http://evil.example/{host}"),),
    (("Origin", "file://"),),
    (("Origin", "chrome-extension://{host}"),),
    (("Origin", "http://[evil"),),
    (("Origin", "http://{host}"), ("Origin", "http://evil.example")),
    (("Referer", "https://evil.example/page"),),
    (("Referer", "http://localhost:1/{host}"),),
    (("Sec-Fetch-Site", "cross-site"),),
    (("Sec-Fetch-Site", "same-site"),),
    (("Sec-Fetch-Site", "cross-site"), ("Origin", "http://{host}")),
    (("Sec-Fetch-Site", "same-origin"), ("Origin", "http://evil.example")),
    (("Sec-Fetch-Site", "of-the-future"),),
    (("Origin", "http://evil.example"), ("Access-Control-Request-Method", "POST")),
]


def format_headers(server: EmulatorProcess, headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    host = get_netloc(server)
    return [(name, value.format(host=host, port=host.split(":")[1])) for name, value in headers]


@pytest.mark.parametrize("headers", CROSS_SITE, ids=str)
def test_cross_origin_request_is_rejected(server: EmulatorProcess, headers: tuple[tuple[str, str], ...]) -> None:
    assert expect_rejection(server, "clock", *format_headers(server, headers)) == "ForbiddenOriginException"


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize(
    "header", [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")], ids=lambda header: header[0]
)
def test_cross_origin_request_is_rejected_on_every_path(
    server: EmulatorProcess, request_: str, header: tuple[str, str]
) -> None:
    assert expect_rejection(server, request_, header) == "ForbiddenOriginException"


NOT_CROSS_SITE: list[tuple[tuple[str, str], ...]] = [
    (),
    (("Origin", "http://{host}"),),
    (("Referer", "http://{host}/moto-api/"),),
    (("Referer", ""),),
    (("Sec-Fetch-Site", "same-origin"), ("Origin", "http://{host}")),
    (("Sec-Fetch-Site", "none"),),
    (("Sec-Fetch-Mode", "cors"), ("Accept-Language", "*")),
]


@pytest.mark.parametrize("headers", NOT_CROSS_SITE, ids=str)
@pytest.mark.parametrize("request_", ["health", "list", "S3"])
def test_requests_without_foreign_origin_are_accepted(
    server: EmulatorProcess, headers: tuple[tuple[str, str], ...], request_: str
) -> None:
    assert send(server, request_, *format_headers(server, headers))[:2] == (200, None)


def test_rejected_page_creates_no_bucket(server: EmulatorProcess) -> None:
    expect_rejection(server, "S3, unsigned", ("Origin", "http://evil.example"))
    assert World(server, "123456789012").client("s3").list_buckets()["Buckets"] == []


@pytest.mark.parametrize("style", ["path", "virtual"])
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_boto3_reaches_buckets_by_path_and_host(server: EmulatorProcess, style: str, name: str) -> None:
    bucket = f"bucket-{style}-{len(name)}"
    addressing: Any = {"addressing_style": style}
    client = make_client(
        "s3",
        endpoint_url=server.url.replace("127.0.0.1", name),
        region_name=REGION,
        aws_access_key_id="123456789012",
        aws_secret_access_key="secret",
        config=Config(s3=addressing),
    )
    _resolve_everything_to_loopback(client)
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="key", Body=b"content")
    assert client.get_object(Bucket=bucket, Key="key")["Body"].read() == b"content"


def _resolve_everything_to_loopback(client: Any) -> None:
    """Send every request to the loopback address, because not every resolver resolves all names under localhost to it."""

    def redirect(request: AWSRequest, **_: Any) -> None:
        parts = urlsplit(str(request.url))
        request.headers["Host"] = parts.netloc
        request.url = parts._replace(netloc=f"127.0.0.1:{parts.port}").geturl()

    client.meta.events.register("before-send.s3", redirect)


@pytest.mark.parametrize(
    ("listen_address", "host", "allowed"),
    [
        ("127.0.0.1", "192.0.2.8", False),
        ("192.0.2.8", "192.0.2.8:5055", True),
        ("192.0.2.8", "127.0.0.1:5055", True),
        ("192.0.2.8", "192.0.2.9", False),
        ("192.0.2.8", "evil.example", False),
        ("2001:db8::1", "[2001:db8:0::1]:5055", True),
        ("0.0.0.0", "192.0.2.8:5055", True),
        ("0.0.0.0", "0.0.0.0:5055", True),
        ("0.0.0.0", "[2001:db8::1]", True),
        ("0.0.0.0", "evil.example", False),
        ("::", "192.0.2.8", True),
        ("::", "evil.example", False),
        ("", "192.0.2.8", True),
        ("", "evil.example", False),
        ("workstation.example", "workstation.example:5055", True),
        ("workstation.example", "example", False),
    ],
)
def test_listening_address_is_allowed(listen_address: str, host: str, allowed: bool) -> None:
    assert RequestGuard(listen_address).allows_host(host) == allowed


@pytest.mark.parametrize("name", ["http://emulator", "emulator:5055", "*", "", " ", "a b", "[::1]", "emulator/"])
def test_invalid_host_name_cannot_be_allowed(name: str) -> None:
    with pytest.raises(ValueError, match="is not a host name or IP address"):
        RequestGuard(allowed_hosts=[name])


def send_head(server: EmulatorProcess, path: str, service: str, *headers: str) -> socket.socket:
    """Send the head of a request, and return the open connection."""
    host, port = get_netloc(server).split(":")
    signed_headers = [f"{name}: {value}" for name, value in (sign(server, service) if service else {}).items()]
    connection = socket.create_connection((host, int(port)), 30)
    head = [f"PUT {path} HTTP/1.1", f"Host: {host}:{port}", *signed_headers, *headers, "", ""]
    connection.sendall("\r\n".join(head).encode())
    return connection


def read_status(connection: socket.socket) -> int:
    """Read the status of the response."""
    with connection, closing(http.client.HTTPResponse(connection)) as response:
        response.begin()
        return response.status


#: Path, signing name of the service, and largest body in bytes.
BODY_LIMITS = [
    ("/_emulator/clock", "", 10 * MEBIBYTE),
    ("/training-dataset", "cleanrooms-ml", 10 * MEBIBYTE),
    ("/memberships", "cleanrooms", 10 * MEBIBYTE),
    ("/bucket/key", "s3", 1024 * MEBIBYTE),
    ("/bucket/key", "", 1024 * MEBIBYTE),
]


@pytest.mark.parametrize(("path", "service", "limit"), BODY_LIMITS)
def test_body_above_limit_is_rejected_unread(server: EmulatorProcess, path: str, service: str, limit: int) -> None:
    for length in (limit + 1, 10**12, 10**30):
        assert read_status(send_head(server, path, service, f"Content-Length: {length}")) == 413


@pytest.mark.parametrize("length", ["-1", "+5", "5_0", "5,5", "five", "0x10"])
@pytest.mark.parametrize(("path", "service"), [(path, service) for path, service, _ in BODY_LIMITS])
def test_invalid_content_length_is_rejected(server: EmulatorProcess, path: str, service: str, length: str) -> None:
    form = "Content-Type: application/x-www-form-urlencoded"
    assert read_status(send_head(server, path, service, form, f"Content-Length: {length}")) == 400


@pytest.mark.parametrize(("path", "service", "limit"), BODY_LIMITS[:3])
def test_chunked_body_is_read_up_to_limit(server: EmulatorProcess, path: str, service: str, limit: int) -> None:
    connection = send_head(server, path, service, "Transfer-Encoding: chunked")
    for _ in range(limit // MEBIBYTE + 1):
        connection.sendall(b"%x\r\n%s\r\n" % (MEBIBYTE, b" " * MEBIBYTE))
    connection.sendall(b"0\r\n\r\n")
    assert read_status(connection) == 413


@pytest.mark.parametrize("chunk", [b"five\r\n12345\r\n", b"-5\r\n", b"\r\n"])
@pytest.mark.parametrize(("path", "service"), [(path, service) for path, service, _ in BODY_LIMITS])
def test_malformed_chunk_is_rejected(server: EmulatorProcess, path: str, service: str, chunk: bytes) -> None:
    connection = send_head(server, path, service, "Transfer-Encoding: chunked")
    connection.sendall(chunk + b"0\r\n\r\n")
    assert read_status(connection) == 400


def test_deeply_nested_body_is_rejected(server: EmulatorProcess) -> None:
    body = b"[" * 200_000
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(f"{server.url}/_emulator/clock", body)


def test_body_at_limit_is_read(server: EmulatorProcess) -> None:
    connection = send_head(server, "/training-dataset", "cleanrooms-ml", f"Content-Length: {10 * MEBIBYTE}")
    connection.sendall(b" " * 10 * MEBIBYTE)
    # The emulator reads the body, and then rejects the request: the path has no PUT.
    assert read_status(connection) == 404


def test_client_receives_error_for_oversized_body(server: EmulatorProcess) -> None:
    world = World(server)
    client = world.ml
    # Replace the body after botocore has validated the arguments: it would reject any that are this long.
    client.meta.events.register("before-call", lambda params, **_: params.update(body=b" " * 11 * MEBIBYTE))
    with pytest.raises(client.exceptions.ClientError, match=r"exceeds 10,485,760 bytes\.$") as caught:
        client.list_training_datasets()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_large_upload_reaches_bucket(server: EmulatorProcess) -> None:
    world = World(server)
    s3 = world.client("s3")
    s3.create_bucket(Bucket=world.bucket)
    s3.put_object(Bucket=world.bucket, Key="whole", Body=b"x" * 40 * MEBIBYTE)
    assert s3.head_object(Bucket=world.bucket, Key="whole")["ContentLength"] == 40 * MEBIBYTE


def test_chunked_upload_reaches_bucket(server: EmulatorProcess) -> None:
    world = World(server, "123456789012")
    world.client("s3").create_bucket(Bucket=world.bucket)
    connection = send_head(server, f"/{world.bucket}/key", "s3", "Transfer-Encoding: chunked")
    for _ in range(3):
        connection.sendall(b"%x\r\n%s\r\n" % (5 * MEBIBYTE, b"x" * 5 * MEBIBYTE))
    connection.sendall(b"0\r\n\r\n")
    assert read_status(connection) == 200
    assert world.client("s3").head_object(Bucket=world.bucket, Key="key")["ContentLength"] == 15 * MEBIBYTE


def test_chunked_upload_is_read_up_to_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi, "MOTO_BODY", 100)
    with in_process() as emulator:
        world = World(emulator, "123456789012")
        world.client("s3").create_bucket(Bucket="bucket")
        for size, expected in ((100, 200), (101, 413)):
            body = BytesIO(b"x" * 1000)
            body.seek(1000 - size)
            environ = create_environ(f"/bucket/key-{size}", URL, method="PUT", headers=sign(emulator, "s3"))
            environ |= {"wsgi.input": body, "wsgi.input_terminated": True, "RAW_URI": f"/bucket/key-{size}"}
            assert Response.from_app(emulator._application, environ).status_code == expected
        assert [entry["Key"] for entry in world.client("s3").list_objects_v2(Bucket="bucket")["Contents"]] == [
            "key-100"
        ]


def _has_ipv6() -> bool:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
def test_emulator_listens_on_ipv6() -> None:
    emulator = EmulatorProcess("--host", "::1")
    try:
        assert emulator.url.startswith("http://[::1]:")
        world = World(emulator)
        assert world.ml.list_training_datasets()["trainingDatasets"] == []
        world.client("s3").create_bucket(Bucket=world.bucket)
        assert expect_rejection(emulator, "health", ("Host", "evil.example")) == "ForbiddenHostException"
    finally:
        emulator.stop()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("0.0.0.0", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("192.0.2.8", "192.0.2.8"),
    ],
)
def test_own_url_is_allowed(host: str, address: str) -> None:
    assert format_url_host(host) == address
    assert RequestGuard(host).allows_host(f"{address}:5055")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--allowed-host", "http://emulator:5055", "is not a host name or IP address; must be a bare name"),
        ("--port", "65536", "is not a port: 0 to 65535"),
        ("--port", "http", "is not a port: 0 to 65535"),
        ("--scale", "-1", "is not allowed; must be a number, 0 or more"),
        ("--scale", "nan", "is not allowed; must be a number, 0 or more"),
        ("--pending-seconds", "-0.1", "is not allowed; must be a number, 0 or more"),
        ("--progress-seconds", "inf", "is not allowed; must be a number, 0 or more"),
        ("--delete-seconds", "soon", "is not allowed; must be a number, 0 or more"),
    ],
)
def test_invalid_option_is_rejected(option: str, value: str, message: str) -> None:
    process = start_emulator(option, value)
    assert process.returncode == 2
    assert f"argument {option}: '{value}' {message}" in process.stderr


@pytest.mark.parametrize("host", ["emulator.invalid", "[::1]", "192.0.2.8", "127.0.0.1:80", "a" * 64 + ".example"])
def test_host_that_is_not_of_this_machine_is_rejected(host: str) -> None:
    process = start_emulator("--host", host, "--port", "0")
    assert process.returncode == 2
    assert f"cannot listen on --host '{host}', --port 0: " in process.stderr
    assert "must be an address of this machine" in process.stderr


def test_port_in_use_is_named(server: EmulatorProcess) -> None:
    port = get_netloc(server).rpartition(":")[2]
    process = start_emulator("--port", port)
    assert process.returncode == 2
    assert f"cannot listen on --host '127.0.0.1', --port {port}: Address already in use" in process.stderr


def start_emulator(*options: str) -> subprocess.CompletedProcess[str]:
    """Start an emulator that rejects its options."""
    command = [sys.executable, "-m", EmulatorProcess.module, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
