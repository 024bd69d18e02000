"""What the backends have of their services."""

from __future__ import annotations

import pytest
from botocore import xform_name

from airflow_cleanroomsml._requests.request import load
from airflow_cleanroomsml.emulator.backend import CleanRoomsBackend, CleanRoomsMLBackend

BACKENDS = pytest.mark.parametrize("backend", [CleanRoomsMLBackend, CleanRoomsBackend])


@pytest.mark.parametrize("operation", load().operation_names)
def test_every_operation_is_implemented(operation: str) -> None:
    method = xform_name(operation)
    assert hasattr(CleanRoomsMLBackend, method), f"{operation}: no noun in emulator/backend has a method {method}"


@BACKENDS
def test_methods_named_like_operations_are_operations(
    backend: type[CleanRoomsMLBackend | CleanRoomsBackend],
) -> None:
    known = {xform_name(name) for name in load(backend.service).operation_names}
    verbs = ("create_", "get_", "list_", "start_", "delete_", "update_", "put_", "cancel_", "tag_", "untag_")
    assert [name for name in dir(backend) if name.startswith(verbs) and name not in known] == []


@BACKENDS
def test_no_class_overrides_the_method_of_another(
    backend: type[CleanRoomsMLBackend | CleanRoomsBackend],
) -> None:
    seen: dict[str, str] = {}
    for noun in backend.__mro__[1:-1]:
        for name in vars(noun):
            if not name.startswith("__"):
                assert name not in seen, f"{noun.__name__} and {seen[name]} both have {name}"
                seen[name] = noun.__name__
