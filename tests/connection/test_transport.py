"""Whether a request was sent: decided by where the exchange broke off, on real sockets."""

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

#: For whoever is never answered; where somebody answers, a busy machine takes its time.
IMPATIENT = {"connect_timeout": 0.5, "read_timeout": 0.5}
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/cleanrooms-ml"


class Place:
    """
    Servers for a test, and a hook that leads to them.

    :param patch: For environment variables.
    :param stack: Closes the servers.
    :param folder: For certificates and other files.
    """

    def __init__(self, patch: pytest.MonkeyPatch, stack: ExitStack, folder: Path) -> None:
        self.patch, self.stack, self.folder = patch, stack, folder
        self.peers: list[Peer] = []
        self.verify: Any = None
        self.config: dict[str, Any] = {}
        self.trusted = make_certificate(folder)

    def serve(self, act: Act, context: ssl.SSLContext | None = None) -> Peer:
        made = self.stack.enter_context(run_peer(act, context))
        self.peers.append(made)
        return made

    def secure(self, act: Act, trusted: Certificate | None = None) -> str:
        """The URL of a server with a certificate that the hook trusts, unless another one is named."""
        self.verify = str(self.trusted.path)
        return self.serve(act, (trusted or self.trusted).context()).build_url("https")

    def file(self, name: str, text: str = "") -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    @property
    def missing(self) -> str:
        return str(self.folder / "missing.pem")

    @property
    def received(self) -> bytes:
        return b"".join(chunk for each in self.peers for chunk in each.received)

    def create(self, url: str) -> CleanRoomsMLError:
        """The error of a create that is sent there."""
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
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, ACCOUNT)
    for variable in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    with ExitStack() as stack:
        yield Place(monkeypatch, stack, tmp_path)


def through_proxy(act: Act, scheme: str = "https", **config: Any) -> Any:
    def lead(place: Place) -> str:
        place.config.update(proxies={scheme: place.serve(act).build_url("http")}, **config)
        return f"{scheme}://localhost:1"

    return lead


def lead_to_silence(scheme: str) -> Any:
    def lead(place: Place) -> str:
        place.config.update(IMPATIENT)
        return place.serve(socket_servers.hang).build_url(scheme)

    return lead


def lead_to_full_backlog(place: Place) -> str:
    """A listener that accepts nothing, and whose queue is full: to whoever connects, nothing is said."""
    place.config.update(IMPATIENT)
    listener = place.stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(4):
        waiting = place.stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def lead_to_dead_proxy(scheme: str) -> Any:
    def lead(place: Place) -> str:
        place.config["proxies"] = {scheme: "http://127.0.0.1:9"}
        return f"{scheme}://localhost:1"

    return lead


TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"
TRANSIENT = {
    "no such host": lambda _: "https://cleanrooms-ml.invalid",
    "refused": lambda _: "https://127.0.0.1:9",
    "refused, plain": lambda _: "http://127.0.0.1:9",
    "connect times out": lead_to_full_backlog,
    "closed before the handshake": lambda place: place.serve(socket_servers.close).build_url("https"),
    "reset in the handshake": lambda place: place.serve(socket_servers.reset).build_url("https"),
    "the handshake hangs": lead_to_silence("https"),
    "no proxy": lead_to_dead_proxy("https"),
    "no proxy, plain": lead_to_dead_proxy("http"),
    "CONNECT refused, 407": through_proxy(
        answer_after_reading(build_http_answer(b"", "407 Proxy Authentication Required"))
    ),
    "CONNECT refused, 502": through_proxy(answer_after_reading(build_http_answer(b"", "502 Bad Gateway"))),
    "CONNECT refused, 403": through_proxy(answer_after_reading(build_http_answer(b"", "403 Forbidden"))),
    "CONNECT closed": through_proxy(socket_servers.read),
    "CONNECT hangs": through_proxy(socket_servers.hang, connect_timeout=0.5, read_timeout=0.5),
    "tunnel closed before the handshake": through_proxy(answer_after_reading(TUNNEL)),
}


