"""Reads docstrings in the reST of this package, and writes them as markdown."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from airflow_cleanroomsml import request_types

_FIELD = re.compile(r"^:(param|return|raises) ?(\w*): ?", re.MULTILINE)
_PLAIN = {
    "Any": "anything",
    "bool": "boolean",
    "datetime": "time",
    "dict": "mapping",
    "float": "number",
    "int": "integer",
    "str": "text",
}


def markdown(text: str) -> str:
    """A text in reST as one line of markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"``\1``", text)
    return " ".join(re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL).split())


def row(*cells: str) -> str:
    """A row of a table; an upright bar would end a cell, inside of code as well."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in markdown."""
    return "\n".join([row(*header), row(*["---"] * len(header)), *(row(*cells) for cells in rows)])


@dataclass(frozen=True)
class Docstring:
    """
    A docstring, in markdown.

    :param paragraphs: The text, its first sentence being the first paragraph.
    :param arguments: Each argument and what it is.
    :param returns: What is returned; empty where nothing is said of it.
    :param raises: Each exception and when it is raised.
    """

    paragraphs: list[str]
    arguments: dict[str, str]
    returns: str
    raises: dict[str, str]

    @classmethod
    def of(cls, thing: Any) -> Docstring:
        """The docstring of a class or module itself, never one that it inherits."""
        text, *fields = _FIELD.split(inspect.cleandoc(thing.__doc__ or ""))
        found = list(zip(fields[::3], fields[1::3], map(markdown, fields[2::3]), strict=True))
        return cls(
            [markdown(paragraph) for paragraph in text.split("\n\n") if paragraph.strip()],
            {name: said for kind, name, said in found if kind == "param"},
            next((said for kind, _, said in found if kind == "return"), ""),
            {name: said for kind, name, said in found if kind == "raises"},
        )


def in_words(annotation: str) -> str:
    """A type as words: that it may be a template or None is said elsewhere."""
    return _words(ast.parse(annotation, mode="eval").body)


def _words(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp):
        return join_alternatives([_words(node.left), _words(node.right)])
    if isinstance(node, ast.Constant):
        return "" if node.value is None else f"`{node.value!s}`"
    if isinstance(node, ast.Subscript):
        return _container(ast.unparse(node.value), node.slice)
    name = ast.unparse(node)
    return _PLAIN.get(name) or _of_the_model(name)


def _container(name: str, inner: ast.expr) -> str:
    parts = [_words(part) for part in (inner.elts if isinstance(inner, ast.Tuple) else [inner])]
    if name == "Sequence":
        return f"list of {_plural(parts[0])}"
    if name in ("Mapping", "dict"):
        return "mapping" if parts[1] == "anything" else f"mapping of {_plural(parts[1])}"
    return join_alternatives(parts)


def join_alternatives(parts: list[str]) -> str:
    """Join alternatives with commas and "or"."""
    *others, last = [part for part in parts if part]
    return f"{', '.join(others)} or {last}" if others else last


def _plural(words: str) -> str:
    first, _, rest = words.partition(" ")
    return words if first.startswith("`") else f"{first}s {rest}".rstrip()


def _of_the_model(name: str) -> str:
    """A structure by its members, those that may be missing with a question mark; an enum by its words."""
    found = getattr(request_types, name)
    if words := get_args(found):
        return join_alternatives([f"`{word}`" for word in words])
    members = inspect.get_annotations(found)
    shown = [key + "?" * ("NotRequired[" in str(kind)) for key, kind in members.items()]
    return f"mapping `{{{', '.join(shown)}}}`"
