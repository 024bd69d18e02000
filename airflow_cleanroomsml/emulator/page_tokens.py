"""
The ``nextToken`` of a listing: opaque to clients, and good for the listing that returned it alone.

It holds the place where the next page begins and a digest of what was listed: operation, arguments, account and region. The size of a
page is not among them, so it may change from page to page.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from airflow_cleanroomsml.emulator.errors import invalid
from airflow_cleanroomsml.emulator.store import Caller


def issue(after: int, operation: str, caller: Caller, arguments: Mapping[str, Any]) -> str:
    """
    The token of the next page.

    :param after: Number of the last entry that was returned, 0 or more.
    :param arguments: Arguments of the listing, without size and token of a page.
    """
    content = {"after": after, "listing": _digest(operation, caller, arguments)}
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def position(token: str, operation: str, caller: Caller, arguments: Mapping[str, Any]) -> int:
    """
    The number of the last entry that was returned; nothing moves when entries are deleted between two pages.

    :param token: ``nextToken``.
    :param arguments: As for :func:`issue`.
    :raises ApiError: ``ValidationException`` for a token of another listing.
    """
    try:
        content = json.loads(base64.urlsafe_b64decode(token))
        after, listing = content["after"], content["listing"]
    except (ValueError, KeyError, TypeError, RecursionError):
        after, listing = None, None
    if type(after) is int and after >= 0 and listing == _digest(operation, caller, arguments):
        return after
    raise invalid(
        f"nextToken is not valid here: {operation} must have returned it for the same arguments, account and region."
    )


def _digest(operation: str, caller: Caller, arguments: Mapping[str, Any]) -> str:
    listing = json.dumps([operation, caller.account, caller.region, arguments], sort_keys=True, default=str)
    return hashlib.sha256(listing.encode()).hexdigest()
