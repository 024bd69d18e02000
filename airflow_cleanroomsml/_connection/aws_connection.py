"""The connection arguments of operators, sensors and triggers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_cleanroomsml._cached import cached
from airflow_cleanroomsml._requests.coercion import parse_container
from airflow_cleanroomsml.exceptions import CleanRoomsMLError, ConfigurationError, lines

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

_ALLOWED = {
    "aws_conn_id": "the id of a connection, or None",
    "region_name": "an AWS region such as 'us-east-1', or None",
    "verify": "True, False, or the path of a CA bundle",
}


def convert_connection(
    *,
    aws_conn_id: Any = None,
    region_name: Any = None,
    verify: Any = None,
    botocore_config: Any = None,
    where: str = "",
) -> tuple[dict[str, Any], list[str]]:
    """
    Convert connection arguments, since templates render None, True and False to text.

    :param where: Where they come from, if not from a task, for instance " in the extra of the connection 'prod'".
    :return: The arguments, and the names of those that rendered to "None" and are left out.
    :raises ConfigurationError: An argument has the wrong type, or is blank.
    """
    arguments = {
        "aws_conn_id": aws_conn_id,
        "region_name": region_name,
        "verify": verify,
        "botocore_config": botocore_config,
    }
    left_out = [name for name, value in arguments.items() if isinstance(value, str) and value == "None"]
    return {
        name: None if value is None or name in left_out else _convert(name, value, where)
        for name, value in arguments.items()
    }, left_out


def _convert(name: str, value: Any, where: str) -> Any:
    if name == "botocore_config":
        return _convert_config(value)
    if name == "verify":
        return _convert_verify(value, where)
    if name == "aws_conn_id" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # with render_template_as_native_obj, an id of digits renders to an integer
    return _require_text(name, value, where)


def _convert_verify(value: Any, where: str) -> bool | str:
    if isinstance(value, bool):
        return value
    text = _require_text("verify", os.fspath(value) if isinstance(value, os.PathLike) else value, where)
    return {"true": True, "false": False}.get(text.strip().lower(), text)


def _convert_config(value: Any) -> Any:
    return parse_container(value) if isinstance(value, str) else value


def _require_text(name: str, value: Any, where: str) -> str:
    if isinstance(value, str) and value.strip():
        return value
    problem = "blank, as an undefined variable renders" if isinstance(value, str) else f"of type {type(value).__name__}"
    raise ConfigurationError(f"{name}{where}: {value!r} is {problem}; must be {_ALLOWED[name]}. Nothing was sent.")


def require_connection(hook: CleanRoomsMLHook) -> None:
    """
    Reject a connection that does not exist.

    :raises CleanRoomsMLError: There is no connection with this id.
    """
    is_explicit = hook.aws_conn_id and hook.aws_conn_id != hook.default_conn_name
    if is_explicit and not hook.conn_config:
        # The amazon provider only logs a warning, and uses the credentials that boto3 finds (AwsBaseHook.conn_config, 9.8 to 9.39).
        raise CleanRoomsMLError(
            lines(
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
        Restore the arguments that were rendered before a deferral, since the templates may render to another account or region by now.

        :param rendered: Value of :attr:`rendered_connection` before the deferral; None if it is not known.
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
                f"botocore_config: {error}; must be a mapping of JSON, the arguments of botocore.config.Config"
            ) from None
        convert_options({} if config is None else config)