@pytest.mark.parametrize("lead", [pytest.param(lead, id=name) for name, lead in TRANSIENT.items()])
def test_what_could_not_connect_was_not_sent_and_may_be_retried(place: Place, lead: Any) -> None:
    error = place.create(lead(place))
    assert type(error) is UnreachableError
    assert str(error).startswith("CreateTrainingDataset was not sent.")
    assert b"/training-dataset" not in place.received


def lead_to_other_host(place: Place) -> str:
    return place.secure(socket_servers.read).replace("localhost", "127.0.0.1")


def lead_to_old_protocol(place: Place) -> str:
    context = place.trusted.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    place.verify = str(place.trusted.path)
    return place.serve(socket_servers.read, context).build_url("https")


def lead_to_client_certificates(place: Place) -> str:
    context = place.trusted.context()
    context.verify_mode = ssl.CERT_REQUIRED
    # Up to TLS 1.2 the server asks for the certificate before the handshake ends.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    place.verify = str(place.trusted.path)
    return place.serve(socket_servers.read, context).build_url("https")


#: The advice for a TLS handshake that fails.
UNTRUSTED = "Check the endpoint, the proxy, and whether verify names a CA bundle that trusts them."
REFUSED = {
    "untrusted certificate": lambda place: place.serve(socket_servers.read, place.trusted.context()).build_url("https"),
    "expired certificate": lambda place: place.secure(socket_servers.read, make_certificate(place.folder, days=-1)),
    "certificate of another host": lead_to_other_host,
    "https to a plain port": lambda place: place.serve(
        answer_at_once(build_http_answer(b"", "400 Bad Request"))
    ).build_url("https"),
    "protocol that is too old": lead_to_old_protocol,
    "no client certificate": lead_to_client_certificates,
}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("lead", [pytest.param(lead, id=name) for name, lead in REFUSED.items()])
def test_a_handshake_or_a_set_up_that_is_refused_is_no_unknown_outcome(place: Place, lead: Any) -> None:
    error = place.create(lead(place))
    assert type(error) is CleanRoomsMLError
    assert str(error).startswith("CreateTrainingDataset was not sent.")
    assert str(error).splitlines()[-1].strip() == UNTRUSTED
    assert b"/training-dataset" not in place.received


def test_a_certificate_that_is_refused_while_a_role_is_assumed(place: Place) -> None:
    place.patch.setenv(
        "AWS_ENDPOINT_URL_STS", place.serve(socket_servers.read, place.trusted.context()).build_url("https")
    )
    extra = json.dumps({"role_arn": ROLE, "region_name": "us-east-1"})
    place.patch.setenv(
        "AIRFLOW_CONN_MINE", json.dumps({"conn_type": "aws", "login": "a", "password": "b", "extra": extra})
    )
    with pytest.raises(CleanRoomsMLError, match="no credentials could be fetched") as caught:
        CleanRoomsMLHook("mine").call("create_training_dataset", place.request)
    # A wait for it would last until its time-out.
    assert not isinstance(caught.value, UnreachableError)
    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)
    assert str(caught.value).splitlines()[-1].strip() == UNTRUSTED


REDIRECT = build_http_answer(b"", "302 Found", Location="http://login.example/")


def test_an_endpoint_that_redirects_is_named_as_one(place: Place) -> None:
    url = place.serve(answer_after_reading(REDIRECT)).build_url("http")
    says = "was redirected (HTTP status 302).\n  The redirect probably came from a proxy and not from the service"
    error = place.create(url)
    assert type(error) is OutcomeUnknownError
    assert f"CreateTrainingDataset {says}" in str(error)
    assert "Check whether 'd' exists" in str(error).splitlines()[-1]
    with pytest.raises(UnreachableError) as caught:
        CleanRoomsMLHook().call("list_training_datasets")
    assert str(caught.value).startswith(f"ListTrainingDatasets {says}")


@pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
def test_a_sensor_that_was_redirected_until_its_time_out_says_so(place: Place, deferrable: bool) -> None:
    place.patch.setenv("AWS_ENDPOINT_URL", place.serve(answer_after_reading(REDIRECT)).build_url("http"))
    arn = f"arn:aws:cleanrooms-ml:us-east-1:{ACCOUNT}:audience-model/00000000-0000-4000-8000-000000000000"
    sensor = CleanRoomsMLAudienceModelSensor(
        task_id="t", audience_model_arn=arn, timeout=1, poke_interval=0.5, deferrable=deferrable
    )
    with pytest.raises(WaitTimeoutError, match=r"GetAudienceModel was redirected \(HTTP status 302\)") as caught:
        run(sensor)
    assert "To wait longer" in str(caught.value).splitlines()[-1]


SENT = {
    "read and closed, TLS": lambda place: place.secure(socket_servers.read),
    "closed in the middle of the request, TLS": lambda place: place.secure(socket_servers.read_in_part),
    "read and closed": lambda place: place.serve(socket_servers.read).build_url("http"),
    "closed in the middle of the request": lambda place: place.serve(socket_servers.read_in_part).build_url("http"),
    "accepted and closed": lambda place: place.serve(socket_servers.close).build_url("http"),
    "reset": lambda place: place.serve(socket_servers.reset).build_url("http"),
    "no answer": lead_to_silence("http"),
    "an answer that broke off": lambda place: place.serve(
        answer_after_reading(build_http_answer(b'{"trainingDa', Content_Length="100"))
    ).build_url("http"),
    "an answer that is not HTTP": lambda place: place.serve(answer_after_reading(b"SSH-2.0-OpenSSH\r\n\r\n")).build_url(
        "http"
    ),
    "a proxy drops it": through_proxy(socket_servers.read, "http"),
    "a proxy fails": through_proxy(answer_after_reading(build_http_answer(b"", "502 Bad Gateway")), "http"),
    "a redirect": lambda place: place.serve(
        answer_after_reading(build_http_answer(b"", "302 Found", Location="http://login"))
    ).build_url("http"),
}


@pytest.mark.parametrize("lead", [pytest.param(lead, id=name) for name, lead in SENT.items()])
def test_what_broke_off_later_may_have_been_carried_out(place: Place, lead: Any) -> None:
    error = place.create(lead(place))
    assert type(error) is OutcomeUnknownError, error
    assert "may have been carried out" in str(error)


def test_an_error_that_was_handled_before_says_nothing_about_the_request(place: Place) -> None:
    place.patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    client: Any = CleanRoomsMLHook(config={"retries": {"total_max_attempts": 1}}).conn
    try:
        client.list_training_datasets()
    except BotoCoreError:
        error = place.create(place.serve(socket_servers.read).build_url("http"))
    assert type(error) is OutcomeUnknownError


FILES: dict[str, Any] = {
    "verify": lambda place: setattr(place, "verify", place.missing),
    "AWS_CA_BUNDLE": lambda place: place.patch.setenv("AWS_CA_BUNDLE", place.missing),
    "REQUESTS_CA_BUNDLE": lambda place: place.patch.setenv("REQUESTS_CA_BUNDLE", place.missing),
    "ca_bundle in boto3's configuration file": lambda place: place.patch.setenv(
        "AWS_CONFIG_FILE", place.file("config", f"[default]\nca_bundle = {place.missing}\n")
    ),
    "botocore_config.client_cert": lambda place: place.config.update(client_cert=place.missing),
}


@pytest.mark.parametrize("argument", FILES)
def test_a_file_that_is_missing_is_named_and_no_retry_is_made(place: Place, argument: str) -> None:
    FILES[argument](place)
    error = place.create(place.serve(socket_servers.read, place.trusted.context()).build_url("https"))
    assert isinstance(error, ConfigurationError)
    assert isinstance(error, AirflowFailException)
    assert argument in str(error)
    assert repr(place.missing) in str(error)
    assert b"/training-dataset" not in place.received


#: Proxies that botocore cannot use: a port that is not one, another protocol, and characters that a password has to encode.
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
def test_a_proxy_of_the_environment_that_cannot_be_used_is_named(place: Place, proxy: str, name: str) -> None:
    place.patch.setenv(name, proxy)
    error = place.create("https://cleanrooms-ml.invalid")
    assert isinstance(error, ConfigurationError)
    assert f"CreateTrainingDataset was not sent.\n  {name}: *** is not a URL" in str(error)
    assert "marker77" not in str(error)


