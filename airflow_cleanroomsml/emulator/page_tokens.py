"""
The ``nextToken`` of a listing: opaque to clients, and only valid for the listing that returned it.

It contains the position of the next page and a digest of the operation, its arguments, the account and the region. The digest does not
cover ``maxResults``, which may change from page to page.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from airflow_cleanroomsml.emulator.errors import validation_error
from airflow_cleanroomsml.emulator.store import Caller


def issue(after: int, operation: str, caller: Caller, arguments: Mapping[str, Any]) -> str:
    """
    Issue the token for the next page.

    :param after: Sequence number of the last entry that was returned, 0 or more.
    :param arguments: Arguments of the listing, without ``maxResults`` and ``nextToken``.
    """
    content = {"after": after, "listing": _compute_digest(operation, caller, arguments)}
    # URL-safe, because List operations take the token in the query string.
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def read_position(token: str, operation: str, caller: Caller, arguments: Mapping[str, Any]) -> int:
    """
    Return the sequence number of the last entry that was returned. It stays valid when entries are deleted between two pages.

    :param token: ``nextToken``.
    :param arguments: As for :func:`issue`.
    :raises ApiError: ``ValidationException`` for the token of another listing.
    """
    try:
        content = json.loads(base64.urlsafe_b64decode(token))
        after, listing = content["after"], content["listing"]
    except (ValueError, KeyError, TypeError, RecursionError):
        after, listing = None, None
    # True is an int to isinstance().
    if type(after) is int and after >= 0 and listing == _compute_digest(operation, caller, arguments):
        return after
    raise validation_error(
        f"nextToken is not valid: it must come from {operation} with the same arguments, account and region."
    )


def _compute_digest(operation: str, caller: Caller, arguments: Mapping[str, Any]) -> str:
    # Sorted, so that the order in which a client sends its arguments does not matter.
    listing = json.dumps([operation, caller.account, caller.region, arguments], sort_keys=True, default=str)
    return hashlib.sha256(listing.encode()).hexdigest()
