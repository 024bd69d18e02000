"""Limits what the callers of an account may do, for tests of least privilege."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from functools import cache
from typing import Any

from airflow_cleanroomsml._requests.model import load
from airflow_cleanroomsml._requests.permissions import IRREGULAR_ACTIONS, PASS_ACTIONS, PREFIXES, Permission
from airflow_cleanroomsml._requests.violations import suggest_name
from airflow_cleanroomsml._training_data.policy_elements import matches_wildcards
from airflow_cleanroomsml.emulator.errors import access_denied_error
from airflow_cleanroomsml.emulator.store import Caller

_PATTERN = re.compile(r"\*|[a-z0-9-]+:[A-Za-z0-9*?]+")


class Permissions:
    """
    The IAM actions that each account allows its callers.

    An account without limits allows everything. Only the actions of Clean Rooms ML and Clean Rooms, and ``iam:PassRole``, are evaluated;
    resources and conditions of a policy are not.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._allowed: dict[str, list[str]] = {}
        self._needed: dict[str, set[str]] = {}

    def limit(self, account: Any, actions: Any) -> None:
        """
        Allow an account these actions and no others; replaces an earlier limit.

        :param account: Twelve digits.
        :param actions: Actions as in a policy, with ``*`` and ``?``; actions of other services have no effect.
        :raises ValueError: An argument is not valid.
        """
        if not isinstance(account, str) or not re.fullmatch(r"\d{12}", account):
            raise ValueError(f"account is {account!r}; must be a string of 12 digits")
        if not isinstance(actions, list) or not all(isinstance(action, str) for action in actions):
            raise ValueError("actions must be a list of strings, for instance ['cleanrooms-ml:Get*', 'iam:PassRole']")
        for action in actions:
            _require_action(action)
        with self._lock:
            self._allowed[account] = list(actions)

    def lift(self, account: str | None = None) -> None:
        """
        Allow everything again.

        :param account: Account; None for all.
        """
        with self._lock:
            self._allowed = {name: actions for name, actions in self._allowed.items() if account not in (None, name)}

    def clear(self) -> None:
        """Allow everything, and forget which actions were needed."""
        self.lift()
        with self._lock:
            self._needed.clear()

    def describe(self, account: str | None = None) -> dict[str, Any]:
        """
        Return, by account, the allowed actions, None for all, and those that requests have needed, including denied ones.

        :param account: Account; None for all.
        """
        with self._lock:
            return {
                name: {"allowed": self._allowed.get(name), "needed": sorted(self._needed.get(name, ()))}
                for name in sorted({*self._allowed, *self._needed})
                if account in (None, name)
            }

    def require(self, caller: Caller, permissions: Iterable[Permission]) -> None:
        """
        Deny a request of a caller who lacks one of these permissions.

        :raises ApiError: ``AccessDeniedException``.
        """
        for permission in permissions:
            with self._lock:
                # Recorded before the check, so that ``needed`` also names the action for which a request is denied.
                self._needed.setdefault(caller.account, set()).add(permission.action)
                allowed = self._allowed.get(caller.account)
            if allowed is not None and not any(_matches(pattern, permission.action) for pattern in allowed):
                # The wording of IAM (IAM user guide, troubleshoot_access-denied).
                # The emulator knows the account of a caller, but no user or role, so the ARN has a placeholder.
                user = f"arn:{caller.partition}:iam::{caller.account}:user/caller"
                raise access_denied_error(
                    f"User: {user} is not authorized to perform: {permission.action} on resource: "
                    f"{permission.resource} because no identity-based policy allows the {permission.action} action"
                )


def _require_action(pattern: str) -> None:
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(
            f"{pattern!r} is not an action; must be 'service:Name', with * or ? in the name, or '*' for all"
        )
    actions = _list_actions()
    of_service = [action for action in actions if action.startswith(pattern.partition(":")[0] + ":")]
    if of_service and not any(_matches(pattern, action) for action in actions):
        raise ValueError(f"{pattern!r} is not an action{suggest_name(pattern, of_service)}")


def _matches(pattern: str, action: str) -> bool:
    # "The prefix and the action name are case insensitive" (IAM user guide, reference_policies_elements_action).
    return matches_wildcards(pattern, action, re.IGNORECASE)


@cache
def _list_actions() -> list[str]:
    """Return the actions of both services."""
    names = [f"{prefix}:{name}" for service, prefix in PREFIXES.items() for name in load(service).operation_names]
    return [*(IRREGULAR_ACTIONS.get(name, name) for name in names), *PASS_ACTIONS.values()]
