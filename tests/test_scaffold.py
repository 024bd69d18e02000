"""What the scaffold writes, against the operators that are finished and the operations of the model."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import botocore
import pytest

from airflow_cleanroomsml import operators
from airflow_cleanroomsml.operators.base import (
    CleanRoomsMLCreateOperator,
    CleanRoomsMLDeleteOperator,
    CleanRoomsMLOperator,
    CleanRoomsMLWaitingOperator,
)
from airflow_cleanroomsml.service_model import TESTED_BOTOCORE, argument_members
from tools.request_types import operations
from tools.scaffold import scaffold

pytestmark = pytest.mark.skipif(
    botocore.__version__ != TESTED_BOTOCORE, reason=f"operators are written from botocore {TESTED_BOTOCORE}"
)
MODELS = {model.name: model for model in operations()}
BASES = (CleanRoomsMLCreateOperator, CleanRoomsMLDeleteOperator, CleanRoomsMLWaitingOperator)


@pytest.mark.parametrize("operation", MODELS)
def test_arguments_are_those_of_the_model_required_ones_first(operation: str) -> None:
    function = next(node for node in ast.walk(ast.parse(scaffold(operation))) if isinstance(node, ast.FunctionDef))
    model, arguments = MODELS[operation], function.args
    assert {argument.arg for argument in arguments.kwonlyargs} == set(argument_members(model))
    has_default = [default is not None for default in arguments.kw_defaults]
    assert has_default == sorted(has_default)
    assert model.input_shape
    assert has_default.count(False) == len(model.input_shape.required_members)


@pytest.mark.parametrize("name", operators.__all__)
def test_it_is_what_a_finished_operator_is(name: str) -> None:
    finished = getattr(operators, name)
    module: dict[str, Any] = {"__name__": "scratch"}
    exec(scaffold(name.removeprefix("CleanRoomsML").removesuffix("Operator")), module)
    written: type[CleanRoomsMLOperator] = module[name]
    parameters = [inspect.signature(cls.__init__).parameters for cls in (written, finished)]
    assert dict(parameters[0]) == dict(parameters[1])
    assert [issubclass(written, base) for base in BASES] == [issubclass(finished, base) for base in BASES]
    given: dict[str, Any] = {argument: object() for argument in finished.arguments}
    task = written(task_id="t", **given)
    assert {argument: getattr(task, argument) for argument in given} == given


def test_an_unknown_operation_is_named() -> None:
    with pytest.raises(SystemExit, match="CreateAudienceModle.*CreateAudienceModel,"):
        scaffold("CreateAudienceModle")
