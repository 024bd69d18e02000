"""The emulator as a server on a thread."""

from __future__ import annotations

import threading
from types import TracebackType

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server

from airflow_cleanroomsml.emulator.backend import CleanRoomsBackend, CleanRoomsMLBackend
from airflow_cleanroomsml.emulator.faults import Faults
from airflow_cleanroomsml.emulator.front import Front
from airflow_cleanroomsml.emulator.service import Service
from airflow_cleanroomsml.emulator.settings import Settings

_EXTENT = (
    "Of cleanrooms it has collaborations, memberships, configured audience model associations, protected queries and tags; "
    "configured tables, analysis rules and templates are not there."
)


class _QuietHandler(MotoRequestHandler):
    """No line a request; a connection that a fault dropped is no news either."""

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
    """

    def __init__(self, settings: Settings | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        faults = Faults()
        given = settings or Settings()
        backend = CleanRoomsMLBackend(given, lambda: self.url)
        sister = CleanRoomsBackend(given, lambda: self.url, backend)
        services = {
            "cleanrooms-ml": Service("cleanroomsml", backend, faults),
            "cleanrooms": Service("cleanrooms", sister, faults, _EXTENT),
        }
        self._server = make_server(
            host, port, Front(services, backend, faults), threaded=True, request_handler=_QuietHandler
        )
        self._thread = threading.Thread(target=self._server.serve_forever, name="emulator", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self._server.host}:{self._server.server_port}"

    def __enter__(self) -> Emulator:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
