"""Reads and checks the data of a test, so that a mistake in it does not look like one in the Dag under test."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_cleanroomsml._requests.violations import count, describe_type

_ALLOWED = (
    "must be rows (mappings from column to value), the text of a CSV file with a header, the pathlib.Path of one, "
    "a pandas DataFrame or a pyarrow Table"
)
#: Maximum length of a quotation in an error.
_MOST_QUOTED = 60
#: Types of columns in Hive (Hive language manual, "Hive Data Types").
_HIVE_TYPE = re.compile(
    r"(boolean|tinyint|smallint|int|integer|bigint|float|double|string|binary|date|timestamp"
    r"|decimal(\(\d+(, ?\d+)?\))?|(char|varchar)\(\d+\)|(array|map|struct|uniontype)<.+>)"
)


def parse_csv(text: bytes) -> list[dict[str, str]]:
    """
    Parse the text of a CSV file.

    :raises ValueError: It is not UTF-8, has no header or no rows, or a row has more or fewer values than the header.
    """
    try:
        # A byte order mark would otherwise become part of the first column's name.
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"data: byte {error.start + 1} is not UTF-8; {_ALLOWED}") from error
    if decoded.strip() and not re.search(r"[\r\n]", decoded):
        raise ValueError(
            f"data is the text {_quote(decoded)}, which is not a CSV file with a header and rows; {_ALLOWED}"
        )
    # Without ``strict``, csv accepts an unclosed quote, and the rest of the file becomes one value.
    reader = csv.reader(io.StringIO(decoded, newline=""), strict=True)
    try:
        lines = [(reader.line_num, values) for values in reader if values]
    except csv.Error as error:
        raise ValueError(f"data: line {reader.line_num} is not CSV: {error}") from error
    if len(lines) < 2:
        raise ValueError("data: the table has no rows")
    (_, header), *rows = lines
    check_column_names(header)
    for number, values in rows:
        if len(values) != len(header):
            raise ValueError(
                f"data: line {number} has {count(str(len(values)), 'values')}; the header has {count(str(len(header)), 'columns')}"
            )
    return [dict(zip(header, values, strict=True)) for _, values in rows]


def check_rows(data: Any) -> list[dict[str, Any]]:
    """
    Check rows.

    :raises ValueError: They are not mappings, have different columns, or there are none.
    """
    if isinstance(data, Mapping) or not isinstance(data, Iterable):
        raise ValueError(f"data is {describe_type(data)}; {_ALLOWED}")
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(data, 1):
        if not isinstance(row, Mapping):
            raise ValueError(f"data: row {number} is {describe_type(row)}; {_ALLOWED}")
        rows.append(dict(row))
        # Parquet would drop a column that the first row lacks, and a misspelt name would make another column.
        if different := rows[0].keys() ^ row.keys():
            raise ValueError(
                f"data: row {number} and row 1 differ in the columns {', '.join(sorted(map(str, different)))}; "
                "give every row the same columns, with None for no value"
            )
    if not rows:
        raise ValueError("data: the table has no rows")
    check_column_names(list(rows[0]))
    return rows


def check_column_names(names: Sequence[Any]) -> None:
    """
    Check the names of columns.

    :raises ValueError: There are none, one is empty or not a string, or two are the same for Hive, which ignores case.
    """
    if not names:
        raise ValueError("data: the table has no columns")
    for number, name in enumerate(names, 1):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"data: the name of column {number} is {name!r}; must be a string that is not empty")
    # All spellings are listed, because the one that is wrong is not known.
    counts = Counter(name.lower() for name in names)
    if repeated := [name for name in names if counts[name.lower()] > 1]:
        raise ValueError(f"data: the columns {', '.join(repeated)} have the same name; Hive ignores case")


def check_types(types: Mapping[str, str], columns: Iterable[str]) -> None:
    """
    Check Glue types of columns.

    :raises ValueError: There is no such column or type.
    """
    if unknown := sorted(set(types) - set(columns)):
        raise ValueError(f"types: the table has no column {', '.join(unknown)}; columns: {', '.join(columns)}")
    for name, glue_type in types.items():
        if not _HIVE_TYPE.fullmatch(str(glue_type).lower()):
            raise ValueError(
                f"types: {name} is {glue_type!r}; must be a Hive type, such as 'string', 'bigint' or 'int'"
            )


def check_user_ids(user_ids: Any) -> list[str | int]:
    """
    Check the ids of a seed.

    :raises ValueError: They are a single string, or one is neither a string nor an integer.
    """
    # Iterating over a string or bytes would give single characters or numbers as ids.
    if isinstance(user_ids, str | bytes | Mapping) or not isinstance(user_ids, Iterable):
        raise ValueError(
            f"user_ids is {describe_type(user_ids)}; must be an iterable of user ids, such as a list of str"
        )
    checked = list(user_ids)
    for number, user_id in enumerate(checked, 1):
        if not isinstance(user_id, str | int) or isinstance(user_id, bool):
            raise ValueError(f"user_ids: id {number} is {describe_type(user_id)}; must be a str or an int")
    return checked


def _quote(text: str) -> str:
    return repr(text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}…")
