"""The client that polls."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from botocore.config import Config

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

    @property
    def _reader(self) -> Any:
        return self.conn_once

    @cached_property
    def conn_once(self) -> Any:
        """The client of this poller."""
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


def connected(arguments: dict[str, Any]) -> PollingHook:
    """
    A hook whose client is there.

    :param arguments: Those of :class:`~airflow_cleanroomsml.connection.AwsConnection`.
    """
    given = dict(arguments)
    hook = PollingHook(given.pop("aws_conn_id"), config=given.pop("botocore_config"), **given)
    _ = hook.conn_once
    return hook
