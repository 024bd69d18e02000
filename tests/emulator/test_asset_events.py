"""The table in docs/assets.md documents what the asset events of each class contain."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_cleanroomsml import operators, sensors
from airflow_cleanroomsml._polling import subscription
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.sensors._resource import CleanRoomsMLMemberSensor
from tests.emulator.arguments import ARGUMENTS, Arguments, build_promotion_arguments, build_pruning_arguments
from tests.helpers.exported_classes import OPERATORS, SENSORS, TASKS
from tests.properties.observed_emulator import Laboratory, laboratory
from tests.support import TaskInstance, resume
from tools.docs import FOLDER

#: Arguments with which the event of each class has the most keys.
EVENT_ARGUMENTS: dict[type[Any], Callable[[Laboratory], Arguments]] = {
    **ARGUMENTS,
    operators.CleanRoomsMLPromoteAudienceModelOperator: build_promotion_arguments,
    operators.CleanRoomsMLPruneAudienceModelsOperator: build_pruning_arguments,
    operators.CleanRoomsMLCallOperator: lambda lab: {
        "operation": "create_audience_model",
        "parameters": {"name": "called", "training_dataset_arn": lab.dataset},
    },
}


class Row(NamedTuple):
    """A row of the table: keys of ``extra``, and whether an asset alias receives an event."""

    always: frozenset[str] = frozenset()
    sometimes: frozenset[str] = frozenset()
    has_alias_event: bool = False


def read_table() -> dict[str, Row]:
    """Read the rows of the page by class; the first row of a class that has two."""
    rows: dict[str, Row] = {}
    section = (FOLDER / "assets.md").read_text(encoding="utf-8").partition("## What an event contains")[2]
    for line in section.partition("\n## ")[0].splitlines():
        cells = line.split("|")[1:-1]
        for name in re.findall(r"`(\w+)`", cells[0]) if len(cells) == 4 else ():
            always, sometimes = (frozenset(re.findall(r"`(\w+)`", cell)) for cell in cells[1:3])
            rows.setdefault(name, Row(always, sometimes, cells[3].strip() != "nothing"))
    return {name: row for name, row in rows.items() if name != "extra"}


ROWS = read_table()


def shorten(cls: type[Any]) -> str:
    """Return the short name of a class that the page uses."""
    return cls.__name__.removeprefix("CleanRooms").removeprefix("ML").removesuffix("Operator")


def find_row(cls: type[Any]) -> Row:
    """Return what the page documents about a class, in its table or below it."""
    if cls is operators.CleanRoomsMLCallOperator:
        return Row(frozenset(("audience_model_arn",)), has_alias_event=True)
    if cls in SENSORS and cls is not sensors.CleanRoomsMLNewAudienceGenerationJobsSensor:
        (create,) = (
            operator
            for operator in OPERATORS
            if issubclass(operator, CleanRoomsMLCreateOperator) and operator.resource is cls.resource
        )
        has_alias_event = cls is sensors.CleanRoomsMLAudienceExportJobSensor
        return ROWS[shorten(create)]._replace(has_alias_event=has_alias_event)
    return ROWS.get(shorten(cls), Row())


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with laboratory() as lab, pytest.MonkeyPatch.context() as patch:
        patch.setattr(subscription, "FIRST_DELAY", 0.0)
        yield lab


def run_with_outlets(lab: Laboratory, cls: type[Any], *outlets: Any) -> Any:
    """Run a task of a class, and return the events of its outlets."""
    lab.begin()
    arguments = EVENT_ARGUMENTS[cls](lab)
    if issubclass(cls, CleanRoomsMLCreateOperator):
        arguments = {cls.resource.named: "new", **arguments}
    if cls is sensors.CleanRoomsMLNewAudienceGenerationJobsSensor:
        arguments = {**arguments, "started_by": lab.world.account}
    if issubclass(cls, CleanRoomsMLMemberSensor):
        arguments = {**lab.studio.mine, **arguments}
    if cls in SENSORS:
        # In a worker it would sleep between polls.
        arguments = {**arguments, "deferrable": True}
    operator = cls(task_id="task", outlets=list(outlets), **arguments)
    vars(operator)["hook"] = lab.hook
    events = OutletEventAccessors()
    context: Any = {"params": {}, "ti": TaskInstance(), "outlet_events": events}
    step = partial(operator.execute, context)
    while True:
        try:
            step()
        except TaskDeferred as deferred:
            lab.clock.advance(10_000)
            step = partial(resume, operator, deferred, context)
        else:
            return events


@pytest.mark.parametrize("cls", TASKS)
def test_page_documents_event_contents(lab: Laboratory, cls: type[Any]) -> None:
    asset, alias, row = Asset("asset"), AssetAlias("alias"), find_row(cls)
    events = run_with_outlets(lab, cls, asset, alias)
    extra = events[asset].extra
    assert row.always <= set(extra) <= row.always | row.sometimes
    alias_events = events[alias].asset_alias_events
    assert [event.extra for event in alias_events] == ([extra] if row.has_alias_event else [])


def test_page_names_existing_classes() -> None:
    assert set(ROWS) <= set(map(shorten, TASKS))
