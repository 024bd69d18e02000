"""How a task or a trigger reaches the service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_cleanroomsml._compat import cached
from airflow_cleanroomsml._connection.arguments import convert_connection
from airflow_cleanroomsml.exceptions import CleanRoomsMLError, ConfigurationError, lines

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook


def require_connection(hook: CleanRoomsMLHook) -> None:
    """
    Refuse a connection that is named and does not exist.

    :raises CleanRoomsMLError: There is none of this name.
    """
    named = hook.aws_conn_id and hook.aws_conn_id != hook.default_conn_name
    if named and not hook.conn_config:
        # The amazon provider warns, and goes on with what boto3 finds (AwsBaseHook.conn_config, 9.8 to 9.39).
        raise CleanRoomsMLError(
            lines(
                f"aws_conn_id: there is no connection {hook.aws_conn_id!r}. Nothing was sent: the credentials that boto3 finds by "
                "itself may be those of another account.",
                "Create the connection, or set aws_conn_id=None to use boto3's own credentials.",
            )
        )


def connection_digest(hook: CleanRoomsMLHook) -> str:
    """What a hook's connection says, as a digest that gives nothing away; empty where there is none."""
    said = hook.conn_config
    if not said:
        return ""
    told = json.dumps((said.login, said.password, said.extra_config), sort_keys=True, default=str)
    return sha256(told.encode()).hexdigest()


class AwsConnection:
    """The arguments that every hook of AWS takes, as attributes, and the hook made from them when it is asked for."""

    #: Those of them that are templates.
    connection_fields: ClassVar[tuple[str, ...]] = ("aws_conn_id", "region_name", "verify")

    aws_conn_id: str | None
    region_name: str | None
    verify: bool | str | None
    botocore_config: dict[str, Any] | None

    @cached
    def hook(self) -> CleanRoomsMLHook:
        """
        The hook, made when the task runs: importing boto3 is not for the Dag processor.

        :raises ConfigurationError: An argument or the connection is not valid.
        :raises CleanRoomsMLError: There is no such connection. Whether a secrets backend failed is not known then: a retry may help.
        """
        from airflow_cleanroomsml.hooks import CleanRoomsMLHook

        hook = CleanRoomsMLHook(
            self.aws_conn_id, region_name=self.region_name, verify=self.verify, config=self.botocore_config
        )
        require_connection(hook)
        return hook

    @property
    def connection(self) -> dict[str, Any]:
        """
        The arguments, as a trigger takes them.

        :raises ConfigurationError: One of them is not valid.
        """
        given = {name: getattr(self, name) for name in (*self.connection_fields, "botocore_config")}
        return convert_connection(**given)[0]

    @property
    def rendered_connection(self) -> dict[str, Any]:
        """Those of the arguments that are templates, as a trigger takes them, without those that are None."""
        given = self.connection
        return {name: given[name] for name in self.connection_fields if given[name] is not None}

    def reach_as_before(self, rendered: Mapping[str, Any] | None) -> None:
        """
        Restore the arguments that were rendered before a deferral: the job is there, wherever the templates lead now.

        :param rendered: As :attr:`rendered_connection` returned it; None where it is not known.
        """
        if rendered is None:
            return
        before = {name: rendered.get(name) for name in self.connection_fields}
        if before == {name: getattr(self, name) for name in self.connection_fields}:
            return
        for name, value in before.items():
            setattr(self, name, value)
        vars(self).pop("hook", None)

    @property
    def connection_key(self) -> str:
        """The arguments as text: what has the same is reached in the same way."""
        return json.dumps(self.connection, sort_keys=True)

    def check_connection(self) -> None:
        """
        Refuse arguments that are not valid, or cannot be serialised for the triggerer.

        :raises ConfigurationError: One of them is not valid.
        """
        from airflow_cleanroomsml._connection.client_options import convert_options

        config = self.connection["botocore_config"]
        try:
            json.dumps(config)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"botocore_config: {error}; must be a mapping of JSON, the arguments of botocore.config.Config"
            ) from None
        convert_options({} if config is None else config)
