"""What the backend has of its services."""

from __future__ import annotations

import pytest
from botocore import xform_name

from airflow_cleanroomsml._requests.request import load
from airflow_cleanroomsml.emulator.backend import RESOURCES
from airflow_cleanroomsml.emulator.backend.base import BackendBase

KINDS = [(service, kind) for service, kinds in RESOURCES.items() for kind in kinds]


@pytest.mark.parametrize("operation", load().operation_names)
def test_one_class_implements_each_operation(operation: str) -> None:
    method = xform_name(operation)
    kinds = [kind.__name__ for kind in RESOURCES["cleanroomsml"] if hasattr(kind, method)]
    assert len(kinds) == 1, f"{operation}: one class in emulator/backend should have a method {method}, not {kinds}"


@pytest.mark.parametrize(("service", "kind"), KINDS)
def test_methods_named_like_operations_are_operations(service: str, kind: type[BackendBase]) -> None:
    known = {xform_name(name) for name in load(service).operation_names}
    verbs = ("create_", "get_", "list_", "start_", "delete_", "update_", "put_", "cancel_", "tag_", "untag_")
    assert [name for name in dir(kind) if name.startswith(verbs) and name not in known] == []


@pytest.mark.parametrize(("service", "kind"), KINDS)
def test_a_class_knows_its_service(service: str, kind: type[BackendBase]) -> None:
    assert kind.service == service


@pytest.mark.parametrize("kind", [kind for _, kind in KINDS])
def test_no_class_overrides_the_method_of_another(kind: type[BackendBase]) -> None:
    seen: dict[str, str] = {}
    for each in kind.__mro__[:-1]:
        for name in vars(each):
            if not name.startswith("__") and name != "service":
                assert name not in seen, f"{each.__name__} and {seen[name]} both have {name}"
                seen[name] = each.__name__
