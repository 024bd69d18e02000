"""The emulator as a WSGI application, whatever serves it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

from airflow_cleanroomsml.emulator.backend import CleanRoomsBackend, CleanRoomsMLBackend
from airflow_cleanroomsml.emulator.context import Shared
from airflow_cleanroomsml.emulator.request_guard import RequestGuard
from airflow_cleanroomsml.emulator.service import Service
from airflow_cleanroomsml.emulator.wsgi import Front

_EXTENT = (
    "Of cleanrooms it has collaborations, memberships, configured audience model associations, protected queries and tags; "
    "configured tables, analysis rules and templates are not there."
)


def application(
    shared: Shared, endpoint: Callable[[], str], workers: Executor, guard: RequestGuard | None = None
) -> Front:
    """
    The application.

    :param shared: Its state.
    :param endpoint: URL at which it is found, for it reads S3 and Glue there.
    :param workers: What runs the jobs that compute.
    :param guard: Refuses requests by their headers; None allows loopback addresses and names.
    """
    services = {
        "cleanrooms-ml": Service("cleanroomsml", CleanRoomsMLBackend(shared, endpoint, workers), shared),
        "cleanrooms": Service("cleanrooms", CleanRoomsBackend(shared, endpoint, workers), shared, _EXTENT),
    }
    return Front(services, shared, guard or RequestGuard())
