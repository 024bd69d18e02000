"""Parses docstrings in the reST of this package, and converts them to Markdown."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from airflow_cleanroomsml import request_types
from airflow_cleanroomsml._requests.violations import join_alternatives

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


def to_markdown(text: str) -> str:
    """Convert a text in reST to one line of Markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"``\1``", text)
    return " ".join(re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL).split())


def format_row(*cells: str) -> str:
    """Format a row of a table. A vertical bar would end a cell even inside code, so it is escaped."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def format_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Format a Markdown table."""
    return "\n".join([format_row(*header), format_row(*["---"] * len(header)), *(format_row(*cells) for cells in rows)])


@dataclass(frozen=True)
class Docstring:
    """
    A docstring in Markdown.

    :param paragraphs: The paragraphs of the text.
    :param arguments: Descriptions of the arguments, by name.
    :param returns: Description of the return value; empty for none.
    :param raises: Descriptions of the exceptions, by name.
    """

    paragraphs: list[str]
    arguments: dict[str, str]
    returns: str
    raises: dict[str, str]

    @classmethod
    def parse(cls, owner: Any) -> Docstring:
        """Parse the docstring of a class or module."""
        # Not inspect.getdoc(), which returns an inherited docstring.
        text, *fields = _FIELD.split(inspect.cleandoc(owner.__doc__ or ""))
        entries = list(zip(fields[::3], fields[1::3], map(to_markdown, fields[2::3]), strict=True))
        return cls(
            [to_markdown(paragraph) for paragraph in text.split("\n\n") if paragraph.strip()],
            {name: description for kind, name, description in entries if kind == "param"},
            next((description for kind, _, description in entries if kind == "return"), ""),
            {name: description for kind, name, description in entries if kind == "raises"},
        )


def describe_annotation(annotation: str) -> str:
    """Describe a type in words, without None and templates, which the index explains."""
    return _describe_node(ast.parse(annotation, mode="eval").body)


def _describe_node(node: ast.expr) -> str:
    if isinstance(node, ast.BinOp):
        return _join_types([_describe_node(node.left), _describe_node(node.right)])
    if isinstance(node, ast.Constant):
        return "" if node.value is None else f"`{node.value!s}`"
    if isinstance(node, ast.Subscript):
        return _describe_container(ast.unparse(node.value), node.slice)
    name = ast.unparse(node)
    return _PLAIN.get(name) or _describe_model_type(name)


def _describe_container(name: str, inner: ast.expr) -> str:
    parts = [_describe_node(part) for part in (inner.elts if isinstance(inner, ast.Tuple) else [inner])]
    if name == "Sequence":
        return f"list of {_pluralise(parts[0])}"
    if name in ("Mapping", "dict"):
        return "mapping" if parts[1] == "anything" else f"mapping of {_pluralise(parts[1])}"
    return _join_types(parts)


def _join_types(parts: list[str]) -> str:
    # None is described by an empty text.
    return join_alternatives([part for part in parts if part])


def _pluralise(words: str) -> str:
    first, _, rest = words.partition(" ")
    return words if first.startswith("`") else f"{first}s {rest}".rstrip()


def _describe_model_type(name: str) -> str:
    """Describe a structure by its members, with a question mark for optional ones, or an enum by its values."""
    model_type = getattr(request_types, name)
    if words := get_args(model_type):
        return join_alternatives([f"`{word}`" for word in words])
    members = inspect.get_annotations(model_type)
    names = [key + "?" * ("NotRequired[" in str(annotation)) for key, annotation in members.items()]
    return f"mapping `{{{', '.join(names)}}}`"
