"""
Removes confidential values of a request from texts of other parties.

SQL engines quote the SQL and the variables they receive: in part, in upper case, on one line, escaped, encoded for a URL or for XML, or
truncated after a hundred characters. Texts are therefore decoded first, and then compared by their letters, digits and underscores only,
ignoring case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from html import unescape
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import unquote

from airflow_cleanroomsml._requests.sensitive import find_child_shape, holds_sensitive, is_sensitive

#: Replaces a text that may quote a value which is not known here.
UNKNOWN = "(withheld: it may quote confidential parts of a request)"
_WITHHELD = "*** (withheld: the text quotes the query of the request)"
#: As many letters in a row count as a quotation: "secret_column FR", but not the name of a single short column.
_RUN = 14
#: A shorter value only counts as a quotation if it stands alone: "1.0" is not in "10", nor "dev" in "device".
_SHORT = 6
# JSON, Java, Python and SQL escape with a backslash; a text that was escaped twice has several. A match begins with the first of them, as
# reading the rest from each backslash would take quadratic time.
_LETTER = re.compile(r"(?<!\\)\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|[nrtbf])|(\w)")
# A space is encoded as %20, or in forms as +, which is not a letter anyway.
_ENCODED = re.compile(r"(?:%[0-9a-fA-F]{2})+|&#?\w{1,8};")
#: Members that show that another one was not in the request: every request with an environment also has instances, and in place of SQL
#: there is a file or an analysis template (service model; for seeds: user guide).
_ALTERNATIVES = {"environment": "resourceConfig", "sqlParameters": "dataSource", "parameters": "analysisTemplateArn"}
_QUERIES = ("queryString", "analysisTemplateArn")
#: Redacts a text of the service; takes the shape of a resource's description, the description, and the text.
Redact: TypeAlias = Callable[[Any, Mapping[str, Any], str], str]


class Secret(NamedTuple):
    """
    A confidential value.

    :param key: Its member, in the API's own spelling; empty in a map.
    :param text: The value.
    """

    key: str
    text: str


def find_secrets(shape: Any, value: Any, key: str = "", *, inside: bool = False) -> Iterator[Secret]:
    """
    Find the confidential values in a request or a description.

    Values of one or two characters are ignored, because they would match by chance, and so is the ARN of an analysis template.

    :param key: Member of the value.
    :param inside: Whether the value is within a sensitive one.
    """
    inside = inside or is_sensitive(shape)
    if isinstance(value, dict):
        is_structure = shape is not None and shape.type_name == "structure"
        for name, item in value.items():
            yield from find_secrets(find_child_shape(shape, name), item, name if is_structure else "", inside=inside)
    elif isinstance(value, list):
        for item in value:
            yield from find_secrets(find_child_shape(shape, None), item, key, inside=inside)
    elif inside and isinstance(value, str) and len(value) > 2 and key != "analysisTemplateArn":
        yield Secret(key, value)


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """
    Withhold a text that quotes a query, or replace the secrets that it quotes.

    :param text: Text of another party.
    :param secrets: Confidential values.
    """
    readings = list(_iterate_readings(text))
    hidden: set[int] = set()
    for secret in secrets:
        positions = {position for reading in readings for position in _find_quotations(reading, secret.text)}
        if secret.key == "queryString":
            if positions:
                return _WITHHELD
            for literal in _list_literals(secret.text):
                positions.update(position for reading in readings for position in _find_quotations(reading, literal))
        hidden |= positions
    return "".join(
        ("" if position - 1 in hidden else "***") if position in hidden else letter
        for position, letter in enumerate(text)
    )


def redact_by_description(shape: Any, description: Mapping[str, Any], text: str, *, known: bool = False) -> str:
    """
    Redact a text about a resource by what the service describes of the resource.

    The caller need not know the request. The whole text is withheld if the description may lack confidential parts of the request.

    :param shape: Shape of the description.
    :param description: Description of the resource.
    :param known: Whether the caller also redacts the text by the request itself, so that it need not be withheld.
    """
    if not known and _lacks_sensitive(shape, description):
        return UNKNOWN
    return redact(text, find_secrets(shape, dict(description)))


def _lacks_sensitive(shape: Any, value: Any) -> bool:
    """Return whether a value may lack something sensitive that its shape has."""
    if is_sensitive(shape):
        # The parameters alone do not show what the query was.
        return "queryString" in getattr(shape, "members", ()) and not any(map(value.get, _QUERIES))
    if not holds_sensitive(shape):
        return False
    if shape.type_name == "structure":
        return any(_lacks_member(member, value, name) for name, member in shape.members.items())
    items = value.values() if isinstance(value, Mapping) else value
    return any(_lacks_sensitive(find_child_shape(shape, None), item) for item in items)


def _lacks_member(shape: Any, structure: Mapping[str, Any], name: str) -> bool:
    if structure.get(name) is not None:
        return _lacks_sensitive(shape, structure[name])
    return holds_sensitive(shape) and structure.get(_ALTERNATIVES.get(name, "")) is None


class _Reading:
    """
    A text, decoded a number of times.

    :param text: The decoded text.
    :param spans: For each of its characters, the span in the original text.
    """

    def __init__(self, text: str, spans: list[tuple[int, int]]) -> None:
        self.text = text
        self.spans = spans
        letters = list(_iterate_letters(text))
        self.plain = "".join(letter for letter, _ in letters)
        self._letters = [self.find_span(*span) for _, span in letters]

    def find_span(self, begin: int, end: int) -> tuple[int, int]:
        """Return the span of some of its characters in the original text."""
        return self.spans[begin][0], self.spans[end - 1][1]

    def find_positions(self, begin: int, size: int) -> range:
        """Return the positions of some of its plain letters in the original text."""
        return range(self._letters[begin][0], self._letters[begin + size - 1][1])


def _iterate_letters(text: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the letters by which texts are compared, each with its span."""
    for match in _LETTER.finditer(text):
        for letter in _unescape(match).casefold():
            if letter.isalnum() or letter == "_":
                yield letter, match.span()


