"""Compare dependencies and pins with the constraints that Airflow publishes; ``nox -s resolve`` also runs a resolver."""

from __future__ import annotations

from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PINS = Path(__file__).parents[1] / "constraints"
OFFICIAL = sorted(PINS.glob("airflow-*-official.txt"))
DEPENDENCIES = [Requirement(text) for text in requires("airflow-provider-cleanroomsml") or () if "extra ==" not in text]


def read_pins(path: Path) -> dict[str, str]:
    lines = [line.partition(" ;")[0] for line in path.read_text().splitlines() if not line.startswith("#")]
    return {name: version for name, _, version in (line.partition("==") for line in lines)}


@pytest.mark.parametrize("official", OFFICIAL, ids=[path.stem for path in OFFICIAL])
def test_published_versions_are_allowed(official: Path) -> None:
    versions = read_pins(official)
    rejected = [
        dependency
        for dependency in DEPENDENCIES
        if dependency.name in versions and not dependency.specifier.contains(versions[dependency.name])
    ]
    assert rejected == []
    assert "apache-airflow" in versions


@pytest.mark.parametrize("session", ["2.11", "3.0"])
def test_older_session_pins_published_versions(session: str) -> None:
    pins = read_pins(PINS / f"airflow-{session}.txt")
    (official,) = (lines for lines in map(read_pins, OFFICIAL) if lines["apache-airflow"] == pins["apache-airflow"])
    assert official.items() <= pins.items()


def test_no_dependency_has_an_upper_bound() -> None:
    assert all(bound.operator == ">=" for dependency in DEPENDENCIES for bound in dependency.specifier)
