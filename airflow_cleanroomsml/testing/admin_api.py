"""A client of the emulator's admin API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, urlsplit

#: Seconds. A reset waits for jobs that compute.
_TIMEOUT = 120.0


class EmulatorError(RuntimeError):
    """The emulator cannot be reached, or rejects a request of a test."""


def split_url(endpoint_url: str) -> SplitResult:
    """
    Split the URL of an emulator.

    :raises EmulatorError: It is not one.
    """
    try:
        parts = urlsplit(endpoint_url)
        # Reading the port raises ValueError if it is not one.
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    # urlsplit() drops some of the characters that a URL may not have.
    is_clean = endpoint_url.isprintable() and " " not in endpoint_url
    if (
        not is_valid
        or not is_clean
        or "@" in parts.netloc
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
    ):
        raise EmulatorError(f"The URL of the emulator is {endpoint_url!r}; must be like http://127.0.0.1:5055")
    return parts


class AdminApi:
    """
    Calls the emulator's own paths, which no AWS service has.

    :param endpoint_url: URL of the emulator.
    :raises EmulatorError: It is not the URL of an emulator.
    """

    def __init__(self, endpoint_url: str) -> None:
        parts = split_url(endpoint_url)
        self._endpoint_url = endpoint_url.rstrip("/")
        self._netloc = parts.netloc
        self._connection_type = HTTPSConnection if parts.scheme == "https" else HTTPConnection

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """
        Send a request and return the JSON of the response.

        :param path: Path and query, for instance ``/_emulator/clock``.
        :raises EmulatorError: With the emulator's own message if it refuses the request.
        """
        connection = self._connection_type(self._netloc, timeout=_TIMEOUT)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            status, content = response.status, response.read()
        except (HTTPException, OSError, UnicodeError) as error:
            raise EmulatorError(
                f"The emulator cannot be reached at {self._endpoint_url}: {error}. "
                "Start it with python -m airflow_cleanroomsml.emulator, or correct the URL."
            ) from error
        finally:
            connection.close()
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or (status != 200 and "message" not in answer):
            raise EmulatorError(
                f"There is no emulator at {self._endpoint_url}: it returned status {status} for {path}, without the JSON of an emulator. "
                "Correct the URL."
            )
        if status != 200:
            raise EmulatorError(str(answer["message"]))
        return answer
