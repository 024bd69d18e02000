"""How a task or a trigger reaches the service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_cleanroomsml.cached import cached
from airflow_cleanroomsml.exceptions import CleanRoomsMLError, InvalidRequestError, lines

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
                "Make the connection, or say aws_conn_id=None to take boto3's own credentials.",
            )
        )


def told_by(hook: CleanRoomsMLHook) -> str:
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
        """The arguments, as a trigger takes them."""
        return {
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "botocore_config": self.botocore_config,
        }

    @property
    def rendered_connection(self) -> dict[str, Any]:
        """Those of the arguments that are templates, as they were rendered, without those that are None."""
        given = {name: getattr(self, name) for name in self.connection_fields}
        return {name: value for name, value in given.items() if value is not None}

    def reach_as_before(self, rendered: Mapping[str, Any] | None) -> None:
        """
        Take what the templates of the connection were rendered to before a deferral: its job is there, wherever they lead now.

        :param rendered: As :attr:`rendered_connection` gives it; None where it is not known.
        """
        if rendered is None or rendered == self.rendered_connection:
            return
        for name in self.connection_fields:
            setattr(self, name, rendered.get(name))
        vars(self).pop("hook", None)

    @property
    def connection_key(self) -> str:
        """The arguments as text: what has the same is reached in the same way."""
        return json.dumps(self.connection, sort_keys=True)

    def check_connection(self) -> None:
        """
        Refuse a configuration that cannot travel to the triggerer.

        :raises InvalidRequestError: It is not a dictionary of JSON.
        """
        try:
            dict(json.loads(json.dumps(self.botocore_config or {})))
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(
                f"botocore_config: {error}; a dictionary of JSON, the arguments of Config"
            ) from None
