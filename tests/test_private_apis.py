"""Only the two ``_compat`` modules use private and undocumented APIs of other libraries, with a fallback for each."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_cleanroomsml

PACKAGE = Path(airflow_cleanroomsml.__file__).parent
COMPAT = ("_compat.py", "emulator/_compat.py")
#: Methods of named tuples, whose underscore only distinguishes them from fields (Python documentation, namedtuple).
DOCUMENTED = ("_replace", "_asdict", "_fields", "_make")
#: Names without an underscore, or with one that an override hides, that their libraries do not document.
UNDOCUMENTED = {
    # Airflow and its amazon provider
    *("RuntimeTaskInstance", "__fail__", "_do_render_template_fields", "_get_caller", "create_session"),
    # botocore
    *("before-parse", "data_loader", "response_parser_factory", "AUTH_TYPE_MAPS", "OPTION_DEFAULTS"),
    # moto
    *("DomainDispatcherApplication", "FakeBucket", "MotoRequestHandler", "PermissionResult", "S3ClientError"),
    *("create_backend_app", "get_account_id_from", "sts_backends"),
    # WSGI servers
    *("RAW_URI", "REQUEST_URI", "werkzeug.socket"),
}
MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


def find_own_names(tree: ast.AST) -> set[str]:
    """Find the names in a module that stand for its own classes, for modules of this package, or for the instance."""
    own = {"self", "cls"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            own.add(node.name)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow_cleanroomsml"):
            own.update(alias.asname or alias.name for alias in node.names)
    return own


def is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def find_imports(node: ast.AST) -> Iterator[str]:
    """Find the private modules and names that an import takes from another library."""
    if isinstance(node, ast.ImportFrom) and not node.level:
        parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
    elif isinstance(node, ast.Import):
        parts = [part for alias in node.names for part in alias.name.split(".")]
    else:
        return
    if parts[0] not in ("airflow_cleanroomsml", "__future__"):
        yield from filter(is_private, parts)


def find_uses(source: str) -> Iterator[str]:
    """Find each private or undocumented API of another library that a module uses, with its line."""
    tree = ast.parse(source)
    own, documentation = find_own_names(tree), find_docstrings(tree)
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        for name in find_imports(node):
            yield f"{line}: import of {name}"
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            base = node.value
            if not (is_super(base) or (isinstance(base, ast.Name) and base.id in own)):
                yield f"{line}: {ast.unparse(node)}"
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("getattr", "hasattr", "setattr")
        ):
            attribute = node.args[1]
            if isinstance(attribute, ast.Constant) and is_private(str(attribute.value)):
                yield f"{line}: {ast.unparse(node)}"
        if node not in documentation:
            for name in sorted(find_texts(node) & UNDOCUMENTED):
                yield f"{line}: {name}"


def find_docstrings(tree: ast.AST) -> set[ast.AST]:
    return {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def find_texts(node: ast.AST) -> set[str]:
    """Find the names and strings in one node."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        # botocore appends the name of the service to an event: before-parse.cleanroomsml.
        return {node.value, node.value.split(".", maxsplit=1)[0]}
    if isinstance(node, ast.alias):
        return {node.name.rpartition(".")[2]}
    names = (getattr(node, field, None) for field in ("id", "attr", "name"))
    return {name for name in names if isinstance(name, str)}


@pytest.mark.parametrize("module", [module for module in MODULES if module not in COMPAT])
def test_module_uses_no_private_api_of_others(module: str) -> None:
    uses = list(find_uses((PACKAGE / module).read_text(encoding="utf-8")))
    assert uses == [], f"{module}: move these to _compat.py, with a fallback for a release without them"


@pytest.mark.parametrize(
    "source",
    [
        "session._session.get_component('x')",
        "getattr(session, '_session', None)",
        "from botocore._internal import x",
        "from botocore.utils import _parse",
        "import botocore._internal",
        "from moto.moto_server.werkzeug_app import create_backend_app",
        "environ.get('RAW_URI')",
        "session.events.register('before-parse.cleanroomsml', f)",
        "def _get_caller(self): return ''",
        "self._hook._config",
    ],
)
def test_use_is_found(source: str) -> None:
    assert len(list(find_uses(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "self._x",
        "super()._x()",
        "wait._replace(a=1)",
        "class A: ...\nA._x",
        "from airflow_cleanroomsml import _clock\n_clock.now()",
        "from airflow_cleanroomsml.operators._base import Base",
        "'''RAW_URI is werkzeug's.'''",
        "x.__class__",
    ],
)
def test_own_or_documented_name_is_allowed(source: str) -> None:
    assert list(find_uses(source)) == []
