"""Airflow's plugin for the page. Every process of Airflow imports this module, so it imports nothing else of this package."""

from __future__ import annotations

from base64 import b64encode
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.plugins_manager import AirflowPlugin


def _build_react_apps(_: object) -> list[dict[str, str]]:
    """Build the page as a URL that contains it: no route is added to the API server, so none has to be protected."""
    script = Path(__file__).with_name("page.js").read_bytes()
    bundle_url = f"data:text/javascript;base64,{b64encode(script).decode()}"
    return [{"name": "cleanroomsml", "destination": "task_instance", "bundle_url": bundle_url}]


class CleanRoomsMLPlugin(AirflowPlugin):
    """
    The page about one task instance.

    It is not a tab, which would appear on the task instances of all Dags: without ``url_route`` Airflow shows no tab, and finds the page by
    its name (tried with 3.3.2). An Airflow before 3.1 ignores it.
    """

    name = "cleanroomsml"
    #: Only the API server reads it.
    react_apps: Any = cached_property(_build_react_apps)
