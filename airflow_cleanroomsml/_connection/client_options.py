"""Checks and converts the arguments of botocore's ``Config`` like the members of a request."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.model import ShapeResolver

from airflow_cleanroomsml._compat import list_config_options, list_signature_versions
from airflow_cleanroomsml._requests.sensitive import STARS
from airflow_cleanroomsml._requests.validation import ABSENT, RequestCheck
from airflow_cleanroomsml._requests.violations import suggest_name
from airflow_cleanroomsml.exceptions import ConfigurationError, join_lines

_TEXT = {"shape": "Text"}
_FLAG = {"shape": "Flag"}
#: Options with their types, in the notation of a service model.
_TYPES: Any = {
    # Options without a type, such as signature_version, are left to botocore, which checks them itself.
    "Config": {
        "type": "structure",
        "members": {
            "region_name": _TEXT,
            "user_agent": {"shape": "Header"},
            "user_agent_extra": {"shape": "Header"},
            "user_agent_appid": {"shape": "Header"},
            "connect_timeout": {"shape": "Seconds"},
            "read_timeout": {"shape": "Seconds"},
            "max_pool_connections": {"shape": "Positive"},
            "parameter_validation": _FLAG,
            "inject_host_prefix": _FLAG,
            "use_dualstack_endpoint": _FLAG,
            "use_fips_endpoint": _FLAG,
            "ignore_configured_endpoint_urls": _FLAG,
            "tcp_keepalive": _FLAG,
            "disable_request_compression": _FLAG,
            "retries": {"shape": "Retries"},
            "proxies": {"shape": "Proxies"},
        },
    },
    "Retries": {
        "type": "structure",
        "members": {
            "total_max_attempts": {"shape": "Positive"},
            "max_attempts": {"shape": "Natural"},
            "mode": {"shape": "RetryMode"},
        },
    },
    "RetryMode": {"type": "string", "enum": ["legacy", "standard", "adaptive"]},
    "ProxiesConfig": {
        "type": "structure",
        "members": {"proxy_ca_bundle": _TEXT, "proxy_use_forwarding_for_https": _FLAG},
    },
    # The URL of a proxy may hold a password.
    "Proxies": {"type": "map", "key": _TEXT, "value": {"shape": "Secret"}},
    "Secret": {"type": "string", "sensitive": True},
    "Positive": {"type": "integer", "min": 1},
    "Natural": {"type": "integer", "min": 0},
    "Flag": {"type": "boolean"},
    # At most a year: sockets reject a number that is too large, a read time-out even after the request was sent.
    "Seconds": {"type": "float", "min": 0.001, "max": 31_536_000},
    "Header": {"type": "string", "min": 1, "pattern": r"[^\r\n]+"},
    "Text": {"type": "string", "min": 1},
}
_SHAPES = ShapeResolver(_TYPES)
#: Host and port of a URL; urlsplit() also accepts blanks, and text after an address of IPv6.
_HOST = re.compile(r"(\[[^\[\]\s]+\]|[^\[\]:\s]+)(:\d*)?")


def convert_options(options: Any, path: str = "botocore_config", *, connection: str = "") -> dict[str, Any]:
    """
    Convert the arguments of ``Config``; botocore checks those that have no type here.

    :param options: The arguments by name.
    :param path: Name of the mapping, for error messages.
    :param connection: Connection whose extra contains the mapping. The amazon provider reads that, so its values are not converted.
    :raises ConfigurationError: With all unknown options and wrong values.
    """
    check = RequestCheck(convert=not connection)
    typed = _convert_members(check, "Config", options, path, list_config_options())
    for scheme, proxy in (typed.get("proxies") or {}).items():
        if isinstance(proxy, str) and (problem := find_proxy_problem(proxy)):
            check.reject_unknown(proxy, f"{path}.proxies.{scheme}", *problem)
    # "unsigned" is the amazon provider's name for botocore.UNSIGNED (AwsConnectionWrapper), which only a connection may use.
    versions = {*(list_signature_versions() or ()), *(["unsigned"] if connection else [])}
    version = typed.get("signature_version")
    if isinstance(version, str) and list_signature_versions() and version not in versions:
        allowed = f"allowed: {', '.join(sorted(versions))}"
        check.reject_unknown(version, f"{path}.signature_version", f"{version!r} is unknown", allowed)
    if "proxies_config" in typed:
        within = f"{path}.proxies_config"
        proxy = _convert_members(check, "ProxiesConfig", typed["proxies_config"] or {}, within, ["proxy_client_cert"])
        typed["proxies_config"] = _restore_pair(proxy, "proxy_client_cert")
    if check.violations:
        where = f" in the extra of the connection {connection!r}" if connection else ""
        raise ConfigurationError(
            join_lines(
                f"The options of the client{where} are not valid; nothing was sent:", *map(str, check.violations)
            )
        )
    return _restore_pair(typed, "client_cert")


def is_url(text: Any) -> bool:
    """Return whether a text is an HTTP URL with a host and, if it has a port, a valid one."""
    if not isinstance(text, str):
        return False
    try:
        parts = urlsplit(text)
        # Reading the port raises ValueError unless it is a number up to 65535.
        port = parts.port
    except ValueError:
        return False
    is_host = _HOST.fullmatch(parts.netloc.rpartition("@")[2])
    return is_host is not None and parts.scheme in ("http", "https") and port != 0


def find_proxy_problem(text: str) -> tuple[str, str] | None:
    """
    Find out why botocore cannot use a text as the URL of a proxy; without a scheme it takes HTTP.

    :return: The problem and what is required, without quoting the text, which may contain a password; None if there is no problem.
    """
    # As botocore.httpsession.ProxyConfiguration completes it.
    url = text if "://" in text else f"http://{text.removeprefix('//')}"
    if not is_url(url):
        return f"{STARS} is not a URL", "must be one, such as 'http://host:8080'"
    # botocore.httpsession decodes user and password before it encodes them as ASCII.
    if not unquote(urlsplit(url).netloc.rpartition("@")[0]).isascii():
        return (
            f"user or password of {STARS} is not ASCII",
            "both must be ASCII, also after percent-decoding, because botocore sends nothing else",
        )
    return None


def _convert_members(
    check: RequestCheck, name: str, options: Any, path: str, untyped: Collection[str] | None
) -> dict[str, Any]:
    """
    Convert the members of a structure.

    :param untyped: Members without a shape, which are not converted; None to accept any.
    """
    shape: Any = _SHAPES.get_shape_by_name(name)
    typed: dict[str, Any] = {}
    if not isinstance(options, Mapping):
        check.reject_unknown(options, path, f"{STARS} is of type {type(options).__name__}", "must be a mapping")
        return typed
    for option, value in options.items():
        here = f"{path}.{option}"
        if value is not None and option in shape.members:
            item = check.check_member(shape.members[option], value, here, required=False)
            if item is not ABSENT:
                typed[option] = item
        elif untyped is None or option in shape.members or option in untyped:
            typed[option] = value
        else:
            hint = suggest_name(str(option), {*shape.members, *untyped})
            check.reject_unknown(
                value, here, f"no such option{hint}", "allowed: the arguments of botocore.config.Config"
            )
    return typed


def _restore_pair(options: dict[str, Any], name: str) -> dict[str, Any]:
    """Convert a list of a certificate and its key to a tuple. JSON has no tuples, but botocore silently ignores a list."""
    value = options.get(name)
    return {**options, name: tuple(value)} if isinstance(value, list) else options


def make_config(config: Any) -> Config | None:
    """
    Create a ``Config``.

    :param config: A ``Config``, its arguments as a mapping, or None.
    :raises ConfigurationError: The arguments are not valid.
    """
    if config is None or isinstance(config, Config):
        return config
    options = convert_options(config)
    try:
        return Config(**options)
    except (AttributeError, BotoCoreError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"botocore_config: {error}; must be the arguments of botocore.config.Config. Nothing was sent."
        ) from None


__all__ = ["convert_options", "find_proxy_problem", "is_url", "make_config"]
