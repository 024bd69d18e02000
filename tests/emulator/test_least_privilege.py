"""A role with the permissions of a page can do what the page says, and each of them is needed for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_cleanroomsml._polling import subscription
from airflow_cleanroomsml.exceptions import AccessDeniedError
from airflow_cleanroomsml.operators import CleanRoomsMLCallOperator
from tests.emulator.arguments import ARGUMENTS
from tests.emulator.scenarios import IncompleteMessageError, Situation, runs, situations
from tests.helpers.exported_classes import SENSORS, TASKS, every_task
from tests.properties.observed_emulator import Laboratory, laboratory
from tools.docs import list_classes, list_modules
from tools.permissions import build_policy, group_permissions

SITUATIONS = [situation for cls in TASKS if cls in ARGUMENTS for situation in situations(cls)]
every_situation = pytest.mark.parametrize(
    "situation", SITUATIONS, ids=[f"{situation.cls.__name__} {situation.title}" for situation in SITUATIONS]
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    """An emulator in this process, whose clock stands; the first look of a trigger waits for no others."""
    with laboratory() as found, pytest.MonkeyPatch.context() as patch:
        patch.setattr(subscription, "FIRST_DELAY", 0.0)
        yield found


def listed(cls: type[Any]) -> set[str]:
    """All actions of a page."""
    return {action for actions in group_permissions(cls).values() for action in actions}


@every_situation
def test_the_documented_permissions_suffice(lab: Laboratory, situation: Situation) -> None:
    needed = situation.play(lab, situation.allowed)
    assert needed - listed(situation.cls) == set()


@every_situation
def test_each_documented_permission_is_needed(lab: Laboratory, situation: Situation) -> None:
    optional = all(case.when.startswith("optional") for case in situation.proves)
    for action in situation.proven:
        others = [allowed for allowed in situation.allowed if allowed != action]
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


BY_DEFAULT = [situation for situation in SITUATIONS if all(case.by_default for case in situation.cases)]


#: The classes of each page.
PAGES: dict[str, list[type[Any]]] = {module.__name__: list_classes(module) for module in list_modules()} | {
    "sensors": SENSORS
}


@pytest.mark.parametrize("page", PAGES)
def test_the_documented_policy_suffices_without_optional_arguments(lab: Laboratory, page: str) -> None:
    statements = json.loads(build_policy(PAGES[page]))["Statement"]
    actions = [action for statement in statements for action in _list(statement["Action"])]
    for situation in BY_DEFAULT:
        if situation.cls in PAGES[page]:
            situation.play(lab, actions)


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("operation", "service", "action"),
    [
        ("list_audience_models", "cleanroomsml", "cleanrooms-ml:ListAudienceModels"),
        ("list_memberships", "cleanrooms", "cleanrooms:ListMemberships"),
    ],
)
def test_a_call_needs_the_permissions_of_its_operation(
    lab: Laboratory, operation: str, service: str, action: str
) -> None:
    called = Situation(CleanRoomsMLCallOperator, "runs", runs, lambda _: {"operation": operation, "service": service})
    assert called.play(lab, [action]) == {action}
    with pytest.raises(AccessDeniedError):
        called.play(lab, [])
