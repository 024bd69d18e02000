"""What the callers of an account may do, for tests of least privilege."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from functools import cache
from typing import Any

from airflow_cleanroomsml._requests.model import load
from airflow_cleanroomsml._requests.permissions import PASSED, PREFIXES, SPELLED, Permission
from airflow_cleanroomsml._requests.validation import nearest
from airflow_cleanroomsml.emulator.errors import denied
from airflow_cleanroomsml.emulator.store import Caller

_PATTERN = re.compile(r"\*|[a-z0-9-]+:[A-Za-z0-9*?]+")


class Permissions:
    """
    The IAM actions that each account allows its callers.

    An account that nobody has limited allows everything. What is evaluated are the actions of Clean Rooms ML and of Clean Rooms, and
    ``iam:PassRole``; resources and conditions of a policy are not.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._allowed: dict[str, list[str]] = {}
        self._needed: dict[str, set[str]] = {}

    def limit(self, account: Any, actions: Any) -> None:
        """
        Allow an account these actions and no others, in place of those of before.

        :param account: Twelve digits.
        :param actions: Actions as in a policy, with ``*`` and ``?``; those of other services change nothing.
        :raises ValueError: One is no action.
        """
        if not isinstance(account, str) or not re.fullmatch(r"\d{12}", account):
            raise ValueError(f"account is {account!r}; it is a text of 12 digits")
        if not isinstance(actions, list) or not all(isinstance(action, str) for action in actions):
            raise ValueError("actions is a list of texts, for instance ['cleanrooms-ml:Get*', 'iam:PassRole']")
        for action in actions:
            _require_action(action)
        with self._lock:
            self._allowed[account] = list(actions)

    def lift(self, account: str | None = None) -> None:
        """Allow an account everything; without one, all accounts."""
        with self._lock:
            self._allowed = {name: found for name, found in self._allowed.items() if account not in (None, name)}

    def clear(self) -> None:
        """Allow everything, and forget what was needed."""
        self.lift()
        with self._lock:
            self._needed.clear()

    def view(self, account: str | None = None) -> dict[str, Any]:
        """What accounts allow, None for everything, and which actions their requests have needed so far, refused ones included."""
        with self._lock:
            return {
                name: {"allowed": self._allowed.get(name), "needed": sorted(self._needed.get(name, ()))}
                for name in sorted({*self._allowed, *self._needed})
                if account in (None, name)
            }

    def require(self, caller: Caller, permissions: Iterable[Permission]) -> None:
        """
        Refuse a caller who lacks one of these.

        :raises ApiError: ``AccessDeniedException``.
        """
        for permission in permissions:
            with self._lock:
                self._needed.setdefault(caller.account, set()).add(permission.action)
                allowed = self._allowed.get(caller.account)
            if allowed is not None and not any(_matches(permission.action, pattern) for pattern in allowed):
                # The wording of IAM (IAM user guide, troubleshoot_access-denied).
                user = f"arn:{caller.partition}:iam::{caller.account}:user/caller"
                raise denied(
                    f"User: {user} is not authorized to perform: {permission.action} on resource: "
                    f"{permission.resource} because no identity-based policy allows the {permission.action} action"
                )


def _require_action(pattern: str) -> None:
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(f"{pattern!r} is no action; write 'service:Name', with * or ? in the name, or '*' for all")
    known = _actions()
    of_the_service = [action for action in known if action.startswith(pattern.partition(":")[0] + ":")]
    if of_the_service and not any(_matches(action, pattern) for action in known):
        raise ValueError(f"{pattern!r} is no action{nearest(pattern, of_the_service)}")


def _matches(action: str, pattern: str) -> bool:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, action, re.IGNORECASE) is not None


@cache
def _actions() -> list[str]:
    """The actions of both services."""
    names = [f"{prefix}:{name}" for service, prefix in PREFIXES.items() for name in load(service).operation_names]
    return [*(SPELLED.get(name, name) for name in names), *PASSED.values()]
