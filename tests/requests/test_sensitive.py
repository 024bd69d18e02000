"""The code, the service model and docs/design/confidentiality.md agree on what is confidential."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_cleanroomsml._requests.request import load
from airflow_cleanroomsml._requests.sensitive import hide, holds_sensitive, is_sensitive
from airflow_cleanroomsml._resources.table import CLEAN_ROOMS_ML
from airflow_cleanroomsml.exceptions import InvalidRequestError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from tests.support import World

PAGE = (Path(__file__).parents[2] / "docs" / "design" / "confidentiality.md").read_text("utf-8")


def list_names(heading: str) -> set[str]:
    """Return the members that are named in a section of the page."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"`(\w+)`", section))


def iterate_members(shape: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the members of a shape at any depth, with their names; omit those inside a confidential one."""
    if name:
        yield name, shape
    if is_sensitive(shape):
        return
    if shape.type_name == "structure":
        for child, member in shape.members.items():
            yield from iterate_members(member, child)
    elif shape.type_name == "list":
        yield from iterate_members(shape.member, name)


MODEL = load(CLEAN_ROOMS_ML)
MEMBERS = [
    (name, shape)
    for operation in map(MODEL.operation_model, MODEL.operation_names)
    if operation.input_shape
    for name, shape in iterate_members(operation.input_shape)
]


def test_page_lists_every_map_with_keys_chosen_by_users() -> None:
    maps = {name: is_sensitive(shape) for name, shape in MEMBERS if shape.type_name == "map"}
    assert {name for name, is_confidential in maps.items() if is_confidential} <= list_names("What is confidential")
    assert {name for name, is_confidential in maps.items() if not is_confidential} <= list_names(
        "What is not confidential"
    )
    assert {"hyperparameters", "environment"} <= maps.keys()


def test_members_that_are_not_confidential_are_shown() -> None:
    names = list_names("What is not confidential")
    members = [(name, shape) for name, shape in MEMBERS if name in names]
    # Older versions of botocore lack some of them.
    assert {"hyperparameters", "arguments", "tags"} <= {name for name, _ in members}
    assert [name for name, shape in members if holds_sensitive(shape)] == []


def test_members_marked_in_the_model_are_hidden() -> None:
    marked = [shape for _, shape in MEMBERS if shape.metadata.get("sensitive")]
    assert marked
    assert {repr(hide(shape, "secret")) for shape in marked} == {"***"}


@pytest.mark.parametrize(("member", "is_shown"), [("hyperparameters", True), ("environment", False)])
def test_violation_shows_hyperparameters_but_no_variables(empty_world: World, member: str, is_shown: bool) -> None:
    value = {"rate": ["marker"]}
    with pytest.raises(InvalidRequestError) as caught:
        CleanRoomsMLHook().check("create_trained_model", {member: value})
    (violation,) = (text for text in caught.value.violations if text.startswith(member))
    assert ("marker" in violation, "rate" in violation) == (is_shown, is_shown)
    assert empty_world.calls == []