@pytest.mark.parametrize("password", ["marker77\u20ac", "marker77%E2%82%AC"])
def test_a_proxy_whose_password_is_not_ascii_is_explained(place: Place, password: str) -> None:
    place.patch.setenv("HTTPS_PROXY", f"http://user:{password}@proxy:3128")
    error = place.create("https://cleanrooms-ml.invalid")
    assert isinstance(error, ConfigurationError)
    assert "HTTPS_PROXY: user or password of *** is not ASCII" in str(error)
    assert "marker77" not in str(error)


@pytest.mark.parametrize(
    "url", ["http://user:topsecret//x@host:8080", "user:topsecret//x@host:8080", "//user:topsecret//x@host:8080"]
)
@pytest.mark.parametrize("source", ["environment", "options"])
def test_a_password_of_a_proxy_may_contain_slashes(place: Place, url: str, source: str) -> None:
    place.patch.setenv("HTTPS_PROXY", url)
    if source == "options":
        place.patch.delenv("HTTPS_PROXY")
    place.patch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:9")
    hook = CleanRoomsMLHook(config=Config(proxies={"https": url}) if source == "options" else None)
    with pytest.raises(CleanRoomsMLError) as caught:
        hook.call("create_training_dataset", place.request)
    assert "topsecret" not in str(caught.value)


def test_a_proxy_may_be_none(place: Place) -> None:
    place.patch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:9")
    proxies: Any = {"https": None}
    hook = CleanRoomsMLHook(config=Config(proxies=proxies))
    with pytest.raises(UnreachableError, match="was not sent"):
        hook.call("create_training_dataset", place.request)


def test_no_second_client_is_made_to_explain_what_was_not_sent(place: Place) -> None:
    place.patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    hook = CleanRoomsMLHook()
    with pytest.raises(UnreachableError, match="CreateTrainingDataset was not sent") as caught:
        hook.call("create_training_dataset", place.request)
    assert "conn" not in vars(hook)
    assert caught.value.__context__ is None


def test_missing_credentials_are_named_before_a_proxy(place: Place) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        place.patch.delenv(name)
    place.patch.setenv("HTTPS_PROXY", "socks5://proxy")
    assert "NoCredentialsError" in str(place.create("https://cleanrooms-ml.invalid"))


def test_a_proxy_that_is_not_used_is_no_matter(place: Place) -> None:
    place.patch.setenv("HTTPS_PROXY", "socks5://proxy")
    place.patch.setenv("NO_PROXY", "127.0.0.1")
    assert type(place.create("https://127.0.0.1:9")) is UnreachableError
    assert type(place.create("http://127.0.0.1:9")) is UnreachableError


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_password_of_an_endpoint_or_a_proxy_is_not_shown(place: Place, scheme: str) -> None:
    error = place.create(f"{scheme}://user:marker77@127.0.0.1:9")
    assert "127.0.0.1:9" in str(error)
    assert "marker77" not in str(error)
    place.patch.setenv(f"{scheme.upper()}_PROXY", "user:marker77@127.0.0.1:9")
    error = place.create(f"{scheme}://cleanrooms-ml.invalid")
    assert "127.0.0.1:9" in str(error)
    assert "marker77" not in str(error)


def test_an_endpoint_that_is_none_was_not_called(place: Place) -> None:
    assert isinstance(place.create("http://[::1]x:1"), ConfigurationError)


@pytest.mark.parametrize("text", ["", "no certificate"])
def test_a_bundle_without_certificates_is_named(place: Place, text: str) -> None:
    place.verify = place.file("bundle.pem", text)
    error = place.create(place.serve(socket_servers.read, place.trusted.context()).build_url("https"))
    assert isinstance(error, ConfigurationError)
    assert "verify" in str(error)
    assert repr(place.verify) in str(error)


def test_a_folder_as_bundle_is_named(place: Place) -> None:
    place.verify = str(place.folder)
    error = place.create(place.serve(socket_servers.read, place.trusted.context()).build_url("https"))
    assert isinstance(error, ConfigurationError)
    assert repr(place.verify) in str(error)


