"""Confidential values, which logs, pages and XComs must not show: what the service model marks as sensitive, and container environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Shown in place of a confidential value.
STARS = "***"


class Hidden:
    """
    A rendered value that Airflow's pages show as stars.

    :param value: The value.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return STARS

    def serialize(self) -> str:
        """Return what Airflow 3 stores as the rendered field; Airflow 2.11 stores the ``repr``."""
        return STARS


def reveal(value: Any) -> Any:
    """Return a value with the hidden values in it, at any depth."""
    if isinstance(value, Hidden):
        return reveal(value.value)
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [reveal(item) for item in value]
    return value


#: The model does not mark the environments of containers as sensitive, but they may contain passwords. It does not mark hyperparameters
#: either, and those must not contain any (docs/design/confidentiality.md).
_ENVIRONMENTS = ("Environment", "InferenceEnvironmentMap")


def is_sensitive(shape: Any) -> bool:
    """
    Return whether values of a shape are confidential.

    :param shape: A shape of botocore; None for a member that the model does not have.
    """
    return shape is not None and bool(shape.metadata.get("sensitive") or shape.name in _ENVIRONMENTS)


def find_child_shape(shape: Any, key: str | None) -> Any:
    """
    Return the shape of a member of a structure, of the values of a map, or of the items of a list.

    :param key: Name of the member.
    """
    kind = shape.type_name if shape is not None else ""
    if kind == "structure":
        return shape.members.get(key)
    if kind == "list":
        return shape.member
    return shape.value if kind == "map" else None


def holds_sensitive(shape: Any) -> bool:
    """Return whether a shape, or any shape below it, is sensitive."""
    return shape is not None and (is_sensitive(shape) or any(map(holds_sensitive, _list_child_shapes(shape))))


def _list_child_shapes(shape: Any) -> list[Any]:
    if shape.type_name == "structure":
        return list(shape.members.values())
    if shape.type_name == "list":
        return [shape.member]
    return [shape.value] if shape.type_name == "map" else []


def hide(shape: Any, value: Any) -> Any:
    """
    Hide the confidential values in a value.

    Also hides a value that is not a structure although its shape is one, and members that the model does not know: by mistake, they may
    contain what belongs to a sensitive member.
    """
    if value is None or not holds_sensitive(shape):
        return value
    if isinstance(value, Mapping) and shape.type_name == "structure" and not is_sensitive(shape):
        return {
            key: hide(shape.members[key], item) if key in shape.members else Hidden(item) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)) and shape.type_name == "list":
        return [hide(shape.member, item) for item in value]
    return value if isinstance(value, Hidden) else Hidden(value)
