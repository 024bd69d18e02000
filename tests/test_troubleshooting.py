"""Every error has a section on the troubleshooting page, which says correctly whether Airflow retries it."""

from __future__ import annotations

import re

import pytest

from airflow_cleanroomsml import exceptions
from airflow_cleanroomsml._compat import AirflowFailException
from tools.docs import FOLDER

PAGE = (FOLDER / "troubleshooting.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+Error)\n\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
ERRORS = {
    name: cls
    for name, cls in vars(exceptions).items()
    if isinstance(cls, type) and issubclass(cls, exceptions.CleanRoomsMLError)
}


def test_every_error_has_a_section_and_every_section_an_error() -> None:
    assert set(SECTIONS) == set(ERRORS)


@pytest.mark.parametrize("name", ERRORS)
def test_a_section_says_whether_airflow_retries(name: str) -> None:
    retried = not issubclass(ERRORS[name], AirflowFailException)
    assert SECTIONS[name].startswith("Airflow retries it" if retried else "Airflow does not retry it")


@pytest.mark.parametrize("name", ERRORS)
def test_section_says_what_to_do(name: str) -> None:
    # The section also says what happened and what to do.
    assert len(re.split(r"(?<=[.:]) +|\n\n", SECTIONS[name].replace("\n", " "))) >= 3


@pytest.mark.parametrize(("code", "error"), exceptions._BY_CODE.items())
def test_table_links_service_error_to_its_section(code: str, error: type[Exception]) -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith("|") and code in line]
    assert f"#{error.__name__.lower()})" in row
