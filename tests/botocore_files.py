"""Botocore's data files, read once per process: parsing them for every client took a third of the tests' processor time."""

from __future__ import annotations

import functools
from typing import Any

from botocore.loaders import JSONFileLoader, Loader


def read_once() -> None:
    """Let all of botocore's loaders share what one of them has read; the files do not change while tests run."""
    JSONFileLoader.load_file = _shared(JSONFileLoader.load_file)  # type: ignore[method-assign]
    Loader.list_available_services = _shared(Loader.list_available_services)  # type: ignore[method-assign]


def _shared(method: Any) -> Any:
    results: dict[tuple[Any, ...], Any] = {}

    @functools.wraps(method)
    def shared(self: Any, *arguments: Any) -> Any:
        # A loader may search folders of its own.
        key = (*getattr(self, "search_paths", ()), *arguments)
        if key not in results:
            results[key] = method(self, *arguments)
        return results[key]

    return shared
