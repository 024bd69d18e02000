"""Classifies failed calls: whether the request was sent, and whether a retry can help."""

from __future__ import annotations

import ssl
from enum import Enum

from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.exceptions import (
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
    TokenRetrievalError,
)

from airflow_cleanroomsml._compat import find_step_before_sending, is_unreadable, iterate_causes

#: Errors that botocore raises only while it connects, whatever the traceback shows.
_CONNECTING = (ConnectTimeoutError, EndpointConnectionError)
#: Errors that botocore raises only before it connects, and for which a proxy is no reason.
PREPARING = (
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    TokenRetrievalError,
)
#: The other side closed the connection during the TLS handshake, without an alert about certificates or protocols.
_CLOSED = (ssl.SSLEOFError, ssl.SSLSyscallError, ssl.SSLZeroReturnError)

#: Advice for a TLS handshake that was refused.
CHECK_TLS = "Check the endpoint, the proxy, and whether verify names a CA bundle that trusts them."


class Stage(Enum):
    """The stage of a call in which it failed."""

    #: Building and signing the request, and choosing the proxy.
    PREPARING = "preparing"
    #: Name resolution, connection, proxy and TLS handshake.
    CONNECTING = "connecting"
    #: Building the headers, which http.client only sends when they are complete.
    HEADERS = "headers"
    #: The request was sent at least in part, or nothing proves that it was not.
    SENT = "sent"


def find_stage(error: Exception, handled: BaseException | None) -> Stage:
    """
    Find the stage of a call in which it failed.

    :param error: Exception of boto3 other than ``ClientError``, from a call without retries by botocore.
    :param handled: Exception that was being handled when the call began; None for none.
    """
    # urllib3 raises the same classes during a TLS handshake and after it, so the class alone proves nothing (docs/design/connections.md).
    step = find_step_before_sending(error, handled)
    if step == "connect" or isinstance(error, _CONNECTING):
        return Stage.CONNECTING
    if step == "putheader":
        return Stage.HEADERS
    return Stage.PREPARING if step or isinstance(error, PREPARING) else Stage.SENT


def is_transient(error: Exception, handled: BaseException | None) -> bool:
    """
    Return whether a failure to connect may be temporary. A rejected certificate or protocol is not.

    Parameters as for :func:`find_stage`.
    """
    is_closed = any(isinstance(cause, _CLOSED) for cause in iterate_causes(error, handled))
    return is_closed or not isinstance(error, SSLError)


def is_lost(error: Exception, handled: BaseException | None) -> bool:
    """Return whether the response to a request was lost or cannot be read; parameters as for :func:`find_stage`."""
    return isinstance(error, (BotoConnectionError, HTTPClientError)) or is_unreadable(error, handled)


def may_lack_files(error: Exception, handled: BaseException | None) -> bool:
    """Return whether a TLS handshake may have failed for unusable files; parameters as for :func:`find_stage`."""
    unusable = (FileNotFoundError, IsADirectoryError, PermissionError)
    return isinstance(error, SSLError) or any(isinstance(cause, unusable) for cause in iterate_causes(error, handled))


def describe_error(error: Exception) -> str:
    """Return type and message of an error of botocore."""
    # ProxyConnectionError does not say why the proxy rejected the connection, but keeps the reason.
    inner = f" ({error.kwargs.get('error')})" if isinstance(error, ProxyConnectionError) else ""
    return f"{type(error).__name__}: {error}{inner}"
