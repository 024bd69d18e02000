"""
Let botocore do once per process what every new session repeats: tests make thousands of sessions.

Reading data files takes tenths of a second. A session takes 6 ms, most of it for the names and signatures of its handlers. A client of S3
takes 7 ms, most of it for its endpoint rules. All of that is the same every time.
"""

from __future__ import annotations

from pathlib import Path
from types import FunctionType
from typing import Any

from botocore import endpoint_provider, hooks
from botocore.hooks import EventAliaser
from botocore.loaders import JSONFileLoader, Loader


def read_once() -> None:
    """Make all sessions share what one of them has read or computed, which does not change while tests run."""
    _share_files()
    _share_event_names()
    _share_signatures()
    _share_endpoint_rules()


def _share_files() -> None:
    load_file, list_services = JSONFileLoader.load_file, Loader.list_available_services
    files: dict[str, Any] = {}
    services: dict[tuple[str, ...], list[str]] = {}

    def load_file_once(self: JSONFileLoader, file_path: str) -> Any:
        if not _is_shareable(file_path):
            return load_file(self, file_path)
        if file_path not in files:
            files[file_path] = load_file(self, file_path)
        return files[file_path]

    def list_services_once(self: Loader, type_name: str) -> list[str]:
        # A loader can have its own search path.
        key = (*self.search_paths, type_name)
        if key not in services:
            services[key] = list_services(self, type_name)
        return services[key]

    _replace(JSONFileLoader, "load_file", load_file_once)
    _replace(Loader, "list_available_services", list_services_once)


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


def _is_shareable(file_path: str) -> bool:
    """Whether the loaded data is never changed: moto's loader amends the models of the services that it serves."""
    service, _, name = Path(file_path).parts[-3:]
    return name != "service-2" or service.startswith("cleanrooms")
