"""The client of a poller."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from botocore.config import Config
from botocore.utils import parse_timestamp

from airflow_cleanroomsml._compat import cached, name_caller, set_timestamp_parser
from airflow_cleanroomsml._connection.aws_connection import require_connection
from airflow_cleanroomsml._requests.request import Request
from airflow_cleanroomsml.exceptions import CredentialsUnavailableError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook

#: botocore's default for both of its time-outs, in seconds.
_BOTOCORE_TIMEOUT = 60
#: What the poller sets instead, because a call that hangs holds up all other waits. A time-out that a configuration sets is kept.
_TIMEOUT = 20


@name_caller(lambda: "CleanRoomsMLWaitTrigger")
class PollingHook(CleanRoomsMLHook):
    """
    A hook that sends each read once: the next poll is the next attempt.

    botocore's own retries would hold up all other waits, and would know nothing of how far throttling has slowed the poller down.
    """

    def check(self, operation: str, arguments: Mapping[str, Any] | None = None) -> Request:
        """Check a request by the service model of the client; loading the model again takes 0.1 s and some MiB."""
        request = Request(self.conn_once.meta.service_model, operation, arguments or {})
        request.raise_for_violations()
        return request

    @property
    def _reader(self) -> Any:
        return self.conn_once

    @cached
    def conn_once(self) -> Any:
        """The client."""
        # Before the client is made, which takes its parser from the session.
        set_timestamp_parser(self._session, read_timestamp)
        options: Any = {"retries": {"total_max_attempts": 1}}
        for name in ("connect_timeout", "read_timeout"):
            if getattr(self.config, name) == _BOTOCORE_TIMEOUT:
                options[name] = _TIMEOUT
        return self.get_client_type(region_name=self.region_name, config=self.config.merge(Config(**options)))

    def share_session(self, hook: CleanRoomsMLHook) -> None:
        """Let another hook of the same connection use this one's session and login."""
        vars(hook).update(conn_config=self.conn_config, _session=self._session)

    def close(self) -> None:
        """Close the connections of all clients."""
        for hook in self._hooks.values():
            client = vars(hook).get("conn_once")
            if client is not None:
                client.close()


def read_timestamp(value: Any) -> datetime:
    """
    Read a timestamp: ``cleanroomsml`` writes ISO 8601, ``cleanrooms`` seconds since 1970.

    botocore's own parser reads any spelling with dateutil, and takes five sixths of the time that a page of a listing needs.
    """
    try:
        if isinstance(value, (int, float)):
            return datetime.fromtimestamp(value, timezone.utc)
        # Since Python 3.11 fromisoformat also reads a date without either sign, which botocore takes for seconds.
        if "T" in value and "-" in value:
            return datetime.fromisoformat(value.replace("Z", "+00:00"))
    except (OSError, OverflowError, TypeError, ValueError):
        pass
    return parse_timestamp(value)


def make_hook(arguments: Mapping[str, Any], *, must_exist: bool = False) -> PollingHook:
    """
    Make a hook and its client, and log in.

    :param arguments: Those of :class:`~airflow_cleanroomsml._connection.aws_connection.AwsConnection`.
    :param must_exist: Whether the Airflow connection existed before.
    :raises CredentialsUnavailableError: It existed and cannot be read now. Airflow does not distinguish a secrets backend that fails from a
        connection that was deleted, and the credentials that boto3 finds by itself may be those of another account.
    """
    given = dict(arguments)
    hook = PollingHook(given.pop("aws_conn_id"), config=given.pop("botocore_config"), **given)
    if must_exist and not hook.conn_config:
        raise CredentialsUnavailableError(
            f"aws_conn_id: the connection {hook.aws_conn_id!r} can no longer be read, or was deleted. "
            "Check the secrets backend, or create the connection again."
        )
    require_connection(hook)
    # Here and not in the poller's thread, which Airflow's supervisor does not answer: a login may have to read the connection.
    _ = hook.conn_once
    return hook
