"""The arguments of a connection, converted from what templates render."""

from __future__ import annotations

import os
from typing import Any

from airflow_cleanroomsml._requests.coercion import parse_container
from airflow_cleanroomsml.exceptions import ConfigurationError

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
    Convert the arguments of a connection: templates of None, True and False render to text.

    :param where: Where the arguments come from, if not from a task, for instance " in the extra of the connection 'prod'".
    :return: The arguments, and the names of those that were omitted because they are the text "None".
    :raises ConfigurationError: One has a wrong type, or is blank.
    """
    given = {
        "aws_conn_id": aws_conn_id,
        "region_name": region_name,
        "verify": verify,
        "botocore_config": botocore_config,
    }
    left_out = [name for name, value in given.items() if isinstance(value, str) and value == "None"]
    return {
        name: None if value is None or name in left_out else _convert(name, value, where)
        for name, value in given.items()
    }, left_out


def _convert(name: str, value: Any, where: str) -> Any:
    if name == "botocore_config":
        return _convert_config(value)
    if name == "verify":
        return _convert_verify(value, where)
    if name == "aws_conn_id" and isinstance(value, int) and not isinstance(value, bool):
        # A Dag that renders native objects turns an id that consists of digits into a number.
        return str(value)
    return _require_text(name, value, where)


def _convert_verify(value: Any, where: str) -> bool | str:
    if isinstance(value, bool):
        return value
    # A template renders True to "True", which botocore would take for the path of a CA bundle.
    text = _require_text("verify", os.fspath(value) if isinstance(value, os.PathLike) else value, where)
    return {"true": True, "false": False}.get(text.strip().lower(), text)


def _convert_config(value: Any) -> Any:
    return parse_container(value) if isinstance(value, str) else value


def _require_text(name: str, value: Any, where: str) -> str:
    if isinstance(value, str) and value.strip():
        return value
    problem = (
        "blank, which is what an undefined Jinja variable renders to"
        if isinstance(value, str)
        else f"of type {type(value).__name__}"
    )
    raise ConfigurationError(f"{name}{where}: {value!r} is {problem}; must be {_ALLOWED[name]}. Nothing was sent.")
