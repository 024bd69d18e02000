"""
What a request holds in confidence, taken out of texts that are not ours.

Engines quote the SQL and the variables that they were given: in part, in capitals, on one line, escaped, encoded for a URL or for XML,
cut off after a hundred characters. Texts are therefore decoded, and compared by their letters, digits and underscores alone, without case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from html import unescape
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import unquote

from airflow_cleanroomsml._requests.sensitive import below, holds_sensitive, is_sensitive

#: In place of a text that may quote what is not known here.
UNKNOWN = "(withheld: it may quote a request that is not to be shown)"
_WITHHELD = "*** (a text that quotes the query of the request)"
#: So many letters in a row are a quotation: "secret_column FR", but not the name of one short column.
_RUN = 14
#: Fewer letters are no quotation by themselves: "1.0" is not in "10", nor "dev" in "device".
_FEW = 6
# JSON, Java, Python and SQL escape by backslashes, one or more of them where a text was escaped twice.
_LETTER = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|[nrtbf])|(\w)")
# A space is %20, or + as in forms, which is no letter by itself.
_ENCODED = re.compile(r"(?:%[0-9a-fA-F]{2})+|&#?\w{1,8};")
#: What a description may lack where it shows the other: an environment stands beside the instances that every request with one has, and
#: in place of SQL there are a file or the template of a job (service model; user guide, for seeds).
_INSTEAD = {"environment": "resourceConfig", "sqlParameters": "dataSource", "parameters": "analysisTemplateArn"}
_QUERIES = ("queryString", "analysisTemplateArn")
#: How a text of the service is made fit to be shown: by the shape of a description, the description, and the text.
Redact: TypeAlias = Callable[[Any, Mapping[str, Any], str], str]


class Secret(NamedTuple):
    """
    A text that must not be shown.

    :param key: Member that it stands under, in the API's own spelling; empty in a map.
    :param text: The text itself.
    """

    key: str
    text: str


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
    readings = list(_readings(text))
    hidden: set[int] = set()
    for secret in known:
        found = {place for reading in readings for place in _places(reading, secret.text)}
        if found and secret.key == "queryString":
            return _WITHHELD
        hidden |= found
    return "".join(
        ("" if place - 1 in hidden else "***") if place in hidden else letter for place, letter in enumerate(text)
    )


def by_description(shape: Any, found: Mapping[str, Any], text: str, *, known: bool = False) -> str:
    """
    A text about a resource without what the resource's own description holds and is not to be shown.

    Who asks need not know the request. The whole text is withheld where the description does not show all that the request may have
    held, unless it shows that there was none.

    :param shape: Shape of the description.
    :param known: The request is known, and its secrets are taken out of the text as well: nothing is withheld for what is not described.
    """
    return UNKNOWN if not known and _lacks(shape, found) else redact(text, secrets(shape, dict(found)))


def _lacks(shape: Any, found: Any) -> bool:
    """Whether a value does not show everything sensitive that its shape may hold."""
    if is_sensitive(shape):
        # A query, or the template that it is in; parameters alone say nothing of it.
        return "queryString" in getattr(shape, "members", ()) and not any(map(found.get, _QUERIES))
    if not holds_sensitive(shape):
        return False
    if shape.type_name == "structure":
        return any(_lacks_member(member, found, name) for name, member in shape.members.items())
    items = found.values() if isinstance(found, Mapping) else found
    return any(_lacks(below(shape, None), item) for item in items)


def _lacks_member(shape: Any, found: Mapping[str, Any], name: str) -> bool:
    if found.get(name) is not None:
        return _lacks(shape, found[name])
    return holds_sensitive(shape) and found.get(_INSTEAD.get(name, "")) is None


class _Reading:
    """
    A text as it can be read.

    :param text: What it reads.
    :param spans: Where each of its characters stands in the text that it was read from.
    """

    def __init__(self, text: str, spans: list[tuple[int, int]]) -> None:
        self.text = text
        self.spans = spans
        found = list(_letters(text))
        self.plain = "".join(letter for letter, _ in found)
        self._letters = [self.span(*span) for _, span in found]

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """Where some of its characters stand."""
        return self.spans[begin][0], self.spans[end - 1][1]

    def places(self, begin: int, size: int) -> range:
        """Where some of its plain letters stand."""
        return range(self._letters[begin][0], self._letters[begin + size - 1][1])


def _letters(text: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """The letters that a text is compared by, and where each stands."""
    for match in _LETTER.finditer(text):
        for letter in _unescaped(match).casefold():
            if letter.isalnum() or letter == "_":
                yield letter, match.span()


def _runs(plain: str, size: int) -> Iterator[tuple[int, str]]:
    return ((begin, plain[begin : begin + size]) for begin in range(len(plain) - size + 1))


def _readings(text: str) -> Iterator[_Reading]:
    """A text as it stands, and decoded as often as it was encoded."""
    reading = _Reading(text, [(place, place + 1) for place in range(len(text))])
    yield reading
    while (decoded := _decoded(reading)).text != reading.text:
        yield decoded
        reading = decoded


def _decoded(reading: _Reading) -> _Reading:
    text, spans, end = [], [], 0
    for match in _ENCODED.finditer(reading.text):
        meant = unescape(match[0]) if match[0].startswith("&") else unquote(match[0])
        text += [reading.text[end : match.start()], meant]
        spans += [*reading.spans[end : match.start()], *[reading.span(*match.span())] * len(meant)]
        end = match.end()
    return _Reading("".join([*text, reading.text[end:]]), [*spans, *reading.spans[end:]])


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else match[3] or ""


def _places(reading: _Reading, secret: str) -> Iterator[int]:
    """The places in a text that quote a secret."""
    wanted = "".join(letter for letter, _ in _letters(secret))
    if len(wanted) < _FEW:
        for spelling in _spellings(secret):
            for match in re.finditer(_alone(spelling), reading.text, re.IGNORECASE):
                yield from range(*reading.span(*match.span()))
        return
    size = min(_RUN, len(wanted))
    said = {run for _, run in _runs(reading.plain, size)}
    quoted = {run for _, run in _runs(wanted, size) if run in said}
    for begin, run in _runs(reading.plain, size):
        if run in quoted:
            yield from reading.places(begin, size)


def _spellings(secret: str) -> set[str]:
    """A short text as it stands, in JSON, and in a form, where a space is a plus."""
    written = {secret, secret.replace(" ", "+")}
    return {*written, *(json.dumps(text, ensure_ascii=escaped)[1:-1] for text in written for escaped in (True, False))}


def _alone(spelling: str) -> str:
    """A pattern of a short text where it is no part of a word."""
    before = r"(?<!\w)" if re.match(r"\w", spelling) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", spelling) else ""
    return f"{before}{re.escape(spelling)}{after}"
