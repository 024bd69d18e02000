from __future__ import annotations

import json
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from tests.support import make_client

from .lake import REGION, Lake


@dataclass(frozen=True)
class Aws:
    """Moto's server, and clients of it by service, region and credentials."""

    url: str

    def client(self, service: str, region: str = REGION, key: str = "key", secret: str = "secret") -> Any:
        return make_client(
            service,
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    @contextmanager
    def limited_user(self, *allowed: str) -> Iterator[Aws]:
        """Yield clients of a user who is allowed only these actions, while the server enforces IAM."""
        iam = self.client("iam")
        name = f"user-{uuid.uuid4().hex}"
        iam.create_user(UserName=name)
        if allowed:
            statement = {"Effect": "Allow", "Action": allowed, "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            iam.put_user_policy(UserName=name, PolicyName="allowed", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self._enforce_iam_after("0")
        try:
            yield _LimitedUser(self.url, key["AccessKeyId"], key["SecretAccessKey"])
        finally:
            self._enforce_iam_after("inf")

    def _enforce_iam_after(self, requests: str) -> None:
        body, headers = requests.encode(), {"Content-Type": "text/plain"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{self.url}/moto-api/reset-auth", body, headers)
        ) as response:
            assert response.status == 200


@dataclass(frozen=True)
class _LimitedUser(Aws):
    key: str
    secret: str

    def client(self, service: str, region: str = REGION, key: str = "", secret: str = "") -> Any:
        return super().client(service, region, key or self.key, secret or self.secret)


@pytest.fixture(scope="package")
def aws() -> Iterator[Aws]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Aws(f"http://{host}:{port}")
    server.stop()


@pytest.fixture(scope="package")
def create_lake(aws: Aws) -> Callable[[], Lake]:
    """A function that creates an empty bucket and Glue database; lakes share clients, which take time to create."""
    s3, glue = aws.client("s3"), aws.client("glue")
    return lambda: Lake(s3, glue, f"lake-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def lake(create_lake: Callable[[], Lake]) -> Lake:
    """An empty lake for one test."""
    return create_lake()


@pytest.fixture(scope="package")
def trained_lake(create_lake: Callable[[], Lake]) -> Lake:
    """A lake with a trained model: 120 users with 10 interactions each, in four groups that have no items in common."""
    lake = create_lake()
    lake.put("data/a.csv", lake.format_csv())
    lake.create_table()
    lake.train()
    return lake
