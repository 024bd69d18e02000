"""Properties that are made once for each instance, and lock nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # To type checkers it is the same.
    cached = cached_property
else:

    class cached:
        """
        ``functools.cached_property`` as Python 3.12 has it.

        Before, each has one lock for all instances of the process, held while a value is made: a login that hangs for one connection
        would hold up all others.
        """

        def __init__(self, make: Callable[[Any], Any]) -> None:
            self._make = make
            self.__doc__ = make.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self._name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            value = vars(instance)[self._name] = self._make(instance)
            return value
