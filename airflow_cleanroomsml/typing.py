"""Types of the operators' arguments."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

from airflow_cleanroomsml._compat import XComArg

T = TypeVar("T")

#: A value, a Jinja template that renders to it, or the output of another task.
Templated: TypeAlias = T | str | XComArg

__all__ = ["Templated"]
