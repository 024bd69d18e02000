"""Builds the emulator's WSGI application."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

from airflow_cleanroomsml.emulator.backend import build_operations
from airflow_cleanroomsml.emulator.backend.base import BackendContext, ClientFactory
from airflow_cleanroomsml.emulator.context import Shared
from airflow_cleanroomsml.emulator.request_guard import RequestGuard
from airflow_cleanroomsml.emulator.service import Service
from airflow_cleanroomsml.emulator.wsgi import Application

_CLEAN_ROOMS_SCOPE = (
    "In the cleanrooms API it supports only collaborations, memberships, configured audience model associations, protected queries and "
    "tags; configured tables, analysis rules and templates are not supported."
)


def build_application(
    shared: Shared, endpoint: Callable[[], str], workers: Executor, guard: RequestGuard | None = None
) -> Application:
    """
    Build the WSGI application.

    :param shared: State of the emulator.
    :param endpoint: Returns the emulator's own URL, where it reads from S3 and Glue.
    :param workers: Runs the jobs that compute something.
    :param guard: Rejects requests by their headers; None allows loopback addresses and names.
    """
    context = BackendContext(shared, ClientFactory(endpoint), workers)
    services = {
        "cleanrooms-ml": Service("cleanroomsml", build_operations("cleanroomsml", context), shared),
        "cleanrooms": Service("cleanrooms", build_operations("cleanrooms", context), shared, _CLEAN_ROOMS_SCOPE),
    }
    return Application(services, shared, guard or RequestGuard())