def _iterate_runs(plain: str, size: int) -> Iterator[tuple[int, str]]:
    return ((begin, plain[begin : begin + size]) for begin in range(len(plain) - size + 1))


def _iterate_readings(text: str) -> Iterator[_Reading]:
    """Yield a text as it is, and after each decoding until nothing is encoded."""
    reading = _Reading(text, [(position, position + 1) for position in range(len(text))])
    yield reading
    while (decoded := _decode(reading)).text != reading.text:
        yield decoded
        reading = decoded


def _decode(reading: _Reading) -> _Reading:
    text, spans, end = [], [], 0
    for match in _ENCODED.finditer(reading.text):
        decoded = unescape(match[0]) if match[0].startswith("&") else unquote(match[0])
        text += [reading.text[end : match.start()], decoded]
        spans += [*reading.spans[end : match.start()], *[reading.find_span(*match.span())] * len(decoded)]
        end = match.end()
    return _Reading("".join([*text, reading.text[end:]]), [*spans, *reading.spans[end:]])


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else match[3] or ""


def _find_quotations(reading: _Reading, secret: str) -> Iterator[int]:
    """Yield the positions in the original text at which it quotes a secret."""
    plain = "".join(letter for letter, _ in _iterate_letters(secret))
    if len(plain) < _SHORT:
        if plain not in reading.plain:
            return
        for spelling in _list_spellings(secret):
            for match in re.finditer(_build_standalone_pattern(spelling), reading.text, re.IGNORECASE):
                yield from range(*reading.find_span(*match.span()))
        return
    # Comparing sets of runs takes linear time, even for SQL of 500,000 characters.
    size = min(_RUN, len(plain))
    if size == len(plain) and plain not in reading.plain:
        return
    runs = {run for _, run in _iterate_runs(reading.plain, size)}
    quoted = {run for _, run in _iterate_runs(plain, size) if run in runs}
    for begin, run in _iterate_runs(reading.plain, size):
        if run in quoted:
            yield from reading.find_positions(begin, size)


