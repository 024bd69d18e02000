"""The generated types of nested request members, and their use by the operators."""

from __future__ import annotations

import inspect
from typing import Any

import botocore
import pytest
from botocore import xform_name

from airflow_cleanroomsml import request_types
from airflow_cleanroomsml._requests.request import TESTED_BOTOCORE, find_operation, load
from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator
from tests.helpers.exported_classes import every_operation
from tools.request_types import PATH, build_source, format_templated

reference = pytest.mark.skipif(
    botocore.__version__ != TESTED_BOTOCORE, reason=f"the types are those of botocore {TESTED_BOTOCORE}"
)


@reference
def test_types_match_the_generator() -> None:
    assert PATH.read_text(encoding="utf-8") == build_source(), "run `make request-types`"


def test_members_are_typed_in_the_models_order() -> None:
    assert list(request_types.GlueDataSource.__annotations__) == ["tableName", "databaseName", "catalogId"]


@reference
@every_operation
def test_operators_arguments_have_the_types_of_the_model(cls: type[CleanRoomsMLOperator]) -> None:
    shape: Any = find_operation(load(cls.service), cls.operation).input_shape
    expected = {
        xform_name(name): format_templated(member) + ("" if name in shape.required_members else " | None")
        for name, member in shape.members.items()
    }
    parameters = inspect.signature(cls.__init__).parameters
    assert {name: parameters[name].annotation for name in cls.arguments} == expected
