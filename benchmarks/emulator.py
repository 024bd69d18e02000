"""Benchmarks of the emulator: its start, compared with moto's server, and a page of a long listing."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from urllib.parse import quote, urlsplit

from benchmarks.table import Row, build_limit_row
from tests.helpers.many_jobs import CrowdedProcess, CrowdedWorld
from tests.support import REGION

ACCOUNT = "123456789012"
_STARTS = 7


def measure_start() -> Iterator[Row]:
    """Measure the seconds from the start of the process to its first response, alternating with moto's server; medians."""
    # The first start compiles the modules.
    _time_first_response("airflow_cleanroomsml.emulator", "cleanrooms-ml", "/training-dataset")
    _time_first_response("moto.server", "s3", "/")
    ours, peer = [], []
    for _ in range(_STARTS):
        ours.append(_time_first_response("airflow_cleanroomsml.emulator", "cleanrooms-ml", "/training-dataset"))
        peer.append(_time_first_response("moto.server", "s3", "/"))
    yield build_limit_row(
        "emulator: first answer (peer: moto's server), s", statistics.median(ours), 2, statistics.median(peer)
    )


def _time_first_response(module: str, service: str, path: str) -> float:
    port = _find_free_port()
    # With this variable, each process would compile the modules again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        while process.poll() is None:
            with suppress(ConnectionError):
                _get(f"http://127.0.0.1:{port}{path}", service)
                return time.perf_counter() - begin
            time.sleep(0.005)
        raise RuntimeError(f"{module} did not start")
    finally:
        process.terminate()
        process.wait(20)


def _find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _get(url: str, service: str = "cleanrooms-ml") -> bytes:
    scope = f"{ACCOUNT}/20261124/{REGION}/{service}/aws4_request"
    # Both servers only read the scope of the signature.
    signature = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
    parts = urlsplit(url)
    with closing(HTTPConnection(parts.netloc, timeout=20)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}", headers=signature)
        response = connection.getresponse()
        content = response.read()
    if response.status != 200:
        raise RuntimeError(f"{url}: {response.status} {content!r}")
    return content


def measure_pages() -> Iterator[Row]:
    """Measure the milliseconds for the last page of 100 generation jobs, alternating between 20,000 and 200 jobs; medians."""
    with _run_crowd(20_000) as many, _run_crowd(200) as few:
        times: dict[str, list[float]] = {many: [], few: []}
        for _ in range(100):
            for url, milliseconds in times.items():
                begin = time.perf_counter()
                _get(url)
                milliseconds.append(1000 * (time.perf_counter() - begin))
    among_many, among_few = (statistics.median(milliseconds) for milliseconds in times.values())
    name = "emulator: a page of 100 among 20,000 resources (peer: among 200), ms"
    yield Row(name, among_many, among_few, "≤ 1.5", among_many <= 1.5 * among_few)


@contextmanager
def _run_crowd(count: int) -> Iterator[str]:
    """Run an emulator with a number of generation jobs; yields the URL of the last page of 100."""
    process = CrowdedProcess()
    try:
        CrowdedWorld(process, ACCOUNT).add_jobs(count)
        url = f"{process.url}/audience-generation-job?maxResults=100"
        token = ""
        for _ in range(count // 100 - 1):
            token = f"&nextToken={quote(json.loads(_get(url + token))['nextToken'])}"
        yield url + token
    finally:
        process.stop()
