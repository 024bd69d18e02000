"""Read botocore's data files once per process; every new session parses them again otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from botocore.loaders import JSONFileLoader, Loader


def read_once() -> None:
    """Let all of botocore's loaders share what one of them has read; the files do not change while tests run."""
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

    replacements: tuple[tuple[Any, str, Any], ...] = (
        (JSONFileLoader, "load_file", load_file_once),
        (Loader, "list_available_services", list_services_once),
    )
    for owner, name, replacement in replacements:
        setattr(owner, name, replacement)


def _is_shareable(file_path: str) -> bool:
    """Whether nobody changes what is read: Moto's loader amends the models of the services that it serves."""
    service, _, name = Path(file_path).parts[-3:]
    return name != "service-2" or service.startswith("cleanrooms")
