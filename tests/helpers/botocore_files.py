"""
Let botocore do once per process what every new session repeats: tests make thousands of sessions.

Reading data files takes tenths of a second; registering the handlers of a session takes 6 ms, most of it for their names and signatures,
which are the same every time.
"""

from __future__ import annotations

from pathlib import Path
from types import FunctionType
from typing import Any

from botocore import hooks
from botocore.hooks import EventAliaser
from botocore.loaders import JSONFileLoader, Loader


def read_once() -> None:
    """Let all sessions share what one of them has read or computed; it does not change while tests run."""
    _share_files()
    _share_event_names()
    _share_signatures()


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
        # A loader may search folders of its own.
        key = (*self.search_paths, type_name)
        if key not in services:
            services[key] = list_services(self, type_name)
        return services[key]

    _replace(JSONFileLoader, "load_file", load_file_once)
    _replace(Loader, "list_available_services", list_services_once)


def _share_event_names() -> None:
    make = EventAliaser.__init__
    names: dict[str, str] = {}

    def make_with_names(self: Any, *given: Any, **more: Any) -> None:
        make(self, *given, **more)
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


def _replace(owner: Any, name: str, replacement: Any) -> None:
    setattr(owner, name, replacement)


def _is_shareable(file_path: str) -> bool:
    """Whether nobody changes what is read: Moto's loader amends the models of the services that it serves."""
    service, _, name = Path(file_path).parts[-3:]
    return name != "service-2" or service.startswith("cleanrooms")
