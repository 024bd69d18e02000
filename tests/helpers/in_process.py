"""
The emulator in the test's own process, without a server and without sockets: real boto3 clients, thousands of calls a second.

Whatever client is made in the process, by boto3, by a hook of Airflow or by the emulator itself, sends by ``URLLib3Session.send``; while
:func:`in_process` lasts, requests to its URL are answered there. All of it happens in the thread that calls, so nothing is left to chance.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import botocore.endpoint
import botocore.utils
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from botocore.useragent import UserAgentString
from urllib3 import HTTPHeaderDict, HTTPResponse

from airflow_cleanroomsml import _clock as package_clock
from airflow_cleanroomsml.emulator.application import build_application
from airflow_cleanroomsml.emulator.clock import Clock
from airflow_cleanroomsml.emulator.context import Shared
from airflow_cleanroomsml.emulator.faults import ConnectionDropped
from airflow_cleanroomsml.emulator.lookalike import JobFailure
from airflow_cleanroomsml.emulator.settings import Settings
from tests.support import RunningEmulator

#: Nothing listens there, and no request is sent there. An address and not a name, so that S3 clients put the bucket into the path.
URL = "http://127.0.0.1:1"
#: Time at which the clock of a test is frozen.
START = 1_800_000_000.0


class Inline(Executor):
    """Executes work when it is submitted. An exception other than a job failure is raised at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except JobFailure as error:
            done.set_exception(error)
        return done


class InProcess(RunningEmulator):
    """
    The emulator, called without a server.

    :param settings: Its settings.
    :param start: Seconds since 1970 at which its clock stands; None for a clock that runs.
    """

    url = URL

    def __init__(self, settings: Settings | None = None, start: float | None = START) -> None:
        self._start = start
        self.shared = Shared(settings or Settings(), Clock(start))
        self._application = build_application(self.shared, lambda: URL, Inline())

    @property
    def clock(self) -> Clock:
        """Its time."""
        return self.shared.clock

    def clear(self) -> None:
        """Prepare for the next example: delete all resources and reset the clock. S3 and Glue keep their data."""
        self.shared.clear()
        if self._start is not None:
            self.clock.freeze(self._start)

    def _control(self, path: str, body: Mapping[str, Any] | None = None, method: str | None = None) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        verb = method or ("GET" if body is None else "POST")
        status, _, answer = self._call(verb, f"{URL}/_emulator/{path}", {}, data)
        assert status == 200, answer
        return json.loads(answer)

    def _call(
        self, method: str, url: str, headers: Mapping[str, Any], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Return status, headers and body of a response."""
        started: list[Any] = []
        answer = self._application(
            _build_environ(method, url, headers, body), lambda *arguments: started.extend(arguments)
        )
        content = b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        return int(started[0].split(maxsplit=1)[0]), started[1], content

    def send(self, session: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
        """Send a request, with the result or error of the session's own ``send``."""
        sent_at = self.clock.now()
        try:
            headers = dict(request.headers.items())
            status, response_headers, body = self._call(request.method, request.url, headers, _read_content(request))
        except ConnectionDropped as error:
            raise ConnectionClosedError(error=error, request=request, endpoint_url=request.url) from error
        if self.clock.frozen and self.clock.now() - sent_at >= _get_read_timeout(session):
            raise ReadTimeoutError(endpoint_url=request.url, error=TimeoutError("read timed out"))
        known = HTTPHeaderDict(response_headers)
        raw: Any = HTTPResponse(
            BytesIO(body), known, status, preload_content=False, decode_content=False, request_method=request.method
        )
        answer = AWSResponse(request.url, status, raw.headers, raw)
        if not request.stream_output:
            _ = answer.content
        return answer


def _get_read_timeout(session: Any) -> float:
    """Return the seconds that a client waits for a response."""
    seconds = session._timeout
    seconds = getattr(seconds, "read_timeout", seconds)
    return float(seconds) if isinstance(seconds, (int, float)) else float("inf")


def _read_content(request: AWSPreparedRequest) -> bytes:
    body: Any = request.body
    if hasattr(body, "read"):
        body = body.read()
    return body.encode() if isinstance(body, str) else bytes(body or b"")


def _build_environ(method: str, url: str, headers: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    """Build the WSGI environment of a request; ``RAW_URI`` is werkzeug's."""
    parts = urlsplit(url)
    raw = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    found = {name.upper().replace("-", "_"): _decode_header(value) for name, value in headers.items()}
    # The body is passed as a whole, so it is no longer chunked.
    found.pop("TRANSFER_ENCODING", None)
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(parts.path or "/").decode("latin-1"),
        "QUERY_STRING": parts.query,
        "RAW_URI": raw,
        "REQUEST_URI": raw,
        "SERVER_NAME": parts.hostname,
        "SERVER_PORT": str(parts.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": parts.netloc,
        "CONTENT_TYPE": found.pop("CONTENT_TYPE", ""),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": parts.scheme,
        "wsgi.input": BytesIO(body),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **{f"HTTP_{name}": value for name, value in found.items() if name != "CONTENT_LENGTH"},
    }


def _decode_header(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


@contextmanager
def in_process(settings: Settings | None = None, *, start: float | None = START) -> Iterator[InProcess]:
    """
    An emulator that answers all clients of this process whose endpoint is its :attr:`~InProcess.url`.

    :param settings: Its settings.
    :param start: Seconds since 1970 at which the clock stands: the emulator's, and this package's. All pauses, those of the package and
        those in which botocore waits before it tries again, push it and take no time. None for a clock that runs, and pauses that last.
    """
    emulator, original = InProcess(settings, start), URLLib3Session.send

    def send(session: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
        ours = request.url.startswith(f"{URL}/")
        return emulator.send(session, request) if ours else original(session, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(URLLib3Session, "send", send)
        if start is not None:
            # A frozen clock gives the same timestamps again and again, and nothing reads the user agent; both cost a third of a call. The
            # emulator reads the credentials of a signature and does not check what is signed, which costs a tenth.
            parse = cache(vars(botocore.utils)["_parse_timestamp_with_tzinfo"])
            patch.setattr(botocore.utils, "_parse_timestamp_with_tzinfo", parse)
            patch.setattr(UserAgentString, "to_string", lambda _: "boto3")
            patch.setattr(SigV4Auth, "canonical_request", lambda *_: "")
            patch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=emulator.clock.sleep))
            patch.setattr(package_clock, "now", emulator.clock.now)
            patch.setattr(package_clock, "sleep", emulator.clock.sleep)
        yield emulator