def test_a_bundle_that_is_not_needed_may_be_missing(place: Place) -> None:
    place.patch.setenv("AWS_CA_BUNDLE", place.missing)
    assert type(place.create("http://127.0.0.1:9")) is UnreachableError
    assert type(place.create("https://127.0.0.1:9")) is UnreachableError


def test_a_bundle_that_credentials_need_is_named(place: Place) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        place.patch.delenv(name)
    place.patch.setenv("AWS_ROLE_ARN", ROLE)
    place.patch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", place.file("token", "x" * 40))
    place.patch.setenv("AWS_CA_BUNDLE", place.missing)
    error = place.create(place.serve(socket_servers.read, place.trusted.context()).build_url("https"))
    assert isinstance(error, ConfigurationError)
    assert "AWS_CA_BUNDLE" in str(error)
    assert repr(place.missing) in str(error)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_credential_that_no_header_may_hold_is_not_sent_and_not_shown(place: Place, scheme: str) -> None:
    place.patch.setenv("AWS_SESSION_TOKEN", "confidential\n")
    secured = (
        place.secure(socket_servers.read) if scheme == "https" else place.serve(socket_servers.read).build_url("http")
    )
    error = place.create(secured)
    assert type(error) is CleanRoomsMLError
    assert str(error).startswith("CreateTrainingDataset was not sent.\n  A header has a line break")
    assert "confidential" not in str(error)
    assert place.received == b""


@pytest.mark.parametrize(
    "event", ["provide-client-params", "before-endpoint-resolution", "request-created", "before-sign"]
)
def test_what_fails_while_the_request_is_made_was_not_sent(place: Place, event: str) -> None:
    def fail(**_: Any) -> NoReturn:
        raise ValueError("not today")

    place.patch.setenv("AWS_ENDPOINT_URL", place.serve(socket_servers.read).build_url("http"))
    hook = CleanRoomsMLHook()
    hook.conn_once.meta.events.register(event, fail)
    with pytest.raises(CleanRoomsMLError, match="CreateTrainingDataset was not sent") as caught:
        hook.call("create_training_dataset", place.request)
    assert type(caught.value) is CleanRoomsMLError
    assert place.received == b""


@pytest.mark.parametrize(
    "error",
    [
        SSLError(endpoint_url="e", error=OSError("CERTIFICATE_VERIFY_FAILED")),
        ProxyConnectionError(proxy_url="p", error="Tunnel connection failed: 502"),
        ProxyConnectionError(proxy_url="p", error="Failed to establish a new connection"),
    ],
)
def test_no_text_is_evidence_that_nothing_was_sent(place: Place, error: Exception) -> None:
    def fail(**_: Any) -> NoReturn:
        raise error

    place.patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    hook = CleanRoomsMLHook()
    hook.conn_once.meta.events.register("before-send", fail)
    with pytest.raises(OutcomeUnknownError):
        hook.call("create_training_dataset", place.request)


def test_a_task_that_makes_nothing_twice_may_be_retried_when_nothing_was_sent(place: Place) -> None:
    place.patch.setenv("AWS_ENDPOINT_URL", place.serve(socket_servers.close).build_url("https"))
    operator = CleanRoomsMLCreateTrainingDatasetOperator(task_id="t", durable=False, **place.request)
    with pytest.raises(UnreachableError, match="was not sent"):
        run(operator)


def test_a_connection_names_the_bundle_that_is_missing(place: Place) -> None:
    place.patch.setenv("AWS_ENDPOINT_URL", place.serve(socket_servers.read, place.trusted.context()).build_url("https"))
    extra = f'{{"verify": "{place.missing}", "region_name": "us-east-1"}}'
    place.patch.setenv("AIRFLOW_CONN_MINE", f'{{"conn_type": "aws", "login": "a", "password": "b", "extra": {extra}}}')
    operator = CleanRoomsMLCreateTrainingDatasetOperator(
        task_id="t", durable=False, aws_conn_id="mine", **place.request
    )
    with pytest.raises(ConfigurationError, match="verify .*in the extra of"):
        run(operator)
