"""
Creates clients that are ready to send requests, and translates the errors of boto3 and the amazon provider.

Errors in the configuration are final. Errors that may be temporary, such as a throttled login, are retried.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from botocore import UNSIGNED, exceptions
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    InvalidConfigError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    SSLError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

from airflow_cleanroomsml._compat import AirflowException
from airflow_cleanroomsml._connection.regions import require_region
from airflow_cleanroomsml._connection.tls_files import require_bundle
from airflow_cleanroomsml._connection.transport import CHECK_TLS, is_transient
from airflow_cleanroomsml._connection.validation import (
    check_client,
    find_bundle,
    find_environment_endpoints,
    list_proxy_secrets,
    require_endpoint,
)
from airflow_cleanroomsml._requests.sensitive import STARS
from airflow_cleanroomsml.exceptions import (
    EXPIRED_CREDENTIALS,
    RENEW_CREDENTIALS,
    CleanRoomsMLError,
    ConfigurationError,
    CredentialsUnavailableError,
    UnreachableError,
    join_lines,
)

if TYPE_CHECKING:
    from airflow_cleanroomsml.hooks import CleanRoomsMLHook

T = TypeVar("T")

_NO_CREDENTIALS = "Nothing was sent: no credentials could be fetched."
#: Errors of credentials that the next attempt may be able to fetch, such as those of an instance profile or of a login.
_UNAVAILABLE = (
    CredentialRetrievalError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    SSOError,
    TokenRetrievalError,
    # Raised for `aws login`; older releases of botocore lack it.
    *(vars(exceptions)[name] for name in ("LoginError",) if name in vars(exceptions)),
)
#: Errors that boto3 and the amazon provider raise for invalid settings, besides botocore's own.
_SETTINGS = (
    AttributeError,
    FileNotFoundError,
    ImportError,
    IsADirectoryError,
    LookupError,
    NotADirectoryError,
    NotImplementedError,
    PermissionError,
    TypeError,
)
#: Error codes of STS for a malformed request.
_MALFORMED = ("ValidationError", "MalformedPolicyDocument", "PackedPolicyTooLarge")
#: Entries of an extra that are not confidential.
_SHOWN = frozenset(
    (
        "assume_role_method",
        "assume_role_with_web_identity_federation",
        "assume_role_with_web_identity_token_file",
        "endpoint_url",
        "profile_name",
        "region_name",
        "role_arn",
        "verify",
    )
)
#: Shorter values are not masked: they would match by chance.
_LONG = 4
#: Arguments that botocore quotes in its messages, and the user and password in a URL.
_QUOTED = re.compile(r"(?<=value: )(?!, (?:type: |valid )).+?(?=, (?:type: |valid ))|[^\s/'\"]+(?=@)", re.DOTALL)


def make_client(hook: CleanRoomsMLHook, session: Any, make: Callable[[], T]) -> T:
    """
    Create a client and fetch its credentials, because a login that fails during a request would look like a failed request.

    :param hook: The hook of the client.
    :param session: The hook's boto3 session.
    :param make: Creates the client.
    :raises ConfigurationError: The configuration is not valid.
    :raises CleanRoomsMLError: Credentials cannot be fetched.
    """
    log_in(hook, session)
    client = explain_errors(hook, make, logs_in=False)
    check_client(client, session, hook.conn_config)
    return client


def log_in(hook: CleanRoomsMLHook, session: Any) -> None:
    """
    Fetch or refresh the credentials of a session, unless its requests are unsigned.

    :param hook: The hook of the session.
    :param session: The boto3 session.
    :raises CleanRoomsMLError: They cannot be fetched.
    """

    def fetch() -> None:
        credentials = session.get_credentials()
        if credentials is not None:
            credentials.get_frozen_credentials()

    config: Any = hook.config
    # Unsigned requests need no credentials, and fetching them would fail where there are none.
    if config.signature_version is not UNSIGNED:
        explain_errors(hook, fetch, logs_in=True)


def explain_errors(hook: CleanRoomsMLHook, make: Callable[[], T], *, logs_in: bool) -> T:
    """
    Create a session or client, or log in, and translate errors.

    The translated error has neither cause nor context, because botocore's errors quote arguments, which may be confidential.

    :param make: Creates it, or logs in.
    :param logs_in: Whether this calls another service, whose response may be malformed temporarily.
    :raises ConfigurationError: The configuration is not valid.
    :raises CleanRoomsMLError: Credentials cannot be fetched.
    """
    try:
        return make()
    except CleanRoomsMLError:
        raise
    except Exception as error:
        translated = _explain(error, hook, logs_in=logs_in)
    # Outside of the except clause, so that it has no context.
    raise translated


def _explain(error: Exception, hook: CleanRoomsMLHook, *, logs_in: bool) -> CleanRoomsMLError:
    # First, because botocore's error does not name the variable: a missing AWS_CA_BUNDLE looks like a lost connection.
    try:
        _check_environment(error, hook)
    except ConfigurationError as configuration_error:
        return configuration_error
    why = _mask(f"{type(error).__name__}: {error}", hook)
    if isinstance(error, ClientError):
        return _explain_refusal(error, why)
    if isinstance(error, (BotoConnectionError, HTTPClientError)):
        return _explain_lost_connection(error, why)
    if isinstance(error, _UNAVAILABLE):
        return CredentialsUnavailableError(join_lines(_NO_CREDENTIALS, why))
    if isinstance(error, (*_SETTINGS, AirflowException, BotoCoreError)) or (
        isinstance(error, ValueError) and not logs_in
    ):
        connection = f"the connection {hook.aws_conn_id!r}, " if hook.conn_config else ""
        advice = f"Check {connection}botocore_config, and boto3's environment variables and configuration file."
        return ConfigurationError(join_lines("Nothing was sent: the configuration is not valid.", why, advice))
    return CredentialsUnavailableError(join_lines(_NO_CREDENTIALS, why))


def _check_environment(error: Exception, hook: CleanRoomsMLHook) -> None:
    """
    Check the environment variables that may have caused an error.

    :raises ConfigurationError: One of them is not valid.
    """
    if isinstance(error, NoRegionError):
        require_region(None, "region_name")
    if isinstance(error, (InvalidConfigError, OSError, SSLError)):
        path, source = find_bundle(None)
        if path is not None:
            require_bundle(path, source)
    if isinstance(error, ValueError):
        for source, url in find_environment_endpoints(hook.service_name):
            require_endpoint(url, source)


def _explain_lost_connection(error: Exception, why: str) -> CleanRoomsMLError:
    # Waits poll again after an UnreachableError. If a certificate was rejected, they would do so until their time-out.
    if is_transient(error, None):
        return UnreachableError(join_lines(_NO_CREDENTIALS, why))
    return CleanRoomsMLError(join_lines(_NO_CREDENTIALS, why, CHECK_TLS))


def _explain_refusal(error: ClientError, why: str) -> CleanRoomsMLError:
    """Translate the error response to a login, for instance of STS."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = error.response.get("Error", {}).get("Code", "")
    if status == 429 or status >= 500 or "Throttl" in code:
        return UnreachableError(join_lines(_NO_CREDENTIALS, why))
    if code in EXPIRED_CREDENTIALS:
        return CredentialsUnavailableError(join_lines(_NO_CREDENTIALS, why, RENEW_CREDENTIALS))
    if code in _MALFORMED:
        return ConfigurationError(
            join_lines(_NO_CREDENTIALS, why, "Correct role_arn and assume_role_kwargs in the extra of the connection.")
        )
    # Retried by Airflow, like a missing permission: IAM is eventually consistent.
    advice = "Check the credentials of the connection and, if it assumes a role, the trust policy of the role."
    return CleanRoomsMLError(join_lines(_NO_CREDENTIALS, why, advice))


def _mask(text: str, hook: CleanRoomsMLHook) -> str:
    """Mask values of the connection that may be confidential, and passwords in URLs."""
    wrapper: Any = hook.conn_config
    extra = {name: value for name, value in wrapper.extra_config.items() if name not in _SHOWN}
    values = {value for held in (wrapper.password, extra) for value in _iterate_values(held)}
    return mask_urls(_replace(text, values), hook)


def mask_urls(text: str, hook: CleanRoomsMLHook) -> str:
    """Mask passwords of endpoints and proxies, which errors of botocore and urllib3 quote, in a text of theirs."""
    options: Any = hook.config
    return _QUOTED.sub(STARS, _replace(text, list_proxy_secrets(options.proxies)))


def _replace(text: str, values: Collection[str]) -> str:
    # Longest first, because a value may contain another one.
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, STARS) if len(value) >= _LONG else text
    return text


def _iterate_values(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _iterate_values(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


__all__ = ["explain_errors", "log_in", "make_client", "mask_urls"]
