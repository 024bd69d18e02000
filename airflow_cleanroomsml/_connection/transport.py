"""Classifies failed calls: whether the request was sent, whether a retry can help, and whether the response is the service's."""

from __future__ import annotations

import json
import re
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

from airflow_cleanroomsml._compat import find_step_before_sending, is_unreadable, iterate_causes
from airflow_cleanroomsml._requests.request import Request
from airflow_cleanroomsml.exceptions import UnreachableError, join_lines

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
#: A member, at any depth, that is an empty object or text.
_EMPTY = re.compile(rb'"(?P<name>\w+)"\s*:\s*(?:\{\s*\}|"")', re.ASCII)

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


class NoAnswerError(UnreachableError):
    """The request may have been sent, but its response was lost or is not the service's."""


def require_complete(request: Request, response: dict[str, Any]) -> dict[str, Any]:
    """
    Return a response, or a page of a listing, if it has all that the model requires.

    botocore parses a body that is not JSON, such as the page of a proxy or a truncated body, as an empty one. A response without required
    members is recognised by its request ID, which the service always sends.

    :raises NoAnswerError: Something is missing.
    """
    shape, metadata = request.operation.output_shape, response.get("ResponseMetadata", {})
    required = shape.required_members if shape else []
    missing = [name for name in required if not _is_answer(shape, name, response.get(name))]
    # The responses of botocore's Stubber have no headers.
    if not required and metadata.get("HTTPHeaders") and "RequestId" not in metadata:
        missing = ["a request ID"]
    if missing:
        raise NoAnswerError(
            join_lines(
                f"{request.operation.name} got a response without {', '.join(missing)}.",
                "It probably came from a proxy and not from the service: check the endpoint and the proxy.",
            )
        )
    return response


def _is_answer(shape: Any, name: str, value: Any) -> bool:
    """Return whether a required member has a value; an entry of a list without any of its required members has none."""
    member = shape.members[name]
    if member.type_name != "list" or member.member.type_name != "structure":
        return value is not None
    required = member.member.required_members
    return isinstance(value, list) and all(
        entry is not None and (not required or any(key in entry for key in required)) for entry in value
    )


def mark_other_types(
    response_dict: Mapping[str, Any], customized_response_dict: dict[str, Any], operation_model: Any = None, **_: Any
) -> None:
    """
    Mark lists in a response that are an empty object or text as missing: botocore would parse them as empty lists.

    A handler of botocore's ``before-parse``, whose second argument is added to the parsed response.
    """
    shape: Any = getattr(operation_model, "output_shape", None)
    lists = (
        {name for name, member in shape.members.items() if member.type_name == "list"} if shape is not None else set()
    )
    # Searched as text first, because parsing each page of a listing twice would cost as much as reading it.
    if not any(match["name"].decode() in lists for match in _EMPTY.finditer(response_dict["body"])):
        return
    # A map further down, such as tags, may have a key of the same name.
    try:
        body = json.loads(response_dict["body"])
    except ValueError:
        return
    if isinstance(body, dict):
        customized_response_dict.update({name: None for name in lists if body.get(name) in ({}, "")})


def build_proxy_error(operation: str, response: Mapping[str, Any]) -> NoAnswerError | None:
    """
    Build the error for a response that proxies and captive portals send but not the service; None for any other response.

    It is a redirect, or says that the proxy has waited too long, perhaps after it had forwarded the request.

    :param operation: API operation, for instance ``CreateAudienceModel``.
    :param response: The response, as in ``ClientError.response``.
    """
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        what, response_name = f"{operation} was redirected (HTTP status {status}).", "redirect"
    elif status == HTTPStatus.REQUEST_TIMEOUT and "RequestId" not in metadata:
        what, response_name = f"{operation} timed out (HTTP status {status}).", "response"
    else:
        return None
    advice = (
        f"The {response_name} probably came from a proxy and not from the service: check the endpoint and the proxy."
    )
    return NoAnswerError(join_lines(what, advice))


def describe_error(error: Exception) -> str:
    """Return type and message of an error of botocore."""
    # ProxyConnectionError does not say why the proxy rejected the connection, but keeps the reason.
    inner = f" ({error.kwargs.get('error')})" if isinstance(error, ProxyConnectionError) else ""
    return f"{type(error).__name__}: {error}{inner}"
