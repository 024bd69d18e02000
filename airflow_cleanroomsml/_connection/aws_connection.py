"""The connection arguments of operators, sensors and triggers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_cleanroomsml._compat import cached
from airflow_cleanroomsml._connection.arguments import convert_connection
from airflow_cleanroomsml.exceptions import CleanRoomsMLError, ConfigurationError, join_lines

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook


def require_connection(hook: CleanRoomsMLHook) -> None:
    """
    Reject a connection that does not exist.

    :raises CleanRoomsMLError: There is no connection with this id.
    """
    is_explicit = hook.aws_conn_id and hook.aws_conn_id != hook.default_conn_name
    if is_explicit and not hook.conn_config:
        # The amazon provider only logs a warning, and uses the credentials that boto3 finds (AwsBaseHook.conn_config, 9.8 to 9.39). Not
        # final: Airflow reports a secrets backend that fails in the same way (docs/design/connections.md).
        raise CleanRoomsMLError(
            join_lines(
                f"aws_conn_id: the connection {hook.aws_conn_id!r} does not exist. Nothing was sent, because the credentials that "
                "boto3 finds may belong to another account.",
                "Create the connection, or set aws_conn_id=None to use boto3's own credentials.",
            )
        )


def connection_digest(hook: CleanRoomsMLHook) -> str:
    """Return a digest of the content of a hook's connection; empty without a connection."""
    wrapper = hook.conn_config
    if not wrapper:
        return ""
    # Hashed, because it ends up in keys and the content is confidential; sorted, because a secrets backend may reorder the extra.
    content = json.dumps((wrapper.login, wrapper.password, wrapper.extra_config), sort_keys=True, default=str)
    return sha256(content.encode()).hexdigest()


class AwsConnection:
    """The connection arguments of AWS hooks as attributes, and the hook for them, which is created on first use."""

    #: Names of the arguments that are template fields.
    connection_fields: ClassVar[tuple[str, ...]] = ("aws_conn_id", "region_name", "verify")

    aws_conn_id: str | None
    region_name: str | None
    verify: bool | str | None
    botocore_config: dict[str, Any] | None

    @cached
    def hook(self) -> CleanRoomsMLHook:
        """
        The hook, created when the task runs, because importing boto3 would slow down the Dag processor.

        :raises ConfigurationError: An argument or the connection is not valid.
        :raises CleanRoomsMLError: The connection does not exist. A retry may help, since a secrets backend may have failed.
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
        The converted arguments.

        :raises ConfigurationError: One of them is not valid.
        """
        arguments = {name: getattr(self, name) for name in (*self.connection_fields, "botocore_config")}
        return convert_connection(**arguments)[0]

    @property
    def rendered_connection(self) -> dict[str, Any]:
        """The converted arguments that are template fields, without None."""
        arguments = self.connection
        return {name: arguments[name] for name in self.connection_fields if arguments[name] is not None}

    def restore_connection(self, rendered: Mapping[str, Any] | None) -> None:
        """
        Restore the arguments as they were rendered before a deferral or in an earlier try.

        Airflow renders templates again when the task resumes or is retried. If a Variable has changed, they may name another account, in
        which the job would look lost (docs/design/polling.md).

        :param rendered: Value of :attr:`rendered_connection` at that time; None if it is not known.
        """
        if rendered is None:
            return
        before = {name: rendered.get(name) for name in self.connection_fields}
        if before == {name: getattr(self, name) for name in self.connection_fields}:
            return
        for name, value in before.items():
            setattr(self, name, value)
        # A cached hook may have been created with the arguments as they are rendered now.
        vars(self).pop("hook", None)

    @property
    def connection_key(self) -> str:
        """The arguments as text, which is the same for equal arguments."""
        return json.dumps(self.connection, sort_keys=True)

    def check_connection(self) -> None:
        """
        Check the arguments, and that they can be serialised for the triggerer.

        :raises ConfigurationError: One of them is not valid.
        """
        from airflow_cleanroomsml._connection.client_options import convert_options

        config = self.connection["botocore_config"]
        try:
            json.dumps(config)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"botocore_config: {error}; must be a mapping of arguments of botocore.config.Config that JSON can represent"
            ) from None
        convert_options({} if config is None else config)
