"""
Airflow's API server, at the root of its host and under ``/airflow`` at once: one process instead of two.

A proxy that serves Airflow under a path makes the ASGI server set ``root_path``, which is all that Airflow builds its own addresses from.
"""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.main import app as airflow

PREFIX = "/airflow"


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Pass a request to Airflow."""
    if f"{scope.get('path', '')}/".startswith(f"{PREFIX}/"):
        scope = {**scope, "root_path": PREFIX}
    await airflow(scope, receive, send)
