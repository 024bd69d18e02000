"""What holds for every operator and sensor, over all that the package exports."""

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
CHANGING = [name for name in load().operation_names if not name.startswith(("Get", "List"))]
#: Whose result is put together from several members, or looked up.
COMPOSED = (
    "start_audience_export_job",
    "start_trained_model_export_job",
    "create_configured_audience_model_association",
)


@pytest.mark.parametrize("public", [operators, sensors], ids=["operators", "sensors"])
def test_the_public_surface_is_what_is_exported_in_order(public: Any) -> None:
    assert public.__all__ == sorted(public.__all__)
    assert {name for name in dir(public) if name.startswith("CleanRooms")} == set(public.__all__)


@pytest.mark.parametrize("public", [operators, sensors], ids=["operators", "sensors"])
def test_type_checkers_find_each_class_in_the_module_that_it_is_loaded_from(public: Any) -> None:
    imports = [node for node in ast.walk(ast.parse(inspect.getsource(public))) if isinstance(node, ast.ImportFrom)]
    typed = {alias.name: node.module for node in imports for alias in node.names if alias.name.startswith("CleanRooms")}
    assert typed == {name: getattr(public, name).__module__ for name in public.__all__}


@pytest.mark.parametrize("public", [operators, sensors], ids=["operators", "sensors"])
def test_a_misspelt_class_cannot_be_imported(public: Any) -> None:
    misspelt = public.__all__[0].removesuffix("r")
    with pytest.raises(AttributeError, match=f"module '{public.__name__}' has no attribute '{misspelt}'"):
        getattr(public, misspelt)


def test_the_installed_model_has_operations_that_change_something() -> None:
    assert len(CHANGING) == 28


@pytest.mark.parametrize("operation", CHANGING)
def test_every_operation_that_changes_something_has_all_that_belongs_to_it(operation: str) -> None:
    operator = f"CleanRoomsML{operation}Operator"
    there = {
        "operator": operator in operators.__all__,
        "method of the emulator": f"def {xform_name(operation)}(" in EMULATOR,
        "example": bool(re.search(rf"= {operator}(\.partial)?\(", EXAMPLES)),
        "docs entry": f"## {operator}\n" in DOCS,
        "row in the README": f"`{operation}`" in README,
    }
    assert [what for what, found in there.items() if not found] == []


@every_task
def test_it_is_shown_in_an_example(cls: type[Any]) -> None:
    assert re.search(rf"= {cls.__name__}(\.partial)?\(", EXAMPLES)


@every_task
def test_the_readme_lists_it(cls: type[Any]) -> None:
    name = re.sub("^CleanRooms(ML)?|(Operator|Sensor)$", "", cls.__name__)
    assert f"`{name}`" in README


