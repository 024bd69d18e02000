"""The classes of the backend implement the operations of the service model."""

from __future__ import annotations

import pytest
from botocore import xform_name

from airflow_cleanroomsml._requests.request import load
from airflow_cleanroomsml.emulator.backend import RESOURCES
from airflow_cleanroomsml.emulator.backend.base import BackendBase

CLASSES = [(service, cls) for service, classes in RESOURCES.items() for cls in classes]


@pytest.mark.parametrize("operation", load().operation_names)
def test_one_class_implements_each_operation(operation: str) -> None:
    method = xform_name(operation)
    names = [cls.__name__ for cls in RESOURCES["cleanroomsml"] if hasattr(cls, method)]
    assert len(names) == 1, f"{operation}: one class in emulator/backend should have a method {method}, not {names}"


@pytest.mark.parametrize(("service", "cls"), CLASSES)
def test_methods_named_like_operations_are_operations(service: str, cls: type[BackendBase]) -> None:
    operations = {xform_name(name) for name in load(service).operation_names}
    verbs = ("create_", "get_", "list_", "start_", "delete_", "update_", "put_", "cancel_", "tag_", "untag_")
    assert [name for name in dir(cls) if name.startswith(verbs) and name not in operations] == []


@pytest.mark.parametrize(("service", "cls"), CLASSES)
def test_class_declares_its_service(service: str, cls: type[BackendBase]) -> None:
    assert cls.service == service


@pytest.mark.parametrize("cls", [cls for _, cls in CLASSES])
def test_no_class_overrides_inherited_methods(cls: type[BackendBase]) -> None:
    owners: dict[str, str] = {}
    for base in cls.__mro__[:-1]:
        for name in vars(base):
            if not name.startswith("__") and name != "service":
                assert name not in owners, f"{base.__name__} and {owners[name]} both have {name}"
                owners[name] = base.__name__
