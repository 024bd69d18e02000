"""The types of the operators' arguments."""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import airflow
import pytest

from airflow_cleanroomsml import typing
from airflow_cleanroomsml._compat import BaseOperator
from tests.helpers.exported_classes import every_task

ROOT = Path(__file__).parents[1]
AIRFLOWS = set(typing.AirflowKwargs.__annotations__)


def keywords(function: Callable[..., Any]) -> set[str]:
    return {p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}


@pytest.mark.skipif(
    tuple(map(int, airflow.__version__.split(".")[:2])) < (3, 3), reason="the names are those of Airflow 3.3"
)
def test_airflows_own_arguments_are_those_of_its_base_operator() -> None:
    assert keywords(BaseOperator.__init__) == AIRFLOWS


@every_task
def test_an_operator_takes_what_its_bases_take(cls: type[Any]) -> None:
    bases = cls.__mro__[1 : cls.__mro__.index(BaseOperator)]
    taken = set().union(*(keywords(base.__dict__["__init__"]) for base in bases if "__init__" in base.__dict__))
    name = inspect.signature(cls.__init__).parameters["kwargs"].annotation.removeprefix("Unpack[").removesuffix("]")
    assert set(getattr(typing, name).__annotations__) - AIRFLOWS == taken


def planted(file: Path) -> list[tuple[str, int, str]]:
    """The errors that a file announces in comments: file, line and mypy's code."""
    found = [(number, re.search(r"# error: ([a-z, -]+)$", line)) for number, line in enumerate(file.open(), 1)]
    return [(file.name, number, code) for number, match in found if match for code in match[1].split(", ")]


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed here")
def test_mypy_allows_what_is_right_and_finds_what_is_planted() -> None:
    good, bad = ROOT / "tests" / "typing" / "good.py", ROOT / "tests" / "typing" / "bad.py"
    options = ["--no-pretty", "--no-color-output", "--hide-error-context"]
    run = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(good), str(bad)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"(\w+\.py):(\d+): error: .*\[([a-z-]+)\]$", run.stdout, re.MULTILINE)
    assert [(name, int(line), code) for name, line, code in found] == planted(bad), run.stdout + run.stderr
