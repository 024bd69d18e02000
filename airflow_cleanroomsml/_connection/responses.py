"""Reads responses: whether one is the service's own and complete, and what botocore does not parse."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from airflow_cleanroomsml._requests.request import Request
from airflow_cleanroomsml.exceptions import UnreachableError, join_lines

#: A member, at any depth, that is an empty object or text.
_EMPTY = re.compile(rb'"(?P<name>\w+)"\s*:\s*(?:\{\s*\}|"")', re.ASCII)


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


def add_quota(response_dict: Mapping[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Add name and value of a quota to the error: botocore 1.37 does not parse them, and waiting does not help if the value is 0."""
    if response_dict["status_code"] != HTTPStatus.PAYMENT_REQUIRED:
        return
    # A proxy may answer 402 as well, with a page that is not JSON.
    try:
        body = json.loads(response_dict["body"])
    except ValueError:
        return
    customized_response_dict.update({name: body[name] for name in ("quotaName", "quotaValue") if name in body})


def read_service_time(metadata: Mapping[str, Any]) -> float | None:
    """Return when the service responded, by its ``Date`` header."""
    # The service's clock says which of two namesakes is older; the worker's may be wrong.
    try:
        return parsedate_to_datetime(metadata["HTTPHeaders"]["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None
