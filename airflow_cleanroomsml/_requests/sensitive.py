"""Values that no log, no page and no XCom shows: what the service model marks as sensitive, and the environment of containers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What is shown instead.
STARS = "***"


class Hidden:
    """
    A rendered value that Airflow's pages show as stars.

    :param value: The value itself.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return STARS

    def serialize(self) -> str:
        """As Airflow 3 stores a rendered field; Airflow 2.11 stores its ``repr``."""
        return STARS


def revealed(value: Any) -> Any:
    """The value with everything hidden in it shown, at any depth."""
    if isinstance(value, Hidden):
        return revealed(value.value)
    if isinstance(value, dict):
        return {key: revealed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [revealed(item) for item in value]
    return value


def is_sensitive(shape: Any) -> bool:
    """
    Whether values of a shape are not to be shown.

    :param shape: A shape of botocore's; None stands for what the model does not know.
    """
    # The environment of a container may hold passwords, though the model does not mark it.
    return shape is not None and bool(shape.metadata.get("sensitive") or shape.name in _ENVIRONMENTS)


_ENVIRONMENTS = ("Environment", "InferenceEnvironmentMap")


def below(shape: Any, key: str | None) -> Any:
    """The shape of what stands under a key of a structure or map, or in a list."""
    kind = shape.type_name if shape is not None else ""
    if kind == "structure":
        return shape.members.get(key)
    if kind == "list":
        return shape.member
    return shape.value if kind == "map" else None


def holds_sensitive(shape: Any) -> bool:
    """Whether a shape, or anything below it, is sensitive."""
    return shape is not None and (is_sensitive(shape) or any(map(holds_sensitive, _directly_below(shape))))


def _directly_below(shape: Any) -> list[Any]:
    if shape.type_name == "structure":
        return list(shape.members.values())
    if shape.type_name == "list":
        return [shape.member]
    return [shape.value] if shape.type_name == "map" else []


def hide(shape: Any, value: Any) -> Any:
    """
    A value with everything sensitive in it hidden.

    What should be a structure and is something else, or a member that the model does not know, may hold what was meant for another:
    it is hidden, too.
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
