"""
Let botocore do once per process what every new session and client repeats: tests make thousands of them.

Reading data files takes tenths of a second. A client of a new session takes 9 ms for Clean Rooms ML and 60 ms for Glue: most of it for the
model, the methods and the endpoint rules, which are the same every time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

from botocore import endpoint_provider, hooks
from botocore.client import ClientCreator
from botocore.hooks import EventAliaser
from botocore.loaders import Loader

if TYPE_CHECKING:
    import pytest

#: Methods of a loader that read data files, or list them.
_LOADS = ("list_available_services", "load_service_model", "load_data_with_path")


def read_once() -> None:
    """Make all sessions share what one of them has read or computed, which does not change while tests run."""
    _share_files()
    _share_models()
    _share_event_names()
    _share_signatures()
    _share_endpoint_rules()


def read_each_time(patch: pytest.MonkeyPatch) -> None:
    """Let each session read the data files, as without :func:`read_once`, until the test ends."""
    for name in _LOADS:
        patch.setattr(Loader, name, getattr(Loader, name).__wrapped__)


def _share_files() -> None:
    for name in _LOADS:
        _replace(Loader, name, _share_results(getattr(Loader, name)))


def _share_results(load: Callable[..., Any]) -> Callable[..., Any]:
    results: dict[Any, Any] = {}

    @functools.wraps(load)
    def load_once(self: Loader, *args: Any, **more: Any) -> Any:
        # moto's loader amends the models; and S3 clients take the bucket out of the paths of the model, by which moto could not route.
        if type(self) is not Loader:
            return load(self, *args, **more)
        # A loader can have its own search path.
        key = (*self.search_paths, args, *more.items())
        if key not in results:
            results[key] = load(self, *args, **more)
        return results[key]

    return load_once


def _share_models() -> None:
    load_model, make_methods = (vars(ClientCreator)[name] for name in ("_load_service_model", "_create_methods"))
    models: dict[tuple[int, str], tuple[Any, Any]] = {}
    methods: dict[int, tuple[Any, dict[str, Any]]] = {}

    # Each entry keeps the object whose id is in its key, so that no other object gets this id.
    def load_model_once(self: Any, service_name: str, api_version: str | None = None) -> Any:
        data = self._loader.load_service_model(service_name, "service-2", api_version=api_version)
        key = (id(data), service_name)
        if key not in models:
            models[key] = (data, load_model(self, service_name, api_version))
        return models[key][1]

    def make_methods_once(self: Any, service_model: Any) -> dict[str, Any]:
        key = id(service_model)
        if key not in methods:
            methods[key] = (service_model, make_methods(self, service_model))
        # Handlers of the session may add methods of their own.
        return dict(methods[key][1])

    _replace(ClientCreator, "_load_service_model", load_model_once)
    _replace(ClientCreator, "_create_methods", make_methods_once)


def _share_event_names() -> None:
    make = EventAliaser.__init__
    names: dict[str, str] = {}

    def make_with_names(self: Any, *args: Any, **more: Any) -> None:
        make(self, *args, **more)
        if self._event_aliases == hooks.EVENT_ALIASES:
            self._alias_name_cache = names

    _replace(EventAliaser, "__init__", make_with_names)


def _share_signatures() -> None:
    accepts_kwargs = vars(hooks)["accepts_kwargs"]
    known: dict[FunctionType, Any] = {}

    def accepts_kwargs_once(handler: Any) -> Any:
        function = getattr(handler, "__func__", handler)
        if not isinstance(function, FunctionType):
            return accepts_kwargs(handler)
        if function not in known:
            known[function] = accepts_kwargs(handler)
        return known[function]

    _replace(hooks, "accepts_kwargs", accepts_kwargs_once)


def _share_endpoint_rules() -> None:
    make = endpoint_provider.RuleSet
    known: dict[tuple[int, int], Any] = {}

    def make_once(*, rules: Any, partitions: Any, **more: Any) -> Any:
        # The rules of a file are always the same object. The entry keeps it in memory, so that its id is not reused.
        key = (id(rules), id(partitions))
        if key not in known:
            known[key] = (make(rules=rules, partitions=partitions, **more), rules, partitions)
        return known[key][0]

    _replace(endpoint_provider, "RuleSet", make_once)


def _replace(owner: Any, name: str, replacement: Any) -> None:
    setattr(owner, name, replacement)
