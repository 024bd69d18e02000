"""The ``nextToken`` of a listing: opaque to clients, and only valid for the listing that returned it."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

from airflow_cleanroomsml.emulator.errors import validation_error
from airflow_cleanroomsml.emulator.store import Caller


class PageTokens:
    """
    Issues the tokens of one emulator, and reads them.

    A token contains the position of the next page, and a digest of that position, a key, the operation, its arguments, the account and the
    region. The digest does not cover ``maxResults``, which may change from page to page.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Make all tokens that were issued invalid."""
        # Positions are sequence numbers, and mean nothing to another emulator, or once all records are deleted.
        self._key = secrets.token_hex(16)

    def issue(self, after: int, operation: str, caller: Caller, arguments: Mapping[str, Any]) -> str:
        """
        Issue the token for the next page.

        :param after: Sequence number of the last entry that was returned, 0 or more.
        :param arguments: Arguments of the listing, without ``maxResults`` and ``nextToken``.
        """
        # Sorted, so that the order in which a client sends its arguments does not matter.
        listing = json.dumps(
            [self._key, after, operation, caller.account, caller.region, arguments], sort_keys=True, default=str
        )
        content = {"after": after, "listing": hashlib.sha256(listing.encode()).hexdigest()}
        # URL-safe, because List operations take the token in the query string.
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()

    def read_position(self, token: str, operation: str, caller: Caller, arguments: Mapping[str, Any]) -> int:
        """
        Return the sequence number of the last entry that was returned. It stays valid when entries are deleted between two pages.

        :param token: ``nextToken``.
        :param arguments: As for :meth:`issue`.
        :raises ApiError: ``ValidationException`` for the token of another listing, or one that was changed.
        """
        try:
            after = json.loads(base64.urlsafe_b64decode(token))["after"]
        except (ValueError, KeyError, TypeError, RecursionError):
            after = None
        # Compared as a whole, because base64 ignores some changes. True is an int to isinstance().
        if type(after) is int and token == self.issue(after, operation, caller, arguments):
            return after
        raise validation_error(
            f"nextToken is not valid: it must come from {operation} with the same arguments, account and region."
        )
