"""Errors say whether a request was sent, depending on where the exchange broke off; on real sockets."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ProxyConnectionError, SSLError

from airflow_cleanroomsml._compat import AirflowFailException
from airflow_cleanroomsml.exceptions import (
    CleanRoomsMLError,
    ConfigurationError,
    OutcomeUnknownError,
    UnreachableError,
    WaitTimeoutError,
)
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from airflow_cleanroomsml.operators import CleanRoomsMLCreateTrainingDatasetOperator
from airflow_cleanroomsml.sensors import CleanRoomsMLAudienceModelSensor
from tests.helpers import socket_servers
from tests.helpers.socket_servers import (
    Act,
    Certificate,
    Peer,
    answer_after_reading,
    answer_at_once,
    build_http_answer,
    make_certificate,
    run_peer,
)
from tests.support import SCHEMA, run

#: Time-outs for servers that never respond; servers that do respond may be slow on a busy machine.
SHORT_TIMEOUTS = {"connect_timeout": 0.5, "read_timeout": 0.5}
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/cleanrooms-ml"


class Network:
    """
    Servers for a test, and a hook that connects to them.

    :param patch: Sets environment variables.
    :param stack: Closes the servers.
    :param folder: Holds certificates and other files.
    """

    def __init__(self, patch: pytest.MonkeyPatch, stack: ExitStack, folder: Path) -> None:
        self.patch, self.stack, self.folder = patch, stack, folder
        self.peers: list[Peer] = []
        self.verify: Any = None
        self.config: dict[str, Any] = {}
        self.trusted = make_certificate(folder)

    def serve(self, act: Act, context: ssl.SSLContext | None = None) -> Peer:
        peer = self.stack.enter_context(run_peer(act, context))
        self.peers.append(peer)
        return peer

    def serve_tls(self, act: Act, trusted: Certificate | None = None) -> str:
        """Start a TLS server and return its URL; the hook trusts its certificate unless another one is given."""
        self.verify = str(self.trusted.path)
        return self.serve(act, (trusted or self.trusted).context()).build_url("https")

    def write_file(self, name: str, text: str = "") -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    @property
    def missing_path(self) -> str:
        return str(self.folder / "missing.pem")

    @property
    def received(self) -> bytes:
        return b"".join(chunk for peer in self.peers for chunk in peer.received)

    def create(self, url: str) -> CleanRoomsMLError:
        """Send a create request to the URL and return the error."""
        self.patch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(CleanRoomsMLError) as caught:
            CleanRoomsMLHook(verify=self.verify, config=self.config).call("create_training_dataset", self.request)
        return caught.value

    @property
    def request(self) -> dict[str, Any]:
        source = {"glueDataSource": {"databaseName": "lookalike", "tableName": "interactions"}}
        data = [{"type": "INTERACTIONS", "inputConfig": {"schema": SCHEMA, "dataSource": source}}]
        return {"name": "d", "role_arn": ROLE, "training_data": data}


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Network]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, ACCOUNT)
    for variable in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    with ExitStack() as stack:
        yield Network(monkeypatch, stack, tmp_path)


def prepare_proxy(act: Act, scheme: str = "https", **config: Any) -> Any:
    def prepare(network: Network) -> str:
        network.config.update(proxies={scheme: network.serve(act).build_url("http")}, **config)
        return f"{scheme}://localhost:1"

    return prepare


def prepare_silent_server(scheme: str) -> Any:
    def prepare(network: Network) -> str:
        network.config.update(SHORT_TIMEOUTS)
        return network.serve(socket_servers.hang).build_url(scheme)

    return prepare


def prepare_full_backlog(network: Network) -> str:
    """Start a listener with a full backlog, which does not respond to new connections."""
    network.config.update(SHORT_TIMEOUTS)
    listener = network.stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(4):
        client = network.stack.enter_context(socket.socket())
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def prepare_dead_proxy(scheme: str) -> Any:
    def prepare(network: Network) -> str:
        network.config["proxies"] = {scheme: "http://127.0.0.1:9"}
        return f"{scheme}://localhost:1"

    return prepare


TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"
NOT_CONNECTED = {
    "unknown host": lambda _: "https://cleanrooms-ml.invalid",
    "refused": lambda _: "https://127.0.0.1:9",
    "refused, plain": lambda _: "http://127.0.0.1:9",
    "connect times out": prepare_full_backlog,
    "closed before TLS handshake": lambda network: network.serve(socket_servers.close).build_url("https"),
    "reset during TLS handshake": lambda network: network.serve(socket_servers.reset).build_url("https"),
    "TLS handshake hangs": prepare_silent_server("https"),
    "proxy refused": prepare_dead_proxy("https"),
    "proxy refused, plain": prepare_dead_proxy("http"),
    "CONNECT rejected, 407": prepare_proxy(
        answer_after_reading(build_http_answer(b"", "407 Proxy Authentication Required"))
    ),
    "CONNECT rejected, 502": prepare_proxy(answer_after_reading(build_http_answer(b"", "502 Bad Gateway"))),
    "CONNECT rejected, 403": prepare_proxy(answer_after_reading(build_http_answer(b"", "403 Forbidden"))),
    "CONNECT closed": prepare_proxy(socket_servers.read),
    "CONNECT hangs": prepare_proxy(socket_servers.hang, connect_timeout=0.5, read_timeout=0.5),
    "tunnel closed before TLS handshake": prepare_proxy(answer_after_reading(TUNNEL)),
}


@pytest.mark.parametrize("prepare", [pytest.param(prepare, id=name) for name, prepare in NOT_CONNECTED.items()])
def test_request_without_connection_was_not_sent_and_may_be_retried(network: Network, prepare: Any) -> None:
    error = network.create(prepare(network))
    assert type(error) is UnreachableError
    assert str(error).startswith("CreateTrainingDataset was not sent.")
    assert b"/training-dataset" not in network.received


def prepare_other_host(network: Network) -> str:
    return network.serve_tls(socket_servers.read).replace("localhost", "127.0.0.1")


def prepare_old_protocol(network: Network) -> str:
    context = network.trusted.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    network.verify = str(network.trusted.path)
    return network.serve(socket_servers.read, context).build_url("https")


def prepare_client_certificates(network: Network) -> str:
    context = network.trusted.context()
    context.verify_mode = ssl.CERT_REQUIRED
    # Up to TLS 1.2 the server asks for the certificate before the handshake ends.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    network.verify = str(network.trusted.path)
    return network.serve(socket_servers.read, context).build_url("https")


#: The advice for a TLS handshake that fails.
TRUST_ADVICE = "Check the endpoint, the proxy, and whether verify names a CA bundle that trusts them."
HANDSHAKE_FAILURES = {
    "untrusted certificate": lambda network: network.serve(socket_servers.read, network.trusted.context()).build_url(
        "https"
    ),
    "expired certificate": lambda network: network.serve_tls(
        socket_servers.read, make_certificate(network.folder, days=-1)
    ),
    "certificate of another host": prepare_other_host,
    "HTTPS to an HTTP port": lambda network: network.serve(
        answer_at_once(build_http_answer(b"", "400 Bad Request"))
    ).build_url("https"),
    "protocol too old": prepare_old_protocol,
    "no client certificate": prepare_client_certificates,
}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("prepare", [pytest.param(prepare, id=name) for name, prepare in HANDSHAKE_FAILURES.items()])
def test_failed_handshake_is_not_an_unknown_outcome(network: Network, prepare: Any) -> None:
    error = network.create(prepare(network))
    assert type(error) is CleanRoomsMLError
    assert str(error).startswith("CreateTrainingDataset was not sent.")
    assert str(error).splitlines()[-1].strip() == TRUST_ADVICE
    assert b"/training-dataset" not in network.received


def test_untrusted_certificate_while_assuming_a_role(network: Network) -> None:
    network.patch.setenv(
        "AWS_ENDPOINT_URL_STS", network.serve(socket_servers.read, network.trusted.context()).build_url("https")
    )
    extra = json.dumps({"role_arn": ROLE, "region_name": "us-east-1"})
    network.patch.setenv(
        "AIRFLOW_CONN_MINE", json.dumps({"conn_type": "aws", "login": "a", "password": "b", "extra": extra})
    )
    with pytest.raises(CleanRoomsMLError, match="no credentials could be fetched") as caught:
        CleanRoomsMLHook("mine").call("create_training_dataset", network.request)
    # A wait would repeat an UnreachableError until its time-out.
    assert not isinstance(caught.value, UnreachableError)
    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)
    assert str(caught.value).splitlines()[-1].strip() == TRUST_ADVICE


REDIRECT = build_http_answer(b"", "302 Found", Location="http://login.example/")


def test_redirect_is_reported(network: Network) -> None:
    url = network.serve(answer_after_reading(REDIRECT)).build_url("http")
    message = "was redirected (HTTP status 302).\n  The redirect probably came from a proxy and not from the service"
    error = network.create(url)
    assert type(error) is OutcomeUnknownError
    assert f"CreateTrainingDataset {message}" in str(error)
    assert "Check whether 'd' exists" in str(error).splitlines()[-1]
    with pytest.raises(UnreachableError) as caught:
        CleanRoomsMLHook().call("list_training_datasets")
    assert str(caught.value).startswith(f"ListTrainingDatasets {message}")


@pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferred"])
def test_sensor_reports_redirects_when_it_times_out(network: Network, deferrable: bool) -> None:
    network.patch.setenv("AWS_ENDPOINT_URL", network.serve(answer_after_reading(REDIRECT)).build_url("http"))
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{ACCOUNT}:audience-model/00000000-0000-4000-8000-000000000000"
    sensor = CleanRoomsMLAudienceModelSensor(
        task_id="t", audience_model_arn=arn, timeout=1, poke_interval=0.5, deferrable=deferrable
    )
    with pytest.raises(WaitTimeoutError, match=r"GetAudienceModel was redirected \(HTTP status 302\)") as caught:
        run(sensor)
    assert "To wait longer" in str(caught.value).splitlines()[-1]


BROKEN_OFF = {
    "read and closed, TLS": lambda network: network.serve_tls(socket_servers.read),
    "closed during the request, TLS": lambda network: network.serve_tls(socket_servers.read_in_part),
    "read and closed": lambda network: network.serve(socket_servers.read).build_url("http"),
    "closed during the request": lambda network: network.serve(socket_servers.read_in_part).build_url("http"),
    "accepted and closed": lambda network: network.serve(socket_servers.close).build_url("http"),
    "reset": lambda network: network.serve(socket_servers.reset).build_url("http"),
    "no response": prepare_silent_server("http"),
    "truncated response": lambda network: network.serve(
        answer_after_reading(build_http_answer(b'{"trainingDa', Content_Length="100"))
    ).build_url("http"),
    "response that is not HTTP": lambda network: network.serve(
        answer_after_reading(b"SSH-2.0-OpenSSH\r\n\r\n")
    ).build_url("http"),
    "proxy closes the connection": prepare_proxy(socket_servers.read, "http"),
    "proxy returns 502": prepare_proxy(answer_after_reading(build_http_answer(b"", "502 Bad Gateway")), "http"),
    "redirect": lambda network: network.serve(
        answer_after_reading(build_http_answer(b"", "302 Found", Location="http://login"))
    ).build_url("http"),
}


@pytest.mark.parametrize("prepare", [pytest.param(prepare, id=name) for name, prepare in BROKEN_OFF.items()])
def test_interrupted_request_may_have_been_carried_out(network: Network, prepare: Any) -> None:
    error = network.create(prepare(network))
    assert type(error) is OutcomeUnknownError, error
    assert "may have been carried out" in str(error)


def test_earlier_error_does_not_affect_the_outcome(network: Network) -> None:
    network.patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    client: Any = CleanRoomsMLHook(config={"retries": {"total_max_attempts": 1}}).conn
    try:
        client.list_training_datasets()
    except BotoCoreError:
        error = network.create(network.serve(socket_servers.read).build_url("http"))
    assert type(error) is OutcomeUnknownError


FILES: dict[str, Any] = {
    "verify": lambda network: setattr(network, "verify", network.missing_path),
    "AWS_CA_BUNDLE": lambda network: network.patch.setenv("AWS_CA_BUNDLE", network.missing_path),
    "REQUESTS_CA_BUNDLE": lambda network: network.patch.setenv("REQUESTS_CA_BUNDLE", network.missing_path),
    "ca_bundle in boto3's configuration file": lambda network: network.patch.setenv(
        "AWS_CONFIG_FILE", network.write_file("config", f"[default]\nca_bundle = {network.missing_path}\n")
    ),
    "botocore_config.client_cert": lambda network: network.config.update(client_cert=network.missing_path),
}


@pytest.mark.parametrize("argument", FILES)
def test_missing_file_is_named_and_not_retried(network: Network, argument: str) -> None:
    FILES[argument](network)
    error = network.create(network.serve(socket_servers.read, network.trusted.context()).build_url("https"))
    assert isinstance(error, ConfigurationError)
    assert isinstance(error, AirflowFailException)
    assert argument in str(error)
    assert repr(network.missing_path) in str(error)
    assert b"/training-dataset" not in network.received


#: Proxies that botocore cannot use: invalid ports, other protocols, and passwords with characters that must be encoded.
UNUSABLE_PROXIES = (
    "http://user:marker77@proxy:99999",
    "socks5://user:marker77@proxy:1080",
    "http://user:marker77/2@proxy:3128",
    "http://user:marker77#2@proxy:3128",
    "http://user:marker77@[::1",
    "http://user:marker77@my proxy:3128",
)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize("proxy", UNUSABLE_PROXIES)
def test_invalid_proxy_variable_is_named(network: Network, proxy: str, name: str) -> None:
    network.patch.setenv(name, proxy)
    error = network.create("https://cleanrooms-ml.invalid")
    assert isinstance(error, ConfigurationError)
    assert f"CreateTrainingDataset was not sent.\n  {name}: *** is not a URL" in str(error)
    assert "marker77" not in str(error)


@pytest.mark.parametrize("password", ["marker77\u20ac", "marker77%E2%82%AC"])
def test_non_ascii_password_of_proxy_is_explained(network: Network, password: str) -> None:
    network.patch.setenv("HTTPS_PROXY", f"http://user:{password}@proxy:3128")
    error = network.create("https://cleanrooms-ml.invalid")
    assert isinstance(error, ConfigurationError)
    assert "HTTPS_PROXY: user or password of *** is not ASCII" in str(error)
    assert "marker77" not in str(error)


@pytest.mark.parametrize(
    "url", ["http://user:topsecret//x@host:8080", "user:topsecret//x@host:8080", "//user:topsecret//x@host:8080"]
)
@pytest.mark.parametrize("source", ["environment", "options"])
def test_password_with_slashes_is_not_shown(network: Network, url: str, source: str) -> None:
    network.patch.setenv("HTTPS_PROXY", url)
    if source == "options":
        network.patch.delenv("HTTPS_PROXY")
    network.patch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:9")
    hook = CleanRoomsMLHook(config=Config(proxies={"https": url}) if source == "options" else None)
    with pytest.raises(CleanRoomsMLError) as caught:
        hook.call("create_training_dataset", network.request)
    assert "topsecret" not in str(caught.value)


def test_proxy_may_be_none(network: Network) -> None:
    network.patch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:9")
    proxies: Any = {"https": None}
    hook = CleanRoomsMLHook(config=Config(proxies=proxies))
    with pytest.raises(UnreachableError, match="was not sent"):
        hook.call("create_training_dataset", network.request)


def test_error_is_explained_without_a_second_client(network: Network) -> None:
    network.patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    hook = CleanRoomsMLHook()
    with pytest.raises(UnreachableError, match="CreateTrainingDataset was not sent") as caught:
        hook.call("create_training_dataset", network.request)
    assert "conn" not in vars(hook)
    assert caught.value.__context__ is None


def test_missing_credentials_are_named_before_proxy(network: Network) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        network.patch.delenv(name)
    network.patch.setenv("HTTPS_PROXY", "socks5://proxy")
    assert "NoCredentialsError" in str(network.create("https://cleanrooms-ml.invalid"))


def test_unused_invalid_proxy_is_ignored(network: Network) -> None:
    network.patch.setenv("HTTPS_PROXY", "socks5://proxy")
    network.patch.setenv("NO_PROXY", "127.0.0.1")
    assert type(network.create("https://127.0.0.1:9")) is UnreachableError
    assert type(network.create("http://127.0.0.1:9")) is UnreachableError


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_password_of_endpoint_or_proxy_is_not_shown(network: Network, scheme: str) -> None:
    error = network.create(f"{scheme}://user:marker77@127.0.0.1:9")
    assert "127.0.0.1:9" in str(error)
    assert "marker77" not in str(error)
    network.patch.setenv(f"{scheme.upper()}_PROXY", "user:marker77@127.0.0.1:9")
    error = network.create(f"{scheme}://cleanrooms-ml.invalid")
    assert "127.0.0.1:9" in str(error)
    assert "marker77" not in str(error)


def test_invalid_endpoint_is_a_configuration_error(network: Network) -> None:
    assert isinstance(network.create("http://[::1]x:1"), ConfigurationError)


@pytest.mark.parametrize("text", ["", "no certificate"])
def test_bundle_without_certificates_is_named(network: Network, text: str) -> None:
    network.verify = network.write_file("bundle.pem", text)
    error = network.create(network.serve(socket_servers.read, network.trusted.context()).build_url("https"))
    assert isinstance(error, ConfigurationError)
    assert "verify" in str(error)
    assert repr(network.verify) in str(error)


def test_folder_as_bundle_is_named(network: Network) -> None:
    network.verify = str(network.folder)
    error = network.create(network.serve(socket_servers.read, network.trusted.context()).build_url("https"))
    assert isinstance(error, ConfigurationError)
    assert repr(network.verify) in str(error)


def test_unused_bundle_may_be_missing(network: Network) -> None:
    network.patch.setenv("AWS_CA_BUNDLE", network.missing_path)
    assert type(network.create("http://127.0.0.1:9")) is UnreachableError
    assert type(network.create("https://127.0.0.1:9")) is UnreachableError


def test_missing_bundle_for_credentials_is_named(network: Network) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        network.patch.delenv(name)
    network.patch.setenv("AWS_ROLE_ARN", ROLE)
    network.patch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", network.write_file("token", "x" * 40))
    network.patch.setenv("AWS_CA_BUNDLE", network.missing_path)
    error = network.create(network.serve(socket_servers.read, network.trusted.context()).build_url("https"))
    assert isinstance(error, ConfigurationError)
    assert "AWS_CA_BUNDLE" in str(error)
    assert repr(network.missing_path) in str(error)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_token_with_line_break_is_not_sent_and_not_shown(network: Network, scheme: str) -> None:
    network.patch.setenv("AWS_SESSION_TOKEN", "confidential\n")
    url = (
        network.serve_tls(socket_servers.read)
        if scheme == "https"
        else network.serve(socket_servers.read).build_url("http")
    )
    error = network.create(url)
    assert type(error) is CleanRoomsMLError
    assert str(error).startswith("CreateTrainingDataset was not sent.\n  A header has a line break")
    assert "confidential" not in str(error)
    assert network.received == b""


@pytest.mark.parametrize(
    "event", ["provide-client-params", "before-endpoint-resolution", "request-created", "before-sign"]
)
def test_failure_before_sending_is_reported_as_not_sent(network: Network, event: str) -> None:
    def fail(**_: Any) -> NoReturn:
        raise ValueError("not today")

    network.patch.setenv("AWS_ENDPOINT_URL", network.serve(socket_servers.read).build_url("http"))
    hook = CleanRoomsMLHook()
    hook.conn_once.meta.events.register(event, fail)
    with pytest.raises(CleanRoomsMLError, match="CreateTrainingDataset was not sent") as caught:
        hook.call("create_training_dataset", network.request)
    assert type(caught.value) is CleanRoomsMLError
    assert network.received == b""


@pytest.mark.parametrize(
    "error",
    [
        SSLError(endpoint_url="e", error=OSError("CERTIFICATE_VERIFY_FAILED")),
        ProxyConnectionError(proxy_url="p", error="Tunnel connection failed: 502"),
        ProxyConnectionError(proxy_url="p", error="Failed to establish a new connection"),
    ],
)
def test_error_text_does_not_prove_that_nothing_was_sent(network: Network, error: Exception) -> None:
    def fail(**_: Any) -> NoReturn:
        raise error

    network.patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    hook = CleanRoomsMLHook()
    hook.conn_once.meta.events.register("before-send", fail)
    with pytest.raises(OutcomeUnknownError):
        hook.call("create_training_dataset", network.request)


def test_task_that_is_not_durable_may_be_retried_if_nothing_was_sent(network: Network) -> None:
    network.patch.setenv("AWS_ENDPOINT_URL", network.serve(socket_servers.close).build_url("https"))
    operator = CleanRoomsMLCreateTrainingDatasetOperator(task_id="t", durable=False, **network.request)
    with pytest.raises(UnreachableError, match="was not sent"):
        run(operator)


def test_missing_bundle_of_connection_is_named(network: Network) -> None:
    network.patch.setenv(
        "AWS_ENDPOINT_URL", network.serve(socket_servers.read, network.trusted.context()).build_url("https")
    )
    extra = f'{{"verify": "{network.missing_path}", "region_name": "us-east-1"}}'
    network.patch.setenv(
        "AIRFLOW_CONN_MINE", f'{{"conn_type": "aws", "login": "a", "password": "b", "extra": {extra}}}'
    )
    operator = CleanRoomsMLCreateTrainingDatasetOperator(
        task_id="t", durable=False, aws_conn_id="mine", **network.request
    )
    with pytest.raises(ConfigurationError, match="verify .*in the extra of"):
        run(operator)
