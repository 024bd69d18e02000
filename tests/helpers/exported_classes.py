"""All exported classes, for tests that apply to each of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import pytest
from botocore import xform_name

from airflow_cleanroomsml import operators, sensors
from airflow_cleanroomsml._requests.request import find_operation, load
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteAndWaitOperator
from airflow_cleanroomsml.operators._job import CleanRoomsMLJobOperator

OPERATORS: list[type[Any]] = [getattr(operators, name) for name in operators.__all__]
SENSORS: list[type[Any]] = [getattr(sensors, name) for name in sensors.__all__]
TASKS = [*OPERATORS, *SENSORS]
#: Classes that correspond to one operation of the API.
OPERATIONS: list[type[CleanRoomsMLOperator]] = [cls for cls in OPERATORS if cls.operation]
#: Base classes of those that wait.
WAITING = (CleanRoomsMLJobOperator, CleanRoomsMLDeleteAndWaitOperator)


def list_parameters(cls: type[Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(cls.__init__).parameters


def list_arguments(cls: type[Any]) -> list[str]:
    """Return the arguments of a class, without those that all classes of its kind have."""
    return [name for name, parameter in list_parameters(cls).items() if parameter.kind is parameter.KEYWORD_ONLY]


def list_required(cls: type[Any]) -> set[str]:
    return {name for name in list_arguments(cls) if list_parameters(cls)[name].default is inspect.Parameter.empty}


def find_shape(cls: type[CleanRoomsMLOperator]) -> Any:
    return find_operation(load(cls.service), cls.operation).input_shape


def list_members(cls: type[CleanRoomsMLOperator]) -> set[str]:
    return {xform_name(name) for name in find_shape(cls).members}


def _find_name(cls: type[Any]) -> str:
    return cls.__name__


every_operation = pytest.mark.parametrize("cls", OPERATIONS, ids=_find_name)
every_operator = pytest.mark.parametrize("cls", OPERATORS, ids=_find_name)
every_sensor = pytest.mark.parametrize("cls", SENSORS, ids=_find_name)
every_task = pytest.mark.parametrize("cls", TASKS, ids=_find_name)
every_argument = pytest.mark.parametrize(
    ("cls", "argument"),
    [pytest.param(cls, name, id=f"{cls.__name__}.{name}") for cls in TASKS for name in list_arguments(cls)],
)
