"""The scaffold's output, compared with the finished operators and the operations of the model."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import botocore
import pytest

from airflow_cleanroomsml._requests.request import TESTED_BOTOCORE, find_operation, load, map_arguments
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteOperator
from tests.helpers.exported_classes import WAITING, every_operation
from tools.request_types import iterate_operations
from tools.scaffold import build_scaffold

pytestmark = pytest.mark.skipif(
    botocore.__version__ != TESTED_BOTOCORE, reason=f"operators are written from botocore {TESTED_BOTOCORE}"
)
MODELS = {model.name: model for model in iterate_operations()}
BASES = (CleanRoomsMLCreateOperator, CleanRoomsMLDeleteOperator, *WAITING)


@pytest.mark.parametrize("operation", MODELS)
def test_arguments_match_model_with_required_ones_first(operation: str) -> None:
    function = next(
        node for node in ast.walk(ast.parse(build_scaffold(operation))) if isinstance(node, ast.FunctionDef)
    )
    model, arguments = MODELS[operation], function.args
    assert {argument.arg for argument in arguments.kwonlyargs} == set(map_arguments(model))
    has_default = [default is not None for default in arguments.kw_defaults]
    assert has_default == sorted(has_default)
    assert model.input_shape
    assert has_default.count(False) == len(model.input_shape.required_members)


@every_operation
def test_class_matches_finished_operator(cls: type[CleanRoomsMLOperator]) -> None:
    module: dict[str, Any] = {"__name__": "scratch"}
    exec(build_scaffold(find_operation(load(cls.service), cls.operation).name), module)
    scaffold: type[CleanRoomsMLOperator] = module[cls.__name__]
    parameters = [inspect.signature(each.__init__).parameters for each in (scaffold, cls)]
    assert dict(parameters[0]) == dict(parameters[1])
    assert scaffold.service == cls.service
    assert [issubclass(scaffold, base) for base in BASES] == [issubclass(cls, base) for base in BASES]
    arguments: dict[str, Any] = {argument: object() for argument in cls.arguments}
    task = scaffold(task_id="t", **arguments)
    assert {argument: getattr(task, argument) for argument in arguments} == arguments


def test_error_names_unknown_operation() -> None:
    with pytest.raises(SystemExit, match="CreateAudienceModle.*CreateAudienceModel,"):
        build_scaffold("CreateAudienceModle")
