"""Names the types of JSON."""

from __future__ import annotations

from typing import Any

#: A bool is an int, too, and comes first.
_NAMES = ((bool, "a JSON boolean"), (str, "a JSON string"), ((int, float), "a JSON number"), (list, "a JSON array"))


def describe_json_type(value: Any) -> str:
    """Return the type of a value that is not an object, in the words of JSON, for instance "a JSON array"."""
    return next((name for python_type, name in _NAMES if isinstance(value, python_type)), "null")
