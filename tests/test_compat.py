"""Private parts of others that serve an optimisation: without them a wait takes longer, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.parsers import ResponseParserFactory

from airflow_cleanroomsml import _compat
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from tests.support import World
from tests.test_triggers import event_of, in_training, wait_for


class OtherSession:
    """A session of boto3 whose private part has another name."""

    def __init__(self, session: Any) -> None:
        self._boto3 = session

    def __getattr__(self, name: str) -> Any:
        if name == "_session":
            raise AttributeError(name)
        return getattr(self._boto3, name)


def without_session(monkeypatch: pytest.MonkeyPatch) -> None:
    make = CleanRoomsMLHook.__dict__["_session"]

    def hidden(hook: CleanRoomsMLHook) -> Any:
        return vars(hook).setdefault("_session", OtherSession(make.__get__(hook)))

    monkeypatch.setattr(CleanRoomsMLHook, "_session", property(hidden))


def without_parser_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ResponseParserFactory, "set_parser_defaults")


def without_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a release of the amazon provider that finds the caller in another way."""
    monkeypatch.delattr(_compat.NamedCaller, "_get_caller")
    monkeypatch.delattr(CleanRoomsMLHook, "_get_caller")
    assert hasattr(AwsBaseHook, "_get_caller")


@pytest.mark.parametrize("remove", [without_session, without_parser_defaults, without_caller])
def test_a_wait_does_without(
    world: World, remove: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = wait_for(in_training(world))
    remove(monkeypatch)
    seen = event_of(wait)["poll_result"]
    assert (seen["status"], seen["outcome"]) == ("ACTIVE", "success")
