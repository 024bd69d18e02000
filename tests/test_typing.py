"""The types of the operators' arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import airflow
import pytest

from airflow_cleanroomsml import operators, typing
from airflow_cleanroomsml._compat import BaseOperator
from airflow_cleanroomsml.operators.base import CleanRoomsMLOperator

ALL: list[type[CleanRoomsMLOperator]] = [getattr(operators, name) for name in operators.__all__]
AIRFLOWS = set(typing.AirflowKwargs.__annotations__)


def keywords(function: Callable[..., Any]) -> set[str]:
    return {p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}


@pytest.mark.skipif(
    tuple(map(int, airflow.__version__.split(".")[:2])) < (3, 3), reason="the names are those of Airflow 3.3"
)
def test_airflows_own_arguments_are_those_of_its_base_operator() -> None:
    assert keywords(BaseOperator.__init__) == AIRFLOWS


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_an_operator_takes_what_its_bases_take(cls: type[CleanRoomsMLOperator]) -> None:
    bases = cls.__mro__[1 : cls.__mro__.index(BaseOperator)]
    taken = set().union(*(keywords(base.__dict__["__init__"]) for base in bases if "__init__" in base.__dict__))
    name = inspect.signature(cls.__init__).parameters["kwargs"].annotation.removeprefix("Unpack[").removesuffix("]")
    assert set(getattr(typing, name).__annotations__) - AIRFLOWS == taken
