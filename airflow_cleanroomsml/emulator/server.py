"""Runs the emulator's HTTP server in a thread."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING

from werkzeug.serving import WSGIRequestHandler, make_server

from airflow_cleanroomsml.emulator._compat import find_request_handler
from airflow_cleanroomsml.emulator.application import build_application
from airflow_cleanroomsml.emulator.context import Shared
from airflow_cleanroomsml.emulator.request_guard import RequestGuard
from airflow_cleanroomsml.emulator.settings import Settings

if TYPE_CHECKING:
    _Handler = WSGIRequestHandler
else:
    _Handler = find_request_handler()


class _QuietHandler(_Handler):
    """Logs neither requests nor the connections that a fault has closed."""

    def send_response(self, code: int, message: str | None = None) -> None:
        """Start a response without a ``Date`` header, which the application sets by the emulator's clock."""
        self.send_response_only(code, message)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""

    def log_error(self, format: str, *args: object) -> None:
        """Log nothing."""


class Emulator:
    """
    The emulator as a context manager, which serves until the block ends.

    :param settings: Settings; None for the defaults.
    :param host: Address to listen on. The default is loopback, because the emulator does not authenticate its callers.
    :param port: Port; 0 picks a free one.
    :param allowed_hosts: Host names and IP addresses that clients may use besides loopback and ``host``.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        allowed_hosts: Iterable[str] = (),
    ) -> None:
        self._workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="job")
        guard = RequestGuard(host, allowed_hosts)
        # The URL is a function, because port 0 becomes a number only when the server is bound, and the server needs the application.
        application = build_application(Shared(settings or Settings()), lambda: self.url, self._workers, guard)
        # Threaded, because jobs read S3 and Glue from this same server, and with synchronous_jobs a request waits for its job.
        self._server = make_server(host, port, application, threaded=True, request_handler=_QuietHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="emulator", daemon=True)

    @property
    def url(self) -> str:
        """The URL for clients on this machine."""
        return f"http://{format_url_host(self._server.host)}:{self._server.server_port}"

    def __enter__(self) -> Emulator:
        """Start to serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, and discard jobs that have not started to compute."""
        # Without waiting: a job that computes cannot be interrupted, and may need as long as a training.
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def format_url_host(host: str) -> str:
    """Return the host for the URL of a server; loopback if the server listens on all addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host or "127.0.0.1"
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"
