"""The admin API: tests inspect and control the emulator through paths below ``/_emulator/``."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, fields
from typing import Any

from airflow_cleanroomsml.emulator.context import Shared
from airflow_cleanroomsml.emulator.faults import Fault
from airflow_cleanroomsml.emulator.settings import is_finite_number

PREFIX = "/_emulator/"
#: The year 9000 in seconds since 1970. Every response contains the time, and Python's dates end with the year 9999.
_LATEST = 221_845_392_000


class AdminApi:
    """
    Handles requests to the admin API.

    :param shared: State of the emulator.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._settings_at_start = shared.settings
        self._actions: dict[tuple[str, str], Callable[[dict[str, str], dict[str, Any]], dict[str, Any]]] = {
            ("GET", "health"): lambda *_: {"status": "ok"},
            ("GET", "requests"): self._list_requests,
            ("GET", "clock"): self._describe_clock,
            ("POST", "clock"): self._set_clock,
            ("GET", "faults"): lambda *_: {"faults": shared.faults.list_active(shared.clock.now())},
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "settings"): lambda *_: asdict(shared.settings),
            ("POST", "settings"): self._change_settings,
            ("GET", "permissions"): lambda query, _: {"permissions": shared.permissions.describe(query.get("account"))},
            ("POST", "permissions"): self._limit_permissions,
            ("DELETE", "permissions"): self._lift_permissions,
            ("POST", "reset"): self._reset,
        }

    def handle(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        """
        Handle a request.

        :return: HTTP status and body.
        """
        action = self._actions.get((method, path.removeprefix(PREFIX)))
        if action is None:
            return 404, {
                "message": f"The admin API has no {method} {path}. Run the emulator with --help for a list of its paths."
            }
        try:
            content = json.loads(body) if body else {}
        except (ValueError, RecursionError) as error:
            return 400, {"message": f"The request body is not JSON: {error}"}
        try:
            if not isinstance(content, dict):
                return 400, {"message": "The request body is not a JSON object."}
            return 200, action(query, content)
        except (ValueError, TypeError, KeyError) as error:
            # The actions raise these for values of the wrong type or range: the caller's mistake, not the emulator's.
            return 400, {"message": str(error)}

    def _list_requests(self, query: dict[str, str], _: dict[str, Any]) -> dict[str, Any]:
        account = query.get("account")
        # Copied, because other threads append to the deque, which makes iterating over it fail.
        return {"requests": [entry for entry in self._shared.journal.copy() if account in (None, entry["account"])]}

    def _describe_clock(self, *_: dict[str, Any]) -> dict[str, Any]:
        clock = self._shared.clock
        return {"now": clock.now(), "frozen": clock.frozen}

    def _set_clock(self, _: dict[str, str], content: dict[str, Any]) -> dict[str, Any]:
        _check_names("clock", content, {"advance", "freeze"})
        if not content:
            raise ValueError("clock: nothing to set; allowed: advance, freeze")
        seconds, freeze = content.get("advance", 0), content.get("freeze")
        if not is_finite_number(seconds):
            raise ValueError(f"clock: advance is {seconds!r}; must be a number of seconds")
        if not (freeze is None or isinstance(freeze, bool)):
            raise ValueError(f"clock: freeze is {freeze!r}; must be true or false")
        if seconds < 0:
            # Statuses follow the clock: a resource would return to an earlier one, or exist before it was created.
            raise ValueError(f"clock: advance is {seconds}; the clock cannot be moved back")
        if self._shared.clock.now() + seconds > _LATEST:
            raise ValueError(f"clock: advance is {seconds}; the clock cannot be moved beyond the year 9000")
        clock = self._shared.clock
        if freeze is not None:
            (clock.freeze if freeze else clock.run)()
        clock.advance(seconds)
        return self._describe_clock()

    def _add_fault(self, _: dict[str, str], content: dict[str, Any]) -> dict[str, Any]:
        _check_names("faults", content, {field.name for field in fields(Fault) if field.init}, ("operation", "kind"))
        self._shared.faults.add(Fault(**content), self._shared.clock.now())
        return {}

    def _clear_faults(self, query: dict[str, str], _: dict[str, Any]) -> dict[str, Any]:
        self._shared.faults.clear(query.get("account"))
        return {}

    def _change_settings(self, _: dict[str, str], content: dict[str, Any]) -> dict[str, Any]:
        self._shared.settings = self._shared.settings.replace_values(content)
        return asdict(self._shared.settings)

    def _limit_permissions(self, _: dict[str, str], content: dict[str, Any]) -> dict[str, Any]:
        _check_names("permissions", content, {"account", "actions"}, ("account", "actions"))
        self._shared.permissions.limit(content["account"], content["actions"])
        return {}

    def _lift_permissions(self, query: dict[str, str], _: dict[str, Any]) -> dict[str, Any]:
        self._shared.permissions.lift(query.get("account"))
        return {}

    def _reset(self, _: dict[str, str], content: dict[str, Any]) -> dict[str, Any]:
        _check_names("reset", content, {"everything"})
        everything = content.get("everything", False)
        if not isinstance(everything, bool):
            raise ValueError(f"reset: everything is {everything!r}; must be true or false")
        if everything:
            # Before anything is cleared, because a job that is still running would write to S3 after the reset.
            self._shared.stop_jobs()
            self._shared.settings = self._settings_at_start
            self._shared.clock.reset()
        self._shared.clear()
        return {}


def _check_names(subject: str, content: Collection[str], allowed: Iterable[str], required: Iterable[str] = ()) -> None:
    """Refuse a body with unknown names, or without required ones."""
    unknown, missing = set(content).difference(allowed), set(required).difference(content)
    if unknown:
        raise ValueError(
            f"{subject}: unknown {', '.join(map(repr, sorted(unknown)))}; allowed: {', '.join(sorted(allowed))}"
        )
    if missing:
        raise ValueError(f"{subject}: missing {', '.join(map(repr, sorted(missing)))}")
