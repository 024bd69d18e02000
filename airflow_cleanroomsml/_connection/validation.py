"""
Validates a connection and other settings that determine how a client reaches the service.

botocore itself checks little: the region "None" leads to a host that does not exist, and a missing CA bundle to a connection error, both of
which Airflow would retry without success. The errors name the argument, the entry of the connection or the variable.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from botocore.config import Config
from botocore.exceptions import BotoCoreError

from airflow_cleanroomsml._compat import read_botocore_variable
from airflow_cleanroomsml._connection.arguments import convert_connection
from airflow_cleanroomsml._connection.client_options import convert_options, find_proxy_problem, is_url
from airflow_cleanroomsml._connection.regions import require_region
from airflow_cleanroomsml._connection.tls_files import require_bundle, require_certificate
from airflow_cleanroomsml._requests.sensitive import STARS
from airflow_cleanroomsml.exceptions import ConfigurationError, join_lines

log = logging.getLogger(__name__)

#: Keys in an extra that replace login and password (amazon provider, AwsConnectionWrapper).
_KEYS = ("aws_access_key_id", "aws_secret_access_key")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+", re.ASCII)
_CORRECT = "Nothing was sent. Correct the connection."


def check_connection(connection: Any) -> None:
    """
    Reject a connection that is incomplete or malformed.

    The amazon provider ignores an extra that it cannot parse and a login without a password, and continues with the credentials that
    boto3 finds, which may belong to another account.

    :param connection: Airflow's connection.
    :raises ConfigurationError: Its extra is not a JSON object, half of a key pair is missing, or an entry is not valid.
    """
    name = f"the connection {connection.conn_id!r}"
    extra = _parse_extra(connection.extra)
    if extra is None:
        raise ConfigurationError(join_lines(f"aws_conn_id: {name} has an extra that is not a JSON object.", _CORRECT))
    if incomplete := _find_incomplete_keys(connection, extra):
        raise ConfigurationError(join_lines(f"aws_conn_id: {name} is incomplete: {incomplete}.", _CORRECT))
    where = f" in the extra of {name}"
    convert_options(extra.get("config_kwargs") or {}, "config_kwargs", connection=connection.conn_id)
    for source, url in find_endpoints(extra, where):
        require_endpoint(url, source)
    role = extra.get("role_arn")
    if role and not (isinstance(role, str) and _ROLE.fullmatch(role)):
        raise ConfigurationError(join_lines(f"role_arn{where}: {role!r} is not the ARN of a role.", _CORRECT))


def _parse_extra(extra: Any) -> Mapping[str, Any] | None:
    try:
        content = json.loads(extra) if extra and isinstance(extra, str) else extra or {}
    except ValueError:
        return None
    return content if isinstance(content, Mapping) else None


def _find_incomplete_keys(connection: Any, extra: Mapping[str, Any]) -> str:
    """Describe which half of a key pair is missing; empty if a pair is complete. Values are not shown."""
    # Older releases of the amazon provider read the keys from session_kwargs.
    older = extra.get("session_kwargs")
    older = older if isinstance(older, Mapping) else {}
    pairs = [
        {"login": connection.login, "password": connection.password},
        {f"{key} in its extra": extra.get(key) for key in _KEYS},
        {f"{key} in session_kwargs of its extra": older.get(key) for key in _KEYS},
    ]
    # One complete pair is enough, as the amazon provider takes the first that it finds.
    if any(all(pair.values()) for pair in pairs):
        return ""
    for (first, first_value), (second, second_value) in (pair.items() for pair in pairs):
        if first_value or second_value:
            present, missing = (first, second) if first_value else (second, first)
            return f"{present} is set, but {missing} is missing"
    token = extra.get("aws_session_token") or older.get("aws_session_token")
    return "aws_session_token is set, but the access key is missing" if token else ""


def find_endpoints(extra: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    """
    Find the endpoints that the extra of a connection names, each with the name of its entry.

    :param extra: The extra.
    :param where: Which extra it is, for instance " in the extra of the connection 'prod'".
    :raises ConfigurationError: ``service_config`` is not a mapping of mappings.
    """
    services = extra.get("service_config", {})
    if not isinstance(services, Mapping) or not all(isinstance(service, Mapping) for service in services.values()):
        raise ConfigurationError(
            f"service_config{where}: must map boto3's service names, such as 'cleanroomsml', to mappings. Nothing was sent."
        )
    if extra.get("endpoint_url") is not None:
        yield f"endpoint_url{where}", extra["endpoint_url"]
    for service, settings in services.items():
        if settings.get("endpoint_url") is not None:
            yield f"service_config.{service}.endpoint_url{where}", settings["endpoint_url"]


def require_endpoint(url: Any, source: str) -> None:
    """
    Reject an endpoint that is not a URL.

    :param source: Name of the entry or variable that contains it.
    :raises ConfigurationError: It has no scheme, no host, or an invalid port.
    """
    if not is_url(url):
        text = STARS if "@" in str(url) else repr(url)  # a URL may contain a password
        raise ConfigurationError(f"{source}: {text} is not a URL such as 'https://host:8080'. Nothing was sent.")


def wrap_connection(wrap: Callable[[], Any], arguments: Mapping[str, Any]) -> Any:
    """
    Wrap a connection as the amazon provider does, and check it together with the arguments of the hook.

    :param wrap: Reads the connection and wraps it.
    :param arguments: The arguments of the hook.
    :raises ConfigurationError: The connection or an argument is not valid.
    """
    try:
        # The provider's wrapper raises all of these for malformed entries of an extra.
        wrapper = wrap()
    except (AttributeError, BotoCoreError, LookupError, NotImplementedError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
    else:
        extra = f" in the extra of the connection {wrapper.conn_id!r}"
        converted, left_out = convert_connection(region_name=wrapper.region_name, verify=wrapper.verify, where=extra)
        wrapper.region_name, wrapper.verify = converted["region_name"], converted["verify"]
        for name in left_out:
            log.warning('%s%s is the text "None"; ignoring it.', name, extra)
        _check_regions(wrapper, arguments)
        _check_files(wrapper, arguments)
        return wrapper
    raise ConfigurationError(
        join_lines(f"aws_conn_id: the connection {arguments['aws_conn_id']!r} cannot be used.", why, _CORRECT)
    )


def _find_source(name: str, wrapper: Any, arguments: Mapping[str, Any]) -> str:
    """Return the name of an argument, or of the entry of the extra that applies instead."""
    argument, _, option = name.partition(".")
    if arguments[argument] is not None:
        return name
    return f"{f'config_kwargs.{option}' if option else name} in the extra of the connection {wrapper.conn_id!r}"


def _check_regions(wrapper: Any, arguments: Mapping[str, Any]) -> None:
    options: Any = wrapper.botocore_config or Config()
    regions = {
        _find_source("region_name", wrapper, arguments): wrapper.region_name,
        _find_source("botocore_config.region_name", wrapper, arguments): options.region_name,
    }
    # boto3 reads the variable only if neither an argument nor the connection names a region.
    if not any(regions.values()):
        regions = {"AWS_DEFAULT_REGION": os.environ.get("AWS_DEFAULT_REGION")}
    for name, region in regions.items():
        if region:
            require_region(region, name)


def _check_files(wrapper: Any, arguments: Mapping[str, Any]) -> None:
    """Check the CA bundles and certificates that the arguments or the connection name."""
    # Files that only the environment names are checked after a TLS handshake has failed, because not every endpoint needs them
    # (docs/design/connections.md).
    options: Any = wrapper.botocore_config or Config()
    proxy = options.proxies_config or {}
    for name, file, require in (
        ("verify", wrapper.verify if isinstance(wrapper.verify, str) else None, require_bundle),
        ("botocore_config.client_cert", options.client_cert, require_certificate),
        ("botocore_config.proxies_config.proxy_ca_bundle", proxy.get("proxy_ca_bundle"), require_bundle),
        ("botocore_config.proxies_config.proxy_client_cert", proxy.get("proxy_client_cert"), require_certificate),
    ):
        if file is not None:
            require(file, _find_source(name, wrapper, arguments))


def find_unusable_file(wrapper: Any, arguments: Mapping[str, Any], session: Any) -> str:
    """
    Find a file that a TLS handshake needs but cannot use, also in boto3's own configuration.

    :param wrapper: The connection, as the amazon provider wraps it.
    :param arguments: The arguments of the hook.
    :param session: The hook's boto3 session.
    :return: A description of the problem; empty if there is none.
    """
    try:
        _check_files(wrapper, arguments)
        path, source = find_bundle(session)
        if wrapper.verify is None and path is not None:
            require_bundle(path, source)
    except ConfigurationError as error:
        return str(error)
    return ""


def find_unusable_proxy(options: Any, url: str) -> str:
    """
    Find the variable with a proxy that botocore cannot use.

    :param options: Options of the client; its own proxies are checked already.
    :param url: Endpoint of the service.
    :return: A description of the problem; empty if there is none. It does not quote the proxy, whose URL may contain a password.
    """
    scheme = urlsplit(url).scheme
    proxy = "" if options.proxies is not None or proxy_bypass(urlsplit(url).netloc) else getproxies().get(scheme, "")
    problem = find_proxy_problem(proxy) if proxy else None
    if problem is None:
        return ""
    names = [name for name in os.environ if name.lower() == f"{scheme}_proxy" and os.environ[name] == proxy]
    return f"{', '.join(names) or f'proxy for {scheme}'}: {'; '.join(problem)}."


def list_proxy_secrets(proxies: Mapping[str, str | None] | None) -> set[str]:
    """
    List the passwords of proxies, also of those in the environment, as errors may quote them.

    :param proxies: The proxies in the options of the client.
    """
    # A Config is not checked as its arguments are, so a proxy may be None.
    urls = [url for url in (*(proxies or {}).values(), *getproxies().values()) if url and "@" in url]
    # A password may contain the characters that end the part of a URL in front of the host, and two slashes.
    users = [re.sub(r"\A(?:[a-zA-Z][\w+.-]*:)?//", "", url.rpartition("@")[0]) for url in urls]
    passwords = [user.partition(":")[2] for user in users]
    parts = {part for password in passwords for part in (password, *re.split("[/?#@]", password))}
    return {*users, *parts, *map(unquote, parts)}


def find_bundle(session: Any) -> tuple[str | None, str]:
    """
    Find the CA bundle that boto3 uses without ``verify``.

    :param session: A boto3 session; None if there is none yet.
    :return: The path, or None, and the name of the variable that contains it.
    """
    for source, path in (
        ("AWS_CA_BUNDLE", os.environ.get("AWS_CA_BUNDLE")),
        ("ca_bundle in boto3's configuration file", read_botocore_variable(session, "ca_bundle")),
        ("REQUESTS_CA_BUNDLE", os.environ.get("REQUESTS_CA_BUNDLE")),
    ):
        if path is not None:
            return path, source
    return None, ""


def find_environment_endpoints(service: str) -> Iterator[tuple[str, str]]:
    """
    Find the endpoints of a service and of STS in the environment, each with its variable.

    :param service: boto3's name of the service.
    """
    for name in (f"AWS_ENDPOINT_URL_{service.upper()}", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"):
        if os.environ.get(name):
            yield name, os.environ[name]


def check_session(session: Any, wrapper: Any) -> None:
    """
    Check the region in boto3's configuration file, which applies if neither an argument, the connection nor the environment names one.

    :param session: A boto3 session.
    :param wrapper: The connection, as the amazon provider wraps it.
    :raises ConfigurationError: It is not valid.
    """
    options: Any = wrapper.botocore_config or Config()
    # The others are checked already; checking them again would repeat the warning of a new region.
    is_checked = wrapper.region_name or options.region_name or os.environ.get("AWS_DEFAULT_REGION")
    if session.region_name and not is_checked:
        require_region(session.region_name, "region in boto3's configuration file")


def check_client(client: Any, session: Any, wrapper: Any) -> None:
    """
    Check the settings that a client has from boto3's own configuration.

    :param session: Its boto3 session.
    :param wrapper: The connection, as the amazon provider wraps it.
    :raises ConfigurationError: The endpoint or the CA bundle is not valid.
    """
    # Read from the client, because only botocore knows which of its sources of an endpoint takes precedence.
    url = client.meta.endpoint_url
    for source, configured in find_environment_endpoints(client.meta.service_model.service_name):
        if configured == url:
            require_endpoint(url, source)
    require_endpoint(url, "endpoint_url in boto3's configuration file")
    path, source = find_bundle(session)
    if path is not None and wrapper.verify is None and not path.strip():
        # Some releases of botocore disable the verification of TLS then, instead of raising an error.
        require_bundle(path, source)