def _list_literals(query: str) -> set[str]:
    """Return the texts and long numbers in a query, of which engines quote one alone, such as one that they cannot convert."""
    # The dialect is not known, and a misread quote would make the text between two literals look like one: each dialect is tried.
    values: set[str] = set()
    for escapes in (False, True):
        for nests in (False, True):
            for match in _compile_literals(escapes=escapes, nests=nests).finditer(query):
                values.update(_read_text(match["text"], escapes=escapes) if match["text"] else [match["number"] or ""])
    # Longer ones count as quotations of the query; shorter ones would match by chance.
    return {value for value in values if len(value) > 2 and 2 < sum(map(str.isalnum, value)) <= _RUN}


@cache
def _compile_literals(*, escapes: bool, nests: bool) -> re.Pattern[str]:
    """
    Compile the pattern of a text or a long number in SQL, and of what may contain a quote without being a text.

    A number has five digits or more, which years and line numbers do not have. A text in double quotes is a name in ANSI SQL, but a string
    in Spark SQL.

    :param escapes: Whether a backslash escapes, as in Spark SQL, where an r before a text prevents that.
    :param nests: Whether comments nest, as in Spark SQL and PostgreSQL; at most two levels are read.
    """
    if escapes:
        texts = [rf"(?<!\w)[rR]{quote}[^{quote}]*(?:{quote}|\Z)" for quote in "'\""]
        texts += [rf"{quote}(?:[^{quote}\\]|\\.|{quote}{quote})*(?:{quote}|\\?\Z)" for quote in "'\""]
    else:
        texts = [rf"{quote}(?:[^{quote}]|{quote}{quote})*(?:{quote}|\Z)" for quote in "'\""]
    line = r"--(?:\\\n|[^\r\n])*" if escapes else r"--[^\r\n]*"
    inner = r"/\*(?:(?!/\*|\*/).)*\*/"
    comment = rf"/\*(?:(?!/\*|\*/).|{inner})*\*/" if nests else r"/\*.*?(?:\*/|\Z)"
    number = r"\b(?:\d{5,}(?:\.\d+)?|\d{3,}\.\d{2,})\b"
    return re.compile(rf"{line}|{comment}|`[^`]*`|(?P<text>{'|'.join(texts)})|(?P<number>{number})", re.DOTALL)


def _read_text(literal: str, *, escapes: bool) -> set[str]:
    """Return what a text in SQL may stand for; parameters as for :func:`_compile_literals`."""
    quote = literal.lstrip("rR")[0]
    text = literal.lstrip("rR")[1:].removesuffix(quote)
    # Two quotes in a row are one quote, or the end of a text and the start of another one, which Spark SQL joins.
    values = {text.replace(quote * 2, quote), text.replace(quote * 2, "")}
    if escapes:
        pattern = r"(?s)\\(?:u([0-9a-fA-F]{4})|(.))"
        values |= {re.sub(pattern, _replace_escape, value) for value in values}
    return values


def _replace_escape(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else {"n": "\n", "r": "\r", "t": "\t"}.get(match[2], match[2])


def _list_spellings(secret: str) -> set[str]:
    """
    Return the spellings of a short text.

    - As it is.
    - In a form: a space is a plus.
    - In SQL: an apostrophe is doubled.
    - Each of these in JSON, with and without escapes of characters that are not ASCII.
    """
    spellings = {secret, secret.replace(" ", "+"), secret.replace("'", "''")}
    in_json = (json.dumps(text, ensure_ascii=ascii_only)[1:-1] for text in spellings for ascii_only in (True, False))
    return {*spellings, *in_json}


def _build_standalone_pattern(spelling: str) -> str:
    """Return a pattern for a short text that is not part of a word."""
    before = r"(?<!\w)" if re.match(r"\w", spelling) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", spelling) else ""
    return f"{before}{re.escape(spelling)}{after}"
