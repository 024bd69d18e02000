"""The client that polls."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from botocore.config import Config
from botocore.utils import parse_timestamp

from airflow_cleanroomsml._cached import cached
from airflow_cleanroomsml._connection.aws_connection import require_connection
from airflow_cleanroomsml._requests.request import Request
from airflow_cleanroomsml.exceptions import CredentialsUnavailableError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook

#: What botocore waits at most for a connection and for an answer unless it is told, in seconds.
_BOTOCORE = 60
#: What one read may hold all others up, in seconds; a configuration that says otherwise is kept.
_PATIENCE = 20


class PollingHook(CleanRoomsMLHook):
    """
    A hook that reads once: the next look is the next try.

    botocore's own tries would go on while all other waits stand still, and against a throttling that they know nothing of.
    """

    def check(self, operation: str, arguments: Mapping[str, Any] | None = None) -> Request:
        """As for other hooks, by the model that the client has anyhow; a second one takes a tenth of a second and megabytes."""
        request = Request(self.conn_once.meta.service_model, operation, arguments or {})
        request.refuse_if_broken()
        return request

    def _get_caller(self, target_function_name: str = "execute") -> str:
        """Who calls, for the user agent; looking for an operator on the stack takes longer than the client itself."""
        return "CleanRoomsMLWaitTrigger"

    @property
    def _reader(self) -> Any:
        return self.conn_once

    @cached
    def conn_once(self) -> Any:
        """The client of this poller."""
        # boto3 has no public way to its session's parts.
        parsers = self._session._session.get_component("response_parser_factory")
        parsers.set_parser_defaults(timestamp_parser=_read_timestamp)
        own: Any = {"retries": {"total_max_attempts": 1}}
        for name in ("connect_timeout", "read_timeout"):
            if getattr(self.config, name) == _BOTOCORE:
                own[name] = _PATIENCE
        return self.get_client_type(region_name=self.region_name, config=self.config.merge(Config(**own)))

    def close(self) -> None:
        """Close the connections of all clients."""
        for hook in self._hooks.values():
            client = vars(hook).get("conn_once")
            if client is not None:
                client.close()


def _read_timestamp(value: Any) -> datetime:
    """
    A timestamp in an answer: ``cleanroomsml`` writes ISO 8601, ``cleanrooms`` seconds since 1970.

    botocore's own parser takes any spelling, and five sixths of the time that a page of a listing needs.
    """
    try:
        if isinstance(value, (int, float)):
            return datetime.fromtimestamp(value, timezone.utc)
        if (
            "T" in value and "-" in value
        ):  # since Python 3.11 a date without either is read, too; botocore takes that for seconds
            return datetime.fromisoformat(value.replace("Z", "+00:00"))
    except (OSError, OverflowError, TypeError, ValueError):
        pass
    return parse_timestamp(value)


def connected(arguments: dict[str, Any], *, is_known: bool = False) -> PollingHook:
    """
    A hook whose client is there.

    :param arguments: Those of :class:`~airflow_cleanroomsml._connection.aws_connection.AwsConnection`.
    :param is_known: Whether there was such a connection before.
    :raises CredentialsUnavailableError: There was, and now it cannot be read: Airflow tells a fault of its secrets backend from a
        connection that is gone nowhere, and boto3's own credentials may be those of another account.
    """
    given = dict(arguments)
    hook = PollingHook(given.pop("aws_conn_id"), config=given.pop("botocore_config"), **given)
    if is_known and not hook.conn_config:
        raise CredentialsUnavailableError(
            f"aws_conn_id: the connection {hook.aws_conn_id!r} can no longer be read, or was deleted."
        )
    require_connection(hook)
    _ = hook.conn_once
    return hook
