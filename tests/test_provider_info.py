from __future__ import annotations

import importlib
import json
import subprocess
import sys
import zipfile
from importlib.metadata import distribution, entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from packaging.utils import canonicalize_name

from airflow_cleanroomsml import __version__, get_provider_info

ROOT = Path(__file__).parents[1]
DISTRIBUTION = "airflow-provider-cleanroomsml"

#: Prefix of the modules of base classes, which are not for Dag authors.
PRIVATE = "_"


def list_entries(kind: str) -> list[dict[str, Any]]:
    info: dict[str, Any] = get_provider_info()
    entries: list[dict[str, Any]] = info[kind]
    return entries


def list_declared_modules(kind: str) -> list[str]:
    return [module for entry in list_entries(kind) for module in entry["python-modules"]]


def test_info_fits_schema() -> None:
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    validator = jsonschema.validators.validator_for(schema)
    validator(schema).validate(get_provider_info())


def test_airflow_finds_it() -> None:
    from airflow.providers_manager import ProvidersManager

    provider = ProvidersManager().providers[DISTRIBUTION]
    assert provider.version == __version__
    assert provider.data["name"] == "AWS Clean Rooms ML"


def test_package_name_is_the_canonical_name_of_the_distribution() -> None:
    # If one provider has another name here, Airflow raises an error for all providers.
    name = distribution(DISTRIBUTION).metadata["Name"]
    assert get_provider_info()["package-name"] == canonicalize_name(name)


def test_entry_point_loads_info() -> None:
    points = entry_points(group="apache_airflow_provider")
    functions = [point.load() for point in points if point.dist is not None and point.dist.name == DISTRIBUTION]
    assert functions == [get_provider_info]


def test_each_call_returns_a_new_dictionary() -> None:
    # Airflow adds the documentation's address to the dictionary.
    get_provider_info().clear()
    assert get_provider_info()


@pytest.mark.parametrize("kind", ["operators", "sensors"])
def test_declared_modules_match_those_on_disk(kind: str) -> None:
    folder = ROOT / "airflow_cleanroomsml" / kind
    on_disk = {path.stem for path in folder.glob("*.py") if not path.stem.startswith(PRIVATE)}
    assert sorted(list_declared_modules(kind)) == sorted(f"airflow_cleanroomsml.{kind}.{stem}" for stem in on_disk)


@pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
def test_declared_modules_exist_and_name_a_known_integration(kind: str) -> None:
    integrations = {entry["integration-name"] for entry in list_entries("integrations")}
    assert {entry["integration-name"] for entry in list_entries(kind)} <= integrations
    missing = [
        module for module in list_declared_modules(kind) if not (ROOT / f"{module.replace('.', '/')}.py").is_file()
    ]
    assert missing == []


def test_declared_notifiers_exist() -> None:
    names: Any = get_provider_info()["notifications"]
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)


def test_importing_the_package_loads_nothing_heavy() -> None:
    # Every Airflow process imports the package when it starts.
    code = (
        "import sys; before = set(sys.modules); import airflow_cleanroomsml as package;"
        "package.get_provider_info(); print(*sorted(set(sys.modules) - before))"
    )
    completed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert completed.stdout.split() == ["airflow_cleanroomsml"]


def test_wheel_has_only_the_package(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    folders = {name.partition("/")[0] for name in names}
    assert folders == {"airflow_cleanroomsml", f"airflow_provider_cleanroomsml-{__version__}.dist-info"}
    assert "airflow_cleanroomsml/py.typed" in names
    assert {name.rpartition("/")[2] for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}
