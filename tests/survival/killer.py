"""Kills a process at a given step. The process kills itself, so that it ends at exactly that step."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Callable
from typing import Any

import boto3

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml._compat import IS_AIRFLOW_2, AirflowTaskTerminated
from airflow_cleanroomsml._requests.request import find_operation, load
from airflow_cleanroomsml._resources.table import Resource
from airflow_cleanroomsml._waiting import cancellation
from tests.survival.cases import (
    AFTER_STORE,
    BEFORE_READ,
    BEFORE_SEND,
    BEFORE_STORE,
    IN_FLIGHT,
    IN_SEARCH,
    IN_TRIGGER,
    IN_WAIT,
    KILL,
    Kill,
)
from tests.survival.stored_state import StoredState

#: Seconds that a task of Airflow 3 keeps running after SIGTERM.
_GRACE_PERIOD = 0.05


class Killer:
    """
    Kills this process, once.

    :param kills: The possible kills, of which the first whose step is reached takes effect; without any, the process is not killed.
    :param state: Stored state, in which the kill is recorded.
    """

    def __init__(self, kills: list[Kill], state: StoredState) -> None:
        self._kills = kills
        self._state = state
        self._signal = ""

    def reach(self, step: str) -> None:
        """Kill this process if a kill is planned at this step."""
        for kill in self._kills:
            if kill.step == step and not self._signal:
                self._signal = kill.signal
                self._state.write("kills", str(len(self._state.read_all("kills"))), [step, kill.signal])
                os.kill(os.getpid(), signal.SIGKILL if kill.signal == KILL else signal.SIGTERM)

    def install_hooks(self, service: str, operation: str, resource: Resource) -> None:
        """
        Hook into boto3, ``http.client`` and the clock, where the steps are reached.

        :param service: boto3's name of the service.
        :param operation: boto3's name of the create operation.
        :param resource: The resource that it creates.
        """
        create, listing = (find_operation(load(service), name).name for name in (operation, resource.list))
        events = {
            f"before-send.{service}.{create}": lambda **_: self._handle_send(),
            f"response-received.{service}.{create}": lambda **_: self.reach(BEFORE_READ),
            f"response-received.{service}.{listing}": lambda **_: self.reach(IN_SEARCH),
            f"response-received.{service}": lambda **_: self.reach(IN_TRIGGER),
        }
        _register_handlers(events)
        original_sleep = _clock.sleep

        def sleep(seconds: float) -> None:
            self.reach(IN_WAIT)
            original_sleep(seconds)

        _replace(_clock, "sleep", sleep)
        # The state of the task instance in Airflow: no user has ended the task.
        _replace(cancellation, "read_task_state", lambda _: "running")

    def _handle_send(self) -> None:
        self.reach(BEFORE_SEND)
        original_begin = http.client.HTTPResponse.begin

        def begin(response: http.client.HTTPResponse) -> None:
            _replace(http.client.HTTPResponse, "begin", original_begin)
            self.reach(IN_FLIGHT)
            original_begin(response)

        _replace(http.client.HTTPResponse, "begin", begin)

    def handle_sigterm(self, on_kill: Callable[[], None]) -> None:
        """
        Handle SIGTERM as Airflow's task runner does.

        2.11 calls ``on_kill`` and raises an error; 3.x calls ``on_kill``, and the task keeps running until it is killed.

        :param on_kill: The operator's method.
        """

        def terminate(*_: Any) -> None:
            self._state.write("on_kill", "called", True)
            if IS_AIRFLOW_2:
                on_kill()
                raise AirflowTaskTerminated("Task received SIGTERM signal")
            signal.setitimer(signal.ITIMER_REAL, _GRACE_PERIOD)
            on_kill()

        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))


class StateStore:
    """
    Airflow's task state store; the process can be killed before or after it stores the response.

    :param state: Where it stores values.
    :param killer: Kills the process.
    """

    def __init__(self, state: StoredState, killer: Killer) -> None:
        self._state = state
        self._killer = killer

    def get(self, key: str, default: Any = None) -> Any:
        return self._state.read_all("state").get(key, default)

    def set(self, key: str, value: Any) -> None:
        has_response = key == "made" and any("known" in note for note in value.values())
        if has_response:
            self._killer.reach(BEFORE_STORE)
        self._state.write("state", key, value)
        if has_response:
            self._killer.reach(AFTER_STORE)


def _register_handlers(events: dict[str, Callable[..., None]]) -> None:
    """Register event handlers with every boto3 session that this process creates."""
    original_init: Callable[..., None] = boto3.session.Session.__init__

    def init(session: boto3.session.Session, *args: Any, **kwargs: Any) -> None:
        original_init(session, *args, **kwargs)
        for name, handler in events.items():
            session.events.register(name, handler)

    _replace(boto3.session.Session, "__init__", init)


def _replace(owner: Any, name: str, value: Any) -> None:
    """Replace an attribute until the process ends, which is a fork that runs one task process only."""
    setattr(owner, name, value)
