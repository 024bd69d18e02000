"""How far a call came: whether its request was sent, whether trying again can help, and whether what came back is an answer."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any

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

from airflow_cleanroomsml._compat import causes, is_unreadable, step_before_sending
from airflow_cleanroomsml._requests.request import Request
from airflow_cleanroomsml.exceptions import UnreachableError, lines

#: Errors that botocore raises only while it connects, and only before that.
_CONNECTING = (ConnectTimeoutError, EndpointConnectionError)
_PREPARING = (
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    TokenRetrievalError,
)
#: A TLS handshake that the other side broke off without a word about certificates or protocols.
_CLOSED = (ssl.SSLEOFError, ssl.SSLSyscallError, ssl.SSLZeroReturnError)


class Stage(Enum):
    """The part of a call in which it failed."""

    #: Building and signing the request, and choosing the proxy.
    PREPARING = "preparing"
    #: Name resolution, connection, proxy and TLS handshake.
    CONNECTING = "connecting"
    #: Checking the headers, which are sent when all are there.
    HEADERS = "headers"
    #: The request was sent, in part at least, or there is no evidence that it was not.
    SENT = "sent"


def stage_of(error: Exception, handled: BaseException | None) -> Stage:
    """
    The part of a call in which it failed.

    :param error: What boto3 raised, other than a ``ClientError``, from a call that botocore attempts once.
    :param handled: What was being handled when the call began; None if nothing was.
    """
    step = step_before_sending(error, handled)
    if step == "connect" or isinstance(error, _CONNECTING):
        return Stage.CONNECTING
    if step == "putheader":
        return Stage.HEADERS
    return Stage.PREPARING if step or isinstance(error, _PREPARING) else Stage.SENT


def is_transient(error: Exception, handled: BaseException | None) -> bool:
    """
    Whether a failure to connect may be over at the next attempt; a certificate or protocol that was refused will be again.

    Parameters as for :func:`stage_of`.
    """
    closed = any(isinstance(each, _CLOSED) for each in causes(error, handled))
    return closed or not isinstance(error, SSLError)


def is_lost(error: Exception, handled: BaseException | None) -> bool:
    """Whether there is no answer to a request that was sent, or one that cannot be read; parameters as for :func:`stage_of`."""
    return isinstance(error, (BotoConnectionError, HTTPClientError)) or is_unreadable(error, handled)


def may_lack_files(error: Exception, handled: BaseException | None) -> bool:
    """Whether it was files that a TLS handshake could not be made without; parameters as for :func:`stage_of`."""
    missing = (FileNotFoundError, IsADirectoryError, PermissionError)
    return isinstance(error, SSLError) or any(isinstance(each, missing) for each in causes(error, handled))


class NoAnswerError(UnreachableError):
    """The request may have been sent; its answer was lost, or what came back is not the service's."""


def complete(request: Request, answer: dict[str, Any]) -> dict[str, Any]:
    """
    An answer, or a page of a listing, with all that it must have.

    botocore takes a body that is not JSON, as of a proxy's page or one that broke off, for an empty one. An answer without required members
    is known by the request ID, which the service sends with each.

    :raises NoAnswerError: Something is missing.
    """
    shape, metadata = request.operation.output_shape, answer.get("ResponseMetadata", {})
    required = shape.required_members if shape else []
    missing = [name for name in required if name not in answer]
    # The answer of a botocore Stubber has no headers.
    if not required and metadata.get("HTTPHeaders") and "RequestId" not in metadata:
        missing = ["a request ID"]
    if missing:
        raise NoAnswerError(
            lines(
                f"{request.operation.name} got an answer without {', '.join(missing)}.",
                "The service does not answer like that; a proxy may have.",
            )
        )
    return answer


def redirected(operation: str, response: Mapping[str, Any]) -> NoAnswerError | None:
    """
    The error for a redirect, which proxies and captive portals send and the service does not; None for another answer.

    :param operation: API operation, for instance ``CreateAudienceModel``.
    :param response: The answer as ``ClientError.response`` has it.
    """
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if not HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return None
    return NoAnswerError(
        lines(f"{operation} was redirected (HTTP status {status}).", "The service does not do that; a proxy may have.")
    )


def reason(error: Exception) -> str:
    """What an error of botocore says; that of a proxy keeps the proxy's answer to itself."""
    inner = f" ({error.kwargs.get('error')})" if isinstance(error, ProxyConnectionError) else ""
    return f"{type(error).__name__}: {error}{inner}"
