"""How a process comes to its end at a step: by its own hand, so that it is that step and no other."""

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
    IN_FLIGHT,
    KILL,
    NOTED,
    SOUGHT,
    TRIGGERED,
    UNNOTED,
    UNREAD,
    UNSENT,
    WAITING,
    Kill,
)
from tests.survival.stored_state import Kept

#: Seconds for which a task of Airflow 3 goes on after SIGTERM.
_GOES_ON = 0.05


class Killer:
    """
    Kills this process, once.

    :param kills: When and how, whatever comes first; none leave it alone.
    :param kept: Where it is noted that it did.
    """

    def __init__(self, kills: list[Kill], kept: Kept) -> None:
        self._kills = kills
        self._kept = kept
        self._how = ""

    def at(self, step: str) -> None:
        """Kill this process if this is a step."""
        for kill in self._kills:
            if kill.step == step and not self._how:
                self._how = kill.how
                self._kept.put("strikes", str(len(self._kept.all("strikes"))), [step, kill.how])
                os.kill(os.getpid(), signal.SIGKILL if kill.how == KILL else signal.SIGTERM)

    def arm(self, service: str, operation: str, resource: Resource) -> None:
        """
        Lie in wait where requests go out and answers come in.

        :param service: boto3's name of the service.
        :param operation: boto3's name of the operation that makes something.
        :param resource: What it makes.
        """
        create, listing = (find_operation(load(service), name).name for name in (operation, resource.list))
        events = {
            f"before-send.{service}.{create}": lambda **_: self._going_out(),
            f"response-received.{service}.{create}": lambda **_: self.at(UNREAD),
            f"response-received.{service}.{listing}": lambda **_: self.at(SOUGHT),
            f"response-received.{service}": lambda **_: self.at(TRIGGERED),
        }
        _register(events)
        sleep = _clock.sleep

        def sleeping(seconds: float) -> None:
            self.at(WAITING)
            sleep(seconds)

        _replace(_clock, "sleep", sleeping)
        # What Airflow would say of the task instance: nobody has ended it.
        _replace(cancellation, "read_task_state", lambda _: "running")

    def _going_out(self) -> None:
        self.at(UNSENT)
        begin = http.client.HTTPResponse.begin

        def beginning(answer: http.client.HTTPResponse) -> None:
            _replace(http.client.HTTPResponse, "begin", begin)
            self.at(IN_FLIGHT)
            begin(answer)

        _replace(http.client.HTTPResponse, "begin", beginning)

    def obey(self, on_kill: Callable[[], None]) -> None:
        """
        Take SIGTERM as Airflow's task runner does.

        2.11 calls ``on_kill`` and raises; 3.x calls it, and the task goes on until it is killed.

        :param on_kill: The operator's.
        """

        def terminated(*_: Any) -> None:
            self._kept.put("on_kill", "heard", True)
            if IS_AIRFLOW_2:
                on_kill()
                raise AirflowTaskTerminated("Task received SIGTERM signal")
            signal.setitimer(signal.ITIMER_REAL, _GOES_ON)
            on_kill()

        signal.signal(signal.SIGTERM, terminated)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))


class KillingStore:
    """
    Airflow's task state store.

    :param kept: Where it keeps.
    :param killer: Who may kill before or after.
    """

    def __init__(self, kept: Kept, killer: Killer) -> None:
        self._kept = kept
        self._killer = killer

    def get(self, key: str, default: Any = None) -> Any:
        return self._kept.all("state").get(key, default)

    def set(self, key: str, value: Any) -> None:
        tells = key == "made" and any("known" in note for note in value.values())
        if tells:
            self._killer.at(UNNOTED)
        self._kept.put("state", key, value)
        if tells:
            self._killer.at(NOTED)


def _register(events: dict[str, Callable[..., None]]) -> None:
    """Register handlers with every session of boto3 that this process makes."""
    init: Callable[..., None] = boto3.session.Session.__init__

    def born(session: boto3.session.Session, *given: Any, **named: Any) -> None:
        init(session, *given, **named)
        for name, handler in events.items():
            session.events.register(name, handler)

    _replace(boto3.session.Session, "__init__", born)


def _replace(owner: Any, name: str, value: Any) -> None:
    """In this process alone, which is a fork that ends with its step."""
    setattr(owner, name, value)
