"""The emulator as a server on a thread."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server

from airflow_cleanroomsml.emulator.application import application
from airflow_cleanroomsml.emulator.context import Shared
from airflow_cleanroomsml.emulator.request_guard import RequestGuard
from airflow_cleanroomsml.emulator.settings import Settings


class _QuietHandler(MotoRequestHandler):
    """No line a request; a connection that a fault dropped is no news either. The application dates its answers itself."""

    def send_response(self, code: int, message: str | None = None) -> None:
        """Begin an answer, without the machine's own time."""
        self.send_response_only(code, message)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""

    def log_error(self, format: str, *args: object) -> None:
        """Say nothing about connections that were dropped on purpose."""


class Emulator:
    """
    The emulator, as a context manager: it listens until the block ends.

    :param settings: Switches; documented sizes if None.
    :param host: Address to listen at; loopback unless told otherwise, for it asks nobody who they are.
    :param port: Port; 0 takes a free one.
    :param allowed_hosts: Host names and IP addresses by which clients call it, besides loopback and ``host``.
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
        front = application(Shared(settings or Settings()), lambda: self.url, self._workers, guard)
        self._server = make_server(host, port, front, threaded=True, request_handler=_QuietHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="emulator", daemon=True)

    @property
    def url(self) -> str:
        """The URL for clients on this machine."""
        return f"http://{url_host(self._server.host)}:{self._server.server_port}"

    def __enter__(self) -> Emulator:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop; jobs that have not begun to compute never will."""
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def url_host(host: str) -> str:
    """Return the host of the URL for a server that listens at this one; loopback if it listens at all addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host or "127.0.0.1"
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"
