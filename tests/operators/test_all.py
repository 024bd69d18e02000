"""What holds for every operator, over all that the package exports."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore import xform_name

from airflow_cleanroomsml import operators
from airflow_cleanroomsml.operators.base import CleanRoomsMLCreateOperator, CleanRoomsMLOperator
from airflow_cleanroomsml.service_model import load, operation_model

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

ALL = [getattr(operators, name) for name in operators.__all__]
every_operator = pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
every_argument = pytest.mark.parametrize(
    ("cls", "argument"), [pytest.param(c, a, id=f"{c.operation}.{a}") for c in ALL for a in c.arguments]
)


def shape_of(cls: type[CleanRoomsMLOperator]) -> Any:
    return operation_model(load(), cls.operation).input_shape


def required(cls: type[CleanRoomsMLOperator]) -> set[str]:
    return {xform_name(name) for name in shape_of(cls).required_members}


def parameters(cls: type[CleanRoomsMLOperator]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(cls.__init__).parameters


def test_the_public_surface_is_what_is_exported_in_order() -> None:
    assert operators.__all__ == sorted(operators.__all__)
    public = {name for name in vars(operators) if name.startswith("CleanRooms")}
    assert public == set(operators.__all__)


def test_every_lookalike_operation_that_changes_something_has_its_operator() -> None:
    changing = {
        name
        for name in load().operation_names
        if re.match(r"(Create|Delete|Put|Start|Update)\w*(Audience|TrainingDataset)", name)
    }
    assert {f"CleanRoomsML{name}Operator" for name in changing} == set(operators.__all__)


def test_a_dag_file_loads_no_boto3() -> None:
    modules = "airflow_cleanroomsml.operators", "airflow_cleanroomsml.exceptions", "airflow_cleanroomsml.triggers"
    code = f"import sys; before = set(sys.modules); import {', '.join(modules)}; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "airflow_cleanroomsml.operators.audience_model" in loaded
    assert not {"boto3", "botocore", "pyarrow", "moto", "airflow_cleanroomsml.hooks"} & set(loaded)


@every_operator
def test_the_name_is_the_operations(cls: type[CleanRoomsMLOperator]) -> None:
    assert cls.__name__ == f"CleanRoomsML{operation_model(load(), cls.operation).name}Operator"


@every_operator
def test_arguments_are_the_members_of_the_request(cls: type[CleanRoomsMLOperator]) -> None:
    assert set(cls.arguments) == {xform_name(name) for name in shape_of(cls).members}
    without_default = {name for name in cls.arguments if parameters(cls)[name].default is inspect.Parameter.empty}
    assert without_default == required(cls)


@every_operator
def test_the_docstring_has_every_argument_in_order(cls: type[CleanRoomsMLOperator]) -> None:
    assert cls.__doc__ is not None
    assert re.findall(r":param (\w+):", cls.__doc__) == list(cls.arguments)
    assert (":return:" in cls.__doc__) == (cls.returns is not None or cls.operation == "start_audience_export_job")


@every_operator
def test_the_result_is_in_the_answer(cls: type[CleanRoomsMLOperator]) -> None:
    if cls.returns:
        answer: Any = operation_model(load(), cls.operation).output_shape
        assert cls.returns in {xform_name(name) for name in answer.members}


@every_operator
def test_creates_and_starts_know_if_exists_and_nothing_else_does(cls: type[CleanRoomsMLOperator]) -> None:
    assert issubclass(cls, CleanRoomsMLCreateOperator) == cls.operation.startswith(("create_", "start_"))


@every_operator
def test_arguments_are_kept_as_they_are_and_templated(cls: Any) -> None:
    given = {name: object() for name in cls.arguments}
    task = cls(task_id="t", **given)
    assert {name: getattr(task, name) for name in cls.arguments} == given
    assert set(cls.arguments) < set(cls.template_fields)


@every_operator
def test_a_misspelt_argument_is_refused_when_the_dag_is_parsed(cls: Any) -> None:
    with pytest.raises(Exception, match="descriptoin"):
        cls(task_id="t", descriptoin="x", **dict.fromkeys(required(cls), "x"))


@every_argument
def test_every_argument_can_be_mapped_and_come_from_another_task(cls: Any, argument: str) -> None:
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
        source = operators.CleanRoomsMLDeleteTrainingDatasetOperator(task_id="source", training_dataset_arn="x")
        others = dict.fromkeys(required(cls) - {argument}, "x")
        plain = cls(task_id="plain", **{argument: source.output}, **others)
        mapped = cls.partial(task_id="mapped", **others).expand(**{argument: source.output})
    assert plain.upstream_task_ids == {"source"}
    assert mapped.upstream_task_ids == {"source"}


@every_operator
def test_the_readme_lists_it(cls: type[CleanRoomsMLOperator]) -> None:
    table = (Path(__file__).parents[2] / "README.md").read_text()
    assert f"`{cls.__name__.removeprefix('CleanRoomsML').removesuffix('Operator')}`" in table


@every_operator
def test_it_serialises(cls: Any) -> None:
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
        cls(task_id="t", **dict.fromkeys(cls.arguments, "{{ ds }}"))
    to_dict = getattr(Serialized, "serialize_dag", None) or Serialized.to_dict
    assert "t" in str(to_dict(dag))


@every_operator
def test_a_subclass_of_a_user_inherits(cls: Any) -> None:
    def init(self: Any, *, extra: str = "x", **kwargs: Any) -> None:
        super(own, self).__init__(**kwargs)
        self.extra = extra

    # As a class statement would make it; mypy takes none whose base is a variable.
    own: Any = type("Own", (cls,), {"__init__": init})
    task = own(task_id="t", **dict.fromkeys(required(cls), "x"))
    assert (own.arguments, task.extra) == (cls.arguments, "x")
