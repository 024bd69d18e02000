"""Imports, including those inside functions, point downwards by the table of layers in ARCHITECTURE.md, and form no cycle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = "airflow_cleanroomsml"
ROOT = Path(__file__).parents[1]
#: What the emulator may import besides itself, because it runs without Airflow.
SHARED_WITH_THE_EMULATOR = {"_requests", "_resources.table", "_training_data"}


def read_layers(text: str) -> dict[str, int]:
    """Read the layer of each module or package from the table; names are relative to our package, and 0 is the lowest layer."""
    table = text.partition("\n## Layers\n")[2].partition("\n## ")[0]
    rows = [re.findall(r"`([\w.]+)`", line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")]
    return {name: level for level, row in enumerate(reversed(rows)) for name in row}


def read_modules() -> dict[str, str]:
    """Read the source of each module by its name relative to the package, which is empty for the package itself."""
    files = {path.relative_to(ROOT / PACKAGE).with_suffix(""): path for path in (ROOT / PACKAGE).rglob("*.py")}
    return {
        ".".join(name.parts).removesuffix("__init__").rstrip("."): path.read_text("utf-8")
        for name, path in files.items()
    }


def find_imports(source: str) -> Iterator[str]:
    """Yield the names in our package that a module imports, relative to it, except those for type checkers."""
    pending: list[ast.AST] = [ast.parse(source)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
            continue
        pending += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.partition(".")[2] for name in names if name.partition(".")[0] == PACKAGE)


def resolve(name: str, candidates: Mapping[str, object]) -> str:
    """Return the module or table entry that a dotted name belongs to; empty if there is none."""
    while name and name not in candidates:
        name = name.rpartition(".")[0]
    return name


def find_upward_imports(module: str, source: str, layers: Mapping[str, int]) -> list[str]:
    """Find the imports of a module from its own layer or a higher one, except those from its own entry."""
    own = resolve(module, layers)
    entries = {name: resolve(name, layers) for name in find_imports(source)}
    return sorted(
        name for name, entry in entries.items() if entry != own and layers.get(entry, len(layers)) >= layers[own]
    )


def find_cycle(modules: Mapping[str, str]) -> list[str]:
    """Find modules that import each other in a cycle; empty if there are none."""
    graph = {
        module: {resolve(name, modules) for name in find_imports(source)} - {module}
        for module, source in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


LAYERS = read_layers((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
MODULES = read_modules()


def test_every_module_has_a_layer() -> None:
    assert [module for module in MODULES if module and not resolve(module, LAYERS)] == []


def test_every_layer_has_modules() -> None:
    assert [name for name in LAYERS if name not in MODULES] == []


@pytest.mark.parametrize("module", [module for module in MODULES if module])
def test_imports_point_downwards(module: str) -> None:
    assert find_upward_imports(module, MODULES[module], LAYERS) == []


def test_package_itself_imports_none_of_its_modules() -> None:
    assert list(find_imports(MODULES[""])) == []


def test_imports_have_no_cycle() -> None:
    assert find_cycle(MODULES) == []


def test_the_emulator_imports_only_what_runs_without_airflow() -> None:
    emulator = [source for module, source in MODULES.items() if resolve(module, LAYERS) == "emulator"]
    imported = {resolve(name, LAYERS) for source in emulator for name in find_imports(source)}
    assert imported - SHARED_WITH_THE_EMULATOR == {"emulator"}


def test_an_upward_import_is_found() -> None:
    layers = {"operators": 2, "hooks": 1, "_requests": 0}
    lazily = f"def send():\n    from {PACKAGE}.hooks import Hook"
    for_types = f"if TYPE_CHECKING:\n    from {PACKAGE}.hooks import Hook"
    unknown = f"import {PACKAGE}.links"
    assert find_upward_imports("_requests.request", lazily, layers) == ["hooks.Hook"]
    assert find_upward_imports("_requests.request", for_types, layers) == []
    assert find_upward_imports("operators.tags", lazily, layers) == []
    assert find_upward_imports("operators.tags", unknown, layers) == ["links"]


def test_a_cycle_is_found() -> None:
    modules = {"a": f"from {PACKAGE} import b", "b": f"def f():\n    import {PACKAGE}.a", "c": ""}
    assert set(find_cycle(modules)) == {"a", "b"}


def test_no_class_inherits_from_more_than_four_of_ours() -> None:
    pytest.importorskip("numpy", reason="only the emulator's environment can import all modules")
    inherited: dict[type, int] = {}
    for module in MODULES:
        if not module.endswith("__main__"):
            for each in vars(import_module(f"{PACKAGE}.{module}".rstrip("."))).values():
                if isinstance(each, type):
                    inherited[each] = sum(base.__module__.startswith(PACKAGE) for base in each.__mro__[1:])
    assert [each for each, number in inherited.items() if number > 4] == []
