"""Properties that every exported operator and sensor must have."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore
import pytest
from botocore import xform_name

from airflow_cleanroomsml import operators, sensors
from airflow_cleanroomsml._requests.request import TESTED_BOTOCORE, find_operation, load
from airflow_cleanroomsml._resources.table import RESOURCES
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteOperator
from airflow_cleanroomsml.sensors._resource import CleanRoomsMLSensor
from tests.helpers.exported_classes import (
    OPERATIONS,
    OPERATORS,
    SENSORS,
    every_argument,
    every_operation,
    every_sensor,
    every_task,
    find_shape,
    list_arguments,
    list_members,
    list_required,
)

if TYPE_CHECKING:
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization as Serialized
else:
    try:
        from airflow.sdk import DAG
    except ImportError:  # Airflow 2.11
        from airflow.models.dag import DAG
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialized
    except ImportError:  # Airflow before 3.3
        from airflow.serialization.serialized_objects import SerializedDAG as Serialized

ROOT = Path(__file__).parents[2]
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
EMULATOR = "".join(path.read_text() for path in (ROOT / "airflow_cleanroomsml" / "emulator" / "backend").glob("*.py"))
DOCS = "".join(path.read_text() for path in (ROOT / "docs" / "operators").glob("*.md"))
README = (ROOT / "README.md").read_text()
EXAMPLES = "".join(path.read_text() for path in (ROOT / "example_dags").glob("*.py"))
MUTATING = [name for name in load().operation_names if not name.startswith(("Get", "List"))]
#: Operations whose result is assembled from several response members, or looked up.
COMPOSED = (
    "start_audience_export_job",
    "start_trained_model_export_job",
    "create_configured_audience_model_association",
)


@pytest.mark.parametrize("public", [operators, sensors], ids=["operators", "sensors"])
def test_all_is_sorted_and_complete(public: Any) -> None:
    assert public.__all__ == sorted(public.__all__)
    assert {name for name in dir(public) if name.startswith("CleanRooms")} == set(public.__all__)


@pytest.mark.parametrize("public", [operators, sensors], ids=["operators", "sensors"])
def test_type_checking_imports_match_lazy_imports(public: Any) -> None:
    imports = [node for node in ast.walk(ast.parse(inspect.getsource(public))) if isinstance(node, ast.ImportFrom)]
    typed = {alias.name: node.module for node in imports for alias in node.names if alias.name.startswith("CleanRooms")}
    assert typed == {name: getattr(public, name).__module__ for name in public.__all__}


@pytest.mark.parametrize("public", [operators, sensors], ids=["operators", "sensors"])
def test_misspelt_class_cannot_be_imported(public: Any) -> None:
    misspelt = public.__all__[0].removesuffix("r")
    with pytest.raises(AttributeError, match=f"module '{public.__name__}' has no attribute '{misspelt}'"):
        getattr(public, misspelt)


def test_installed_model_has_mutating_operations() -> None:
    assert len(MUTATING) == 28


@pytest.mark.parametrize("operation", MUTATING)
def test_mutating_operation_has_operator_emulator_example_and_docs(operation: str) -> None:
    operator = f"CleanRoomsML{operation}Operator"
    parts = {
        "operator": operator in operators.__all__,
        "method of the emulator": f"def {xform_name(operation)}(" in EMULATOR,
        "example": bool(re.search(rf"= {operator}(\.partial)?\(", EXAMPLES)),
        "docs entry": f"## {operator}\n" in DOCS,
        "row in the README": f"`{operation}`" in README,
    }
    assert [part for part, exists in parts.items() if not exists] == []


@every_task
def test_example_uses_class(cls: type[Any]) -> None:
    assert re.search(rf"= {cls.__name__}(\.partial)?\(", EXAMPLES)


@every_task
def test_readme_lists_class(cls: type[Any]) -> None:
    name = re.sub("^CleanRooms(ML)?|(Operator|Sensor)$", "", cls.__name__)
    assert f"`{name}`" in README


#: Prints the modules loaded by a Dag file with one operator, and then those loaded by everything that a Dag file may import.
PRINT_LOADED_MODULES = """
import sys
before = set(sys.modules)
from airflow_cleanroomsml.operators import CleanRoomsMLTagResourceOperator
print(*set(sys.modules) - before)
from airflow_cleanroomsml.operators import *
from airflow_cleanroomsml.sensors import *
from airflow_cleanroomsml import exceptions, task_groups, triggers, typing
print(*set(sys.modules) - before)
"""


@pytest.fixture(scope="module")
def loaded_modules() -> tuple[set[str], set[str]]:
    """The modules loaded with one operator, and with everything."""
    process = subprocess.run([sys.executable, "-c", PRINT_LOADED_MODULES], check=True, capture_output=True, text=True)
    one, everything = process.stdout.splitlines()[-2:]
    return set(one.split()), set(everything.split())


def test_dag_file_loads_no_boto3(loaded_modules: tuple[set[str], set[str]]) -> None:
    _, everything = loaded_modules
    assert everything >= {cls.__module__ for cls in (*OPERATORS, *SENSORS)}
    assert not {"boto3", "botocore", "jmespath", "pyarrow", "moto", "airflow_cleanroomsml.hooks"} & everything


def test_dag_file_loads_only_operators_it_imports(loaded_modules: tuple[set[str], set[str]]) -> None:
    one, _ = loaded_modules
    assert one & {cls.__module__ for cls in OPERATORS} == {"airflow_cleanroomsml.operators.tags"}


@every_operation
def test_name_matches_operation(cls: type[CleanRoomsMLOperator]) -> None:
    prefix = {"cleanroomsml": "CleanRoomsML", "cleanrooms": "CleanRooms"}[cls.service]
    assert cls.__name__ == f"{prefix}{find_operation(load(cls.service), cls.operation).name}Operator"


@every_operation
def test_arguments_match_request_members(cls: type[CleanRoomsMLOperator]) -> None:
    if botocore.__version__ == TESTED_BOTOCORE:
        assert set(cls.arguments) == list_members(cls)
    assert set(cls.arguments) >= list_members(cls)
    assert list_required(cls) == {xform_name(name) for name in find_shape(cls).required_members}


@every_task
def test_docstring_lists_arguments_in_order(cls: type[Any]) -> None:
    assert re.findall(r":param (\w+):", cls.__doc__ or "") == list_arguments(cls)


@every_operation
def test_docstring_describes_result_if_there_is_one(cls: type[CleanRoomsMLOperator]) -> None:
    assert (":return:" in (cls.__doc__ or "")) == (cls.returns is not None or cls.operation in COMPOSED)


@every_operation
def test_result_is_in_response(cls: type[CleanRoomsMLOperator]) -> None:
    if cls.returns and cls.operation not in COMPOSED:
        response_shape: Any = find_operation(load(cls.service), cls.operation).output_shape
        assert cls.returns in {xform_name(name) for name in response_shape.members}


@every_operation
def test_base_class_matches_verb_of_operation(cls: type[CleanRoomsMLOperator]) -> None:
    assert issubclass(cls, CleanRoomsMLCreateOperator) == cls.operation.startswith(("create_", "start_"))
    assert issubclass(cls, CleanRoomsMLDeleteOperator) == cls.operation.startswith(("delete_", "cancel_"))


@every_operation
def test_operators_of_jobs_can_wait(cls: type[CleanRoomsMLOperator]) -> None:
    from tests.helpers.exported_classes import WAITING

    noun = re.sub("^(create|start|delete|cancel)_|(_data|_output)$", "", cls.operation)
    statuses = [name for name in load().shape_names if name.lower() == noun.replace("_", "") + "status"]
    takes_time = bool(statuses) and len(load().shape_for(statuses[0]).metadata["enum"]) > 1
    assert issubclass(cls, WAITING) == (takes_time and not cls.operation.startswith("update_"))


@every_task
def test_arguments_are_stored_and_templated(cls: type[Any]) -> None:
    arguments = {name: object() for name in list_arguments(cls)}
    task = cls(task_id="t", **arguments)
    assert {name: getattr(task, name) for name in arguments} == arguments
    assert set(arguments) < set(cls.template_fields)


@every_task
def test_misspelt_argument_is_rejected_when_dag_is_parsed(cls: type[Any]) -> None:
    with pytest.raises(Exception, match="descriptoin"):
        cls(task_id="t", descriptoin="x", **dict.fromkeys(list_required(cls), "x"))


@every_argument
def test_argument_can_be_mapped_and_come_from_xcom(cls: type[Any], argument: str) -> None:
    with DAG("d", schedule=None, start_date=START) as dag:
        source = operators.CleanRoomsMLDeleteTrainingDatasetOperator(task_id="source", training_dataset_arn="x")
        others = dict.fromkeys(list_required(cls) - {argument}, "x")
        plain = cls(task_id="plain", **{argument: source.output}, **others)
        mapped = cls.partial(task_id="mapped", **others).expand(**{argument: source.output})
    assert plain.upstream_task_ids == {"source"}
    assert mapped.upstream_task_ids == {"source"}
    restored = serialise_and_restore(dag)
    assert restored.get_task("plain").upstream_task_ids == {"source"}
    assert restored.get_task("mapped").upstream_task_ids == {"source"}
    assert argument in restored.get_task("plain").template_fields


def serialise_and_restore(dag: DAG) -> Any:
    """Serialise a Dag and restore it, as Airflow does through its database."""
    to_dict = getattr(Serialized, "serialize_dag", None)
    serialised = Serialized.to_dict(dag) if hasattr(Serialized, "to_dict") else to_dict and to_dict(dag)
    return Serialized.from_dict(json.loads(json.dumps(serialised)))


@every_task
def test_arguments_survive_serialisation(cls: type[Any]) -> None:
    with DAG("d", schedule=None, start_date=START) as dag:
        cls(task_id="t", **dict.fromkeys(list_arguments(cls), "{{ ds }}"))
    task = serialise_and_restore(dag).get_task("t")
    assert {name: getattr(task, name) for name in list_arguments(cls)} == dict.fromkeys(list_arguments(cls), "{{ ds }}")


@every_task
def test_subclass_inherits_templates(cls: type[Any]) -> None:
    def initialise(self: Any, *, extra: str = "x", **kwargs: Any) -> None:
        cls.__init__(self, **kwargs)
        self.extra = extra

    subclass: Any = type("Subclass", (cls,), {"__init__": initialise})
    task = subclass(task_id="t", **dict.fromkeys(list_required(cls), "x"))
    assert (subclass.template_fields, task.extra) == (cls.template_fields, "x")


@every_sensor
def test_sensor_is_named_after_resource(cls: type[Any]) -> None:
    if not issubclass(cls, CleanRoomsMLSensor):
        assert cls.__name__ == "CleanRoomsMLNewAudienceGenerationJobsSensor"
        return
    words = cls.resource.noun.replace("ML", "Ml").title().replace("Ml ", "ML ").replace(" ", "")
    assert cls.__name__ == f"CleanRoomsML{words}Sensor"
    assert set(list_arguments(cls)) >= set(cls.resource.identifiers) - {"name"}


def test_every_resource_with_status_has_sensor() -> None:
    nouns_with_sensor = {cls.resource.noun for cls in SENSORS if issubclass(cls, CleanRoomsMLSensor)}
    nouns_with_sensor |= {cls.partners.noun for cls in SENSORS if hasattr(cls, "partners")}
    from airflow_cleanroomsml._requests.request import find_description_shape

    nouns_with_status = {
        noun
        for noun, row in RESOURCES.items()
        if "status" in find_description_shape(row).members
        and len(find_description_shape(row).members["status"].metadata["enum"]) > 1
    }
    assert nouns_with_sensor == nouns_with_status


def test_operators_average_fewer_than_50_lines() -> None:
    sizes = [len(inspect.getsource(cls).splitlines()) for cls in OPERATORS]
    assert sum(sizes) / len(sizes) < 50
    methods = [node.name for cls in OPERATIONS for node in _list_methods(cls) if node.name != "__init__"]
    assert len(methods) <= 11, f"move common methods to the base classes: {methods}"


def _list_methods(cls: type[Any]) -> list[ast.FunctionDef]:
    (definition,) = ast.parse(inspect.getsource(cls)).body
    return [node for node in getattr(definition, "body", []) if isinstance(node, ast.FunctionDef)]


@every_task
def test_mro_is_short(cls: type[Any]) -> None:
    names = [base.__name__ for base in cls.__mro__ if base.__module__.startswith("airflow_cleanroomsml")]
    assert len(names) <= 5, names
