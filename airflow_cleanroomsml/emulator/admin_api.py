"""The emulator's own paths, by which a test sees and turns it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from airflow_cleanroomsml.emulator.context import Shared
from airflow_cleanroomsml.emulator.faults import Fault

#: What their paths begin with.
PREFIX = "/_emulator/"


class Control:
    """
    What a test may ask and order.

    :param shared: The emulator's state.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._actions: dict[tuple[str, str], Callable[[dict[str, str], dict[str, Any]], dict[str, Any]]] = {
            ("GET", "health"): lambda *_: {"status": "ok"},
            ("GET", "requests"): self._requests,
            ("GET", "clock"): self._time,
            ("POST", "clock"): self._turn_clock,
            ("GET", "faults"): lambda *_: {"faults": shared.faults.left(shared.clock.now())},
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "settings"): lambda *_: asdict(shared.settings),
            ("POST", "settings"): self._change_settings,
            ("GET", "permissions"): lambda query, _: {"permissions": shared.permissions.view(query.get("account"))},
            ("POST", "permissions"): self._limit_permissions,
            ("DELETE", "permissions"): self._lift_permissions,
            ("POST", "reset"): self._reset,
        }

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        """
        Carry out a request.

        :return: HTTP status and body.
        """
        action = self._actions.get((method, path.removeprefix(PREFIX)))
        if action is None:
            return 404, {"message": f"No {method} {path}."}
        try:
            given = json.loads(body) if body else {}
            if not isinstance(given, dict):
                return 400, {"message": "The body is not a JSON object."}
            return 200, action(query, given)
        except (ValueError, TypeError, KeyError) as error:
            return 400, {"message": str(error)}

    def _requests(self, query: dict[str, str], _: dict[str, Any]) -> dict[str, Any]:
        account = query.get("account")
        return {"requests": [entry for entry in self._shared.journal.copy() if account in (None, entry["account"])]}

    def _time(self, *_: dict[str, Any]) -> dict[str, Any]:
        clock = self._shared.clock
        return {"now": clock.now(), "frozen": clock.frozen}

    def _turn_clock(self, _: dict[str, str], given: dict[str, Any]) -> dict[str, Any]:
        unknown = set(given) - {"advance", "freeze"}
        if unknown or not given:
            raise ValueError(f"clock: give advance or freeze, not {', '.join(sorted(unknown)) or 'nothing'}")
        seconds, freeze = float(given.get("advance", 0)), given.get("freeze")
        if not math.isfinite(seconds) or freeze not in (None, True, False):
            raise ValueError("clock: advance is a number of seconds, freeze is true or false")
        clock = self._shared.clock
        if freeze is not None:
            (clock.freeze if freeze else clock.run)()
        clock.advance(seconds)
        return self._time()

    def _add_fault(self, _: dict[str, str], given: dict[str, Any]) -> dict[str, Any]:
        self._shared.faults.add(Fault(**given), self._shared.clock.now())
        return {}

    def _clear_faults(self, query: dict[str, str], _: dict[str, Any]) -> dict[str, Any]:
        self._shared.faults.clear(query.get("account"))
        return {}

    def _change_settings(self, _: dict[str, str], given: dict[str, Any]) -> dict[str, Any]:
        self._shared.settings = self._shared.settings.changed(given)
        return asdict(self._shared.settings)

    def _limit_permissions(self, _: dict[str, str], given: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(given) - {"account", "actions"})
        if unknown:
            raise ValueError(f"permissions: unknown {', '.join(map(repr, unknown))}; allowed: account, actions")
        self._shared.permissions.limit(given.get("account"), given.get("actions"))
        return {}

    def _lift_permissions(self, query: dict[str, str], _: dict[str, Any]) -> dict[str, Any]:
        self._shared.permissions.lift(query.get("account"))
        return {}

    def _reset(self, *_: dict[str, Any]) -> dict[str, Any]:
        self._shared.clear()
        return {}
