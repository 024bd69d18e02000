"""The environment variables by which Airflow and boto3 find the emulator."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping

from airflow_cleanroomsml.testing.admin_api import split_url

#: The emulator accepts any.
SIGNING_KEY = "emulator-signing-key"


class Environment(Mapping[str, str]):
    """
    The variables that are set for a test, and restored after it.

    All other variables that begin with ``AWS_`` are removed, so that no test uses the developer's own account.

    :param endpoint_url: URL of the emulator.
    :param region: AWS region.
    """

    def __init__(self, endpoint_url: str, region: str) -> None:
        self._region = region
        self._host = split_url(endpoint_url).hostname or ""
        self._endpoint_url = endpoint_url
        self._originals: dict[str, str | None] = {}
        self._variables: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        """Return the value that was set."""
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the variables."""
        return iter(self._variables)

    def __len__(self) -> int:
        """Return the number of variables."""
        return len(self._variables)

    def apply(self, account: str) -> None:
        """
        Point boto3 and the connection ``aws_default`` to the emulator.

        :param account: Account of both.
        """
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            self._set(name, None)
        # Files too: otherwise botocore would read the profiles and endpoints of the developer.
        variables = {
            "AWS_ENDPOINT_URL": self._endpoint_url,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_ACCESS_KEY_ID": account,
            "AWS_SECRET_ACCESS_KEY": SIGNING_KEY,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        # botocore prefers the name in lower case.
        for name in ("no_proxy", "NO_PROXY"):
            hosts = os.environ.get(name) or os.environ.get("NO_PROXY", "")
            variables[name] = ",".join(filter(None, (hosts, self._host)))
        for name, value in variables.items():
            self._set(name, value)
        self.connect("aws_default", account)

    def connect(self, conn_id: str, account: str) -> None:
        """Set the variable of an Airflow connection to an account."""
        connection = {
            "conn_type": "aws",
            "login": account,
            "password": SIGNING_KEY,
            "extra": {"region_name": self._region},
        }
        self._set(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))

    def restore(self) -> None:
        """Restore all variables as they were."""
        for name, value in self._originals.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._originals, self._variables = {}, {}

    def _set(self, name: str, value: str | None) -> None:
        # Only the first value is the original: a test can set a connection more than once.
        self._originals.setdefault(name, os.environ.get(name))
        if value is None:
            os.environ.pop(name, None)
            return
        self._variables[name] = os.environ[name] = value
