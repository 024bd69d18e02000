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
AIRFLOW_ARGUMENTS = set(typing.AirflowKwargs.__annotations__)


def list_keywords(function: Callable[..., Any]) -> set[str]:
    return {p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}


@pytest.mark.skipif(
    tuple(map(int, airflow.__version__.split(".")[:2])) < (3, 3), reason="the names are those of Airflow 3.3"
)
def test_airflows_arguments_match_its_base_operator() -> None:
    assert list_keywords(BaseOperator.__init__) == AIRFLOW_ARGUMENTS


@every_task
def test_operator_takes_arguments_of_its_bases(cls: type[Any]) -> None:
    bases = cls.__mro__[1 : cls.__mro__.index(BaseOperator)]
    accepted = set().union(*(list_keywords(base.__dict__["__init__"]) for base in bases if "__init__" in base.__dict__))
    name = inspect.signature(cls.__init__).parameters["kwargs"].annotation.removeprefix("Unpack[").removesuffix("]")
    assert set(getattr(typing, name).__annotations__) - AIRFLOW_ARGUMENTS == accepted


def list_expected_errors(file: Path) -> list[tuple[str, int, str]]:
    """List the errors that a file announces in comments: file, line and mypy's code."""
    matches = [(number, re.search(r"# error: ([a-z, -]+)$", line)) for number, line in enumerate(file.open(), 1)]
    return [(file.name, number, code) for number, match in matches if match for code in match[1].split(", ")]


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed here")
def test_mypy_accepts_good_file_and_finds_planted_errors() -> None:
    good, bad = ROOT / "tests" / "typing" / "good.py", ROOT / "tests" / "typing" / "bad.py"
    options = ["--no-pretty", "--no-color-output", "--hide-error-context"]
    completed = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(good), str(bad)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = re.findall(r"(\w+\.py):(\d+): error: .*\[([a-z-]+)\]$", completed.stdout, re.MULTILINE)
    assert [(name, int(line), code) for name, line, code in errors] == list_expected_errors(bad), (
        completed.stdout + completed.stderr
    )
