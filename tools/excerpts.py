"""Finds statements with an operator or sensor in the example Dags."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "example_dags"


@dataclass(frozen=True)
class Excerpt:
    """
    A statement of an example Dag.

    :param file: Name of the file.
    :param source: The statement, dedented.
    """

    file: str
    source: str


def find_excerpt(name: str) -> Excerpt | None:
    """
    Return the first statement that uses a class, mapped or not; None if no example does.

    :param name: Name of the class.
    """
    excerpts = (excerpt for path in sorted(FOLDER.glob("*.py")) for excerpt in _index_file(path).get(name, ()))
    return next(excerpts, None)


@cache
def _index_file(path: Path) -> dict[str, list[Excerpt]]:
    """Return the statements of a file by the names that occur in them."""
    source = path.read_text(encoding="utf-8")
    excerpts: dict[str, list[Excerpt]] = {}
    for statement in _iterate_statements(ast.parse(source)):
        # Padded, so that dedent() removes the indentation of all lines alike.
        text = ast.get_source_segment(source, statement, padded=True) or ""
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                excerpts.setdefault(node.id, []).append(Excerpt(path.name, textwrap.dedent(text)))
    return excerpts


def _iterate_statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Yield assignments and calls in the order of the file."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.Expr)):
            yield node
