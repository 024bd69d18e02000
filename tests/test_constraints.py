"""The dependencies and pins against lines of the constraints that Airflow publishes; ``nox -s resolve`` asks a resolver as well."""

from __future__ import annotations

from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PINS = Path(__file__).parents[1] / "constraints"
OFFICIAL = sorted(PINS.glob("airflow-*-official.txt"))
DEPENDENCIES = [Requirement(text) for text in requires("airflow-provider-cleanroomsml") or () if "extra ==" not in text]


def pinned(path: Path) -> dict[str, str]:
    lines = [line.partition(" ;")[0] for line in path.read_text().splitlines() if not line.startswith("#")]
    return {name: version for name, _, version in (line.partition("==") for line in lines)}


@pytest.mark.parametrize("official", OFFICIAL, ids=[path.stem for path in OFFICIAL])
def test_what_airflow_publishes_is_allowed(official: Path) -> None:
    versions = pinned(official)
    refused = [one for one in DEPENDENCIES if one.name in versions and not one.specifier.contains(versions[one.name])]
    assert refused == []
    assert "apache-airflow" in versions


@pytest.mark.parametrize("session", ["2.11", "3.0"])
def test_an_older_session_has_what_airflow_published(session: str) -> None:
    pins = pinned(PINS / f"airflow-{session}.txt")
    (official,) = (lines for lines in map(pinned, OFFICIAL) if lines["apache-airflow"] == pins["apache-airflow"])
    assert official.items() <= pins.items()


def test_no_dependency_has_an_upper_bound() -> None:
    assert all(bound.operator == ">=" for one in DEPENDENCIES for bound in one.specifier)
