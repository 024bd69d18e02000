"""Finds the use of an operator or sensor in the example Dags."""

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


def excerpt(name: str) -> Excerpt | None:
    """
    The first statement that makes a task of a class, mapped or not; None where no example does.

    :param name: Name of the class.
    """
    return next((found for path in sorted(FOLDER.glob("*.py")) for found in _of_file(path).get(name, ())), None)


@cache
def _of_file(path: Path) -> dict[str, list[Excerpt]]:
    source = path.read_text(encoding="utf-8")
    found: dict[str, list[Excerpt]] = {}
    for statement in _statements(ast.parse(source)):
        text = ast.get_source_segment(source, statement, padded=True) or ""
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                found.setdefault(node.id, []).append(Excerpt(path.name, textwrap.dedent(text)))
    return found


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Assignments and calls in the order of the file."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.Expr)):
            yield node
