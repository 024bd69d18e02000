"""The permissions that a page documents suffice for what it describes, and each of them is needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_cleanroomsml._polling import subscription
from airflow_cleanroomsml.exceptions import AccessDeniedError
from airflow_cleanroomsml.operators import CleanRoomsMLCallOperator
from tests.emulator.arguments import ARGUMENTS
from tests.emulator.scenarios import IncompleteMessageError, Situation, list_situations, run_once
from tests.helpers.exported_classes import SENSORS, TASKS, every_task
from tests.properties.observed_emulator import Laboratory, laboratory
from tools.docs import list_classes, list_modules
from tools.permissions import build_policy, group_permissions

SITUATIONS = [situation for cls in TASKS if cls in ARGUMENTS for situation in list_situations(cls)]
every_situation = pytest.mark.parametrize(
    "situation", SITUATIONS, ids=[f"{situation.cls.__name__} {situation.title}" for situation in SITUATIONS]
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    """An emulator in this process with a frozen clock; a trigger polls at once instead of waiting for others to join."""
    with laboratory() as lab, pytest.MonkeyPatch.context() as patch:
        patch.setattr(subscription, "FIRST_DELAY", 0.0)
        yield lab


def list_documented(cls: type[Any]) -> set[str]:
    """List all actions that the page of a class documents."""
    return {action for actions in group_permissions(cls).values() for action in actions}


@every_situation
def test_documented_permissions_suffice(lab: Laboratory, situation: Situation) -> None:
    needed = situation.play(lab, situation.allowed)
    assert needed - list_documented(situation.cls) == set()


@every_situation
def test_each_documented_permission_is_needed(lab: Laboratory, situation: Situation) -> None:
    optional = all(case.when.startswith("optional") for case in situation.proves)
    for action in situation.proven:
        others = [other for other in situation.allowed if other != action]
        with pytest.raises(Exception, match="is not authorized to perform|the message is incomplete") as caught:
            situation.play(lab, others)
        assert isinstance(caught.value, IncompleteMessageError) == optional, action


@every_task
def test_every_documented_case_has_a_situation(cls: type[Any]) -> None:
    assert cls in {*ARGUMENTS, CleanRoomsMLCallOperator}, (
        f"tests/emulator/arguments.py has no arguments of {cls.__name__}"
    )
    proven = {case for situation in SITUATIONS if situation.cls is cls for case in situation.proves}
    assert set(group_permissions(cls)) - proven == set()


DEFAULT_SITUATIONS = [situation for situation in SITUATIONS if all(case.by_default for case in situation.cases)]


#: The classes that each page documents.
PAGES: dict[str, list[type[Any]]] = {module.__name__: list_classes(module) for module in list_modules()} | {
    "sensors": SENSORS
}


@pytest.mark.parametrize("page", PAGES)
def test_documented_policy_suffices_without_optional_arguments(lab: Laboratory, page: str) -> None:
    statements = json.loads(build_policy(PAGES[page]))["Statement"]
    actions = [action for statement in statements for action in _make_list(statement["Action"])]
    for situation in DEFAULT_SITUATIONS:
        if situation.cls in PAGES[page]:
            situation.play(lab, actions)


def _make_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("operation", "service", "action"),
    [
        ("list_audience_models", "cleanroomsml", "cleanrooms-ml:ListAudienceModels"),
        ("list_memberships", "cleanrooms", "cleanrooms:ListMemberships"),
    ],
)
def test_call_needs_permission_of_its_operation(lab: Laboratory, operation: str, service: str, action: str) -> None:
    situation = Situation(
        CleanRoomsMLCallOperator, "runs", run_once, lambda _: {"operation": operation, "service": service}
    )
    assert situation.play(lab, [action]) == {action}
    with pytest.raises(AccessDeniedError):
        situation.play(lab, [])
