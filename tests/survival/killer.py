"""How a process comes to its end at a step: by its own hand, so that it is that step and no other."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Callable
from typing import Any

import boto3

from airflow_cleanroomsml import clock
from airflow_cleanroomsml.resources import Resource
from airflow_cleanroomsml.service_model import load, operation_model
from tests.survival.cases import (
    IN_FLIGHT,
    KILL,
    NOTED,
    SOUGHT,
    TERM_THEN_KILL,
    TRIGGERED,
    UNNOTED,
    UNREAD,
    UNSENT,
    WAITING,
    Kill,
)
from tests.survival.kept import Kept

#: Seconds for which a task of Airflow 3 goes on after SIGTERM.
_GOES_ON = 0.05


class Terminated(BaseException):
    """What Airflow 2.11 raises in a task that gets SIGTERM."""


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
        create, listing = (operation_model(load(service), name).name for name in (operation, resource.list))
        events = {
            f"before-send.{service}.{create}": lambda **_: self._going_out(),
            f"response-received.{service}.{create}": lambda **_: self.at(UNREAD),
            f"response-received.{service}.{listing}": lambda **_: self.at(SOUGHT),
            f"response-received.{service}": lambda **_: self.at(TRIGGERED),
        }
        _register(events)
        sleep = clock.sleep

        def sleeping(seconds: float) -> None:
            self.at(WAITING)
            sleep(seconds)

        _replace(clock, "sleep", sleeping)

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

        :param on_kill: The operator's.
        """

        def terminated(*_: Any) -> None:
            on_kill()
            self._kept.put("on_kill", "heard", True)
            if self._how != TERM_THEN_KILL:
                raise Terminated
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            signal.setitimer(signal.ITIMER_REAL, _GOES_ON)

        signal.signal(signal.SIGTERM, terminated)


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
