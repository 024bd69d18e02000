"""The emulator: how long it takes to start, beside moto's server, and what a page of a long listing costs."""

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

from benchmarks.table import Row, below
from tests.helpers.many_jobs import CrowdedProcess, CrowdedWorld
from tests.support import REGION

ACCOUNT = "123456789012"
_STARTS = 7


def start() -> Iterator[Row]:
    """Seconds from the start of the process to its first answer to an API call; the two in turn, medians, once both are compiled."""
    _first_answer("airflow_cleanroomsml.emulator", "cleanrooms-ml", "/training-dataset")
    _first_answer("moto.server", "s3", "/")
    ours, peer = [], []
    for _ in range(_STARTS):
        ours.append(_first_answer("airflow_cleanroomsml.emulator", "cleanrooms-ml", "/training-dataset"))
        peer.append(_first_answer("moto.server", "s3", "/"))
    yield below("emulator: first answer (peer: moto's server), s", statistics.median(ours), 2, statistics.median(peer))


def _first_answer(module: str, service: str, path: str) -> float:
    port = _free_port()
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


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _get(url: str, service: str = "cleanrooms-ml") -> bytes:
    scope = f"{ACCOUNT}/20261124/{REGION}/{service}/aws4_request"
    signature = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
    parts = urlsplit(url)
    with closing(HTTPConnection(parts.netloc, timeout=20)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}", headers=signature)
        answer = connection.getresponse()
        content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{url}: {answer.status} {content!r}")
    return content


def pages() -> Iterator[Row]:
    """Milliseconds for the last page of 100 generation jobs, among 20,000 and among 200; the two in turn, medians."""
    with _crowd(20_000) as ours, _crowd(200) as peer:
        times: dict[str, list[float]] = {ours: [], peer: []}
        for _ in range(100):
            for page, found in times.items():
                begin = time.perf_counter()
                _get(page)
                found.append(1000 * (time.perf_counter() - begin))
    among_many, among_few = (statistics.median(found) for found in times.values())
    what = "emulator: a page of 100 among 20,000 resources (peer: among 200), ms"
    yield Row(what, among_many, among_few, "≤ 1.5", among_many <= 1.5 * among_few)


@contextmanager
def _crowd(count: int) -> Iterator[str]:
    """The URL of the last page of 100 in an emulator that has as many generation jobs."""
    process = CrowdedProcess()
    try:
        CrowdedWorld(process, ACCOUNT).jobs(count)
        url = f"{process.url}/audience-generation-job?maxResults=100"
        token = ""
        for _ in range(count // 100 - 1):
            token = f"&nextToken={quote(json.loads(_get(url + token))['nextToken'])}"
        yield url + token
    finally:
        process.stop()
