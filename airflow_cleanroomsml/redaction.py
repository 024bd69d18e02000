"""
What a request holds in confidence, taken out of texts that are not ours.

Engines quote the SQL and the variables that they were given: in part, in capitals, on one line, escaped, cut off after a hundred
characters. Texts are therefore compared by their letters, digits and underscores alone, without case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from airflow_cleanroomsml.hidden import holds_sensitive, is_sensitive

#: In place of a text that may quote what is not known here.
UNKNOWN = "(withheld: it may quote a request that is not to be shown)"
_WITHHELD = "*** (a text that quotes the query of the request)"
#: So many letters in a row are a quotation: "secret_column FR", but not the name of one short column.
_RUN = 14
#: Fewer letters are no quotation by themselves: "1.0" is not in "10", nor "dev" in "device".
_FEW = 6
# JSON, Java, Python and SQL escape by backslashes, one or more of them where a text was escaped twice.
_LETTER = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|[nrtbf])|(\w)")


class Secret(NamedTuple):
    """
    A text that must not be shown.

    :param key: Member that it stands under, in the API's own spelling; empty in a map.
    :param text: The text itself.
    """

    key: str
    text: str


def below(shape: Any, key: str | None) -> Any:
    """The shape of what stands under a key of a structure or map, or in a list."""
    kind = shape.type_name if shape is not None else ""
    if kind == "structure":
        return shape.members.get(key)
    if kind == "list":
        return shape.member
    return shape.value if kind == "map" else None


def secrets(shape: Any, value: Any, key: str = "", *, inside: bool = False) -> Iterator[Secret]:
    """All texts in a value that are sensitive by its shape; one or two characters are too common, and the ARN of a template is none."""
    inside = inside or is_sensitive(shape)
    if isinstance(value, dict):
        members = shape is not None and shape.type_name == "structure"
        for name, item in value.items():
            yield from secrets(below(shape, name), item, name if members else "", inside=inside)
    elif isinstance(value, list):
        for item in value:
            yield from secrets(below(shape, None), item, key, inside=inside)
    elif inside and isinstance(value, str) and len(value) > 2 and key != "analysisTemplateArn":
        yield Secret(key, value)


def redact(text: str, known: Iterable[Secret]) -> str:
    """
    Withhold a text that quotes a query, and take other secrets out of it.

    :param text: What somebody else says.
    :param known: What it must not say.
    """
    letters = _Letters(text)
    hidden: set[int] = set()
    for secret in known:
        found = set(_places(text, letters, secret.text))
        if found and secret.key == "queryString":
            return _WITHHELD
        hidden |= found
    return "".join(
        ("" if place - 1 in hidden else "***") if place in hidden else letter for place, letter in enumerate(text)
    )


def by_description(shape: Any, found: Mapping[str, Any], text: str) -> str:
    """
    A text about a resource without what the resource's own description holds and is not to be shown.

    Who asks need not know the request. Where the description does not show it either the whole text is withheld; an environment that
    is not shown is taken for none.

    :param shape: Shape of the description.
    """
    holders = [name for name, member in shape.members.items() if holds_sensitive(member) and not is_sensitive(member)]
    if any(name not in found for name in holders):
        return UNKNOWN
    return redact(text, secrets(shape, dict(found)))


class _Letters:
    """The letters of a text, and where each stands."""

    def __init__(self, text: str) -> None:
        found = [
            (letter, match.span())
            for match in _LETTER.finditer(text)
            for letter in _unescaped(match).casefold()
            if letter.isalnum() or letter == "_"
        ]
        self.plain = "".join(letter for letter, _ in found)
        self.spans = [span for _, span in found]

    def runs(self, size: int) -> Iterator[tuple[int, str]]:
        return ((begin, self.plain[begin : begin + size]) for begin in range(len(self.plain) - size + 1))


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else match[3] or ""


def _places(text: str, letters: _Letters, secret: str) -> Iterator[int]:
    """The places in a text that quote a secret."""
    wanted = _Letters(secret)
    if len(wanted.plain) < _FEW:
        for spelling in {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}:
            for match in re.finditer(_alone(spelling), text, re.IGNORECASE):
                yield from range(*match.span())
        return
    size = min(_RUN, len(wanted.plain))
    said = {run for _, run in letters.runs(size)}
    quoted = {run for _, run in wanted.runs(size) if run in said}
    for begin, run in letters.runs(size):
        if run in quoted:
            yield from range(letters.spans[begin][0], letters.spans[begin + size - 1][1])


def _alone(spelling: str) -> str:
    """A pattern of a short text where it is no part of a word."""
    before = r"(?<!\w)" if re.match(r"\w", spelling) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", spelling) else ""
    return f"{before}{re.escape(spelling)}{after}"
