"""The boto3 clients with which jobs read and write: they act in the account of the caller, and are cheap after the first."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.loaders import JSONFileLoader

from airflow_cleanroomsml.emulator.backend.base import ClientFactory
from airflow_cleanroomsml.emulator.store import Caller
from tests.helpers.botocore_files import read_each_time

ROLE = "arn:aws:iam::111111111111:role/cleanrooms-ml"
CALLERS = [Caller("111111111111", "us-east-1"), Caller("222222222222", "us-west-2")]


@pytest.fixture
def clients() -> ClientFactory:
    return ClientFactory(lambda: "http://127.0.0.1:1")


def test_only_first_client_of_a_service_reads_data_files(
    clients: ClientFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_each_time(monkeypatch)
    reads: Counter[str] = Counter()
    load_file = JSONFileLoader.load_file

    def count(self: JSONFileLoader, file_path: str) -> Any:
        reads[str(file_path)] += 1
        return load_file(self, file_path)

    monkeypatch.setattr(JSONFileLoader, "load_file", count)
    clients.build("s3", CALLERS[0], ROLE)
    reads_of_first = sum(reads.values())
    clients.build("s3", CALLERS[1], ROLE)
    assert reads_of_first
    assert sum(reads.values()) == reads_of_first


def test_clients_built_concurrently_have_credentials_of_callers(clients: ClientFactory) -> None:
    ready = threading.Barrier(8)

    def build(number: int) -> tuple[Caller, Any]:
        caller = CALLERS[number % len(CALLERS)]
        ready.wait(60)
        return caller, clients.build("s3", caller, ROLE)

    with ThreadPoolExecutor(ready.parties) as threads:
        results = list(threads.map(build, range(ready.parties)))
    for caller, client in results:
        url = client.generate_presigned_url("list_buckets")
        assert parse_qs(urlsplit(url).query)["AWSAccessKeyId"] == [caller.account]
        assert client.meta.region_name == caller.region