#: Prints the modules that a Dag file with one operator loads, and then those that everything loads that a Dag file may import.
LOADED = """
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
def loaded() -> tuple[set[str], set[str]]:
    """The modules that are loaded with one operator, and with everything."""
    done = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True)
    one, everything = done.stdout.splitlines()[-2:]
    return set(one.split()), set(everything.split())


def test_a_dag_file_loads_no_boto3(loaded: tuple[set[str], set[str]]) -> None:
    _, everything = loaded
    assert everything >= {cls.__module__ for cls in (*OPERATORS, *SENSORS)}
    assert not {"boto3", "botocore", "jmespath", "pyarrow", "moto", "airflow_cleanroomsml.hooks"} & everything


def test_a_dag_file_loads_the_operators_that_it_imports(loaded: tuple[set[str], set[str]]) -> None:
    one, _ = loaded
    assert one & {cls.__module__ for cls in OPERATORS} == {"airflow_cleanroomsml.operators.tags"}


@every_operation
def test_the_name_is_the_operations(cls: type[CleanRoomsMLOperator]) -> None:
    prefix = {"cleanroomsml": "CleanRoomsML", "cleanrooms": "CleanRooms"}[cls.service]
    assert cls.__name__ == f"{prefix}{find_operation(load(cls.service), cls.operation).name}Operator"


@every_operation
def test_arguments_are_the_members_of_the_request(cls: type[CleanRoomsMLOperator]) -> None:
    if botocore.__version__ == TESTED_BOTOCORE:
        assert set(cls.arguments) == list_members(cls)
    assert set(cls.arguments) >= list_members(cls)
    assert list_required(cls) == {xform_name(name) for name in find_shape(cls).required_members}


@every_task
def test_the_docstring_has_every_argument_in_order(cls: type[Any]) -> None:
    assert re.findall(r":param (\w+):", cls.__doc__ or "") == list_arguments(cls)


@every_operation
def test_the_docstring_tells_a_result_where_there_is_one(cls: type[CleanRoomsMLOperator]) -> None:
    assert (":return:" in (cls.__doc__ or "")) == (cls.returns is not None or cls.operation in COMPOSED)


@every_operation
def test_the_result_is_in_the_answer(cls: type[CleanRoomsMLOperator]) -> None:
    if cls.returns and cls.operation not in COMPOSED:
        answer: Any = find_operation(load(cls.service), cls.operation).output_shape
        assert cls.returns in {xform_name(name) for name in answer.members}


@every_operation
def test_creates_and_starts_know_if_exists_and_deletes_take_gone_for_success(cls: type[CleanRoomsMLOperator]) -> None:
    assert issubclass(cls, CleanRoomsMLCreateOperator) == cls.operation.startswith(("create_", "start_"))
    assert issubclass(cls, CleanRoomsMLDeleteOperator) == cls.operation.startswith(("delete_", "cancel_"))


@every_operation
def test_what_takes_time_is_waited_for(cls: type[CleanRoomsMLOperator]) -> None:
    from tests.helpers.exported_classes import WAITING

    noun = re.sub("^(create|start|delete|cancel)_|(_data|_output)$", "", cls.operation)
    statuses = [name for name in load().shape_names if name.lower() == noun.replace("_", "") + "status"]
    lasts = bool(statuses) and len(load().shape_for(statuses[0]).metadata["enum"]) > 1
    assert issubclass(cls, WAITING) == (lasts and not cls.operation.startswith("update_"))


@every_task
def test_arguments_are_kept_as_they_are_and_templated(cls: type[Any]) -> None:
    given = {name: object() for name in list_arguments(cls)}
    task = cls(task_id="t", **given)
    assert {name: getattr(task, name) for name in given} == given
    assert set(given) < set(cls.template_fields)


@every_task
def test_a_misspelt_argument_is_refused_when_the_dag_is_parsed(cls: type[Any]) -> None:
    with pytest.raises(Exception, match="descriptoin"):
        cls(task_id="t", descriptoin="x", **dict.fromkeys(list_required(cls), "x"))


@every_argument
def test_every_argument_can_be_mapped_and_come_from_another_task(cls: type[Any], argument: str) -> None:
    with DAG("d", schedule=None, start_date=START) as dag:
        source = operators.CleanRoomsMLDeleteTrainingDatasetOperator(task_id="source", training_dataset_arn="x")
        others = dict.fromkeys(list_required(cls) - {argument}, "x")
        plain = cls(task_id="plain", **{argument: source.output}, **others)
        mapped = cls.partial(task_id="mapped", **others).expand(**{argument: source.output})
    assert plain.upstream_task_ids == {"source"}
    assert mapped.upstream_task_ids == {"source"}
    back = there_and_back(dag)
    assert back.get_task("plain").upstream_task_ids == {"source"}
    assert back.get_task("mapped").upstream_task_ids == {"source"}
    assert argument in back.get_task("plain").template_fields


def there_and_back(dag: DAG) -> Any:
    """A Dag through the database."""
    to_dict = getattr(Serialized, "serialize_dag", None)
    written = Serialized.to_dict(dag) if hasattr(Serialized, "to_dict") else to_dict and to_dict(dag)
    return Serialized.from_dict(json.loads(json.dumps(written)))


@every_task
def test_it_serialises_with_all_its_arguments(cls: type[Any]) -> None:
    with DAG("d", schedule=None, start_date=START) as dag:
        cls(task_id="t", **dict.fromkeys(list_arguments(cls), "{{ ds }}"))
    task = there_and_back(dag).get_task("t")
    assert {name: getattr(task, name) for name in list_arguments(cls)} == dict.fromkeys(list_arguments(cls), "{{ ds }}")


@every_task
def test_a_subclass_of_a_user_inherits(cls: type[Any]) -> None:
    def initialise(self: Any, *, extra: str = "x", **kwargs: Any) -> None:
        cls.__init__(self, **kwargs)
        self.extra = extra

    own: Any = type("Own", (cls,), {"__init__": initialise})
    task = own(task_id="t", **dict.fromkeys(list_required(cls), "x"))
    assert (own.template_fields, task.extra) == (cls.template_fields, "x")


@every_sensor
def test_a_sensor_is_named_after_what_it_waits_for(cls: type[Any]) -> None:
    if not issubclass(cls, CleanRoomsMLSensor):
        assert cls.__name__ == "CleanRoomsMLNewAudienceGenerationJobsSensor"
        return
    words = cls.resource.noun.replace("ML", "Ml").title().replace("Ml ", "ML ").replace(" ", "")
    assert cls.__name__ == f"CleanRoomsML{words}Sensor"
    assert set(list_arguments(cls)) >= set(cls.resource.identifiers) - {"name"}


def test_everything_that_has_a_status_to_wait_for_has_a_sensor() -> None:
    sensed = {cls.resource.noun for cls in SENSORS if issubclass(cls, CleanRoomsMLSensor)}
    sensed |= {cls.partners.noun for cls in SENSORS if hasattr(cls, "partners")}
    from airflow_cleanroomsml._requests.request import find_description_shape

    with_status = {
        noun
        for noun, row in RESOURCES.items()
        if "status" in find_description_shape(row).members
        and len(find_description_shape(row).members["status"].metadata["enum"]) > 1
    }
    assert sensed == with_status


def test_an_operator_takes_fewer_than_50_lines_on_average() -> None:
    sizes = [len(inspect.getsource(cls).splitlines()) for cls in OPERATORS]
    assert sum(sizes) / len(sizes) < 50
    own = [node.name for cls in OPERATIONS for node in _methods(cls) if node.name != "__init__"]
    assert len(own) <= 11, f"what is common stands in the bases: {own}"


def _methods(cls: type[Any]) -> list[ast.FunctionDef]:
    (found,) = ast.parse(inspect.getsource(cls)).body
    return [node for node in getattr(found, "body", []) if isinstance(node, ast.FunctionDef)]


@every_task
def test_the_chain_of_classes_is_short(cls: type[Any]) -> None:
    own = [base.__name__ for base in cls.__mro__ if base.__module__.startswith("airflow_cleanroomsml")]
    assert len(own) <= 5, own
