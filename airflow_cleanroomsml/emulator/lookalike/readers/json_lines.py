"""JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import json as arrow_json

from airflow_cleanroomsml.emulator.lookalike.columns import arrow_type

_BLOCK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class JsonLines:
    """
    One JSON object a line.

    The first object tells how a file spells its members (Hive's SerDe matches them whatever their case) and
    whether a column of text is written as numbers, which become their digits.
    """

    def read(self, data: bytes, columns: Mapping[str, str]) -> pa.Table:
        """Return the named columns (see :class:`~airflow_cleanroomsml.emulator.lookalike.readers.Reader`)."""
        first = _first_object(data)
        spelling = {name.lower(): name for name in first}
        types = {}
        for name, glue_type in columns.items():
            spelt = spelling.get(name, name)
            types[spelt] = _stored_type(arrow_type(glue_type), first.get(spelt))
        try:
            table = _parse(data, types)
        except pa.ArrowInvalid:
            # pyarrow counts rows by block; where the text itself is broken, the line can be named
            _find_bad_line(data)
            raise
        table = table.rename_columns([name.lower() for name in table.column_names])
        return table.select(list(columns)).cast(pa.schema([(n, arrow_type(t)) for n, t in columns.items()]))


def _stored_type(kind: pa.DataType, example: object) -> pa.DataType:
    number = isinstance(example, int) and not isinstance(example, bool)
    return pa.int64() if number and pa.types.is_string(kind) else kind


def _parse(data: bytes, types: Mapping[str, pa.DataType]) -> pa.Table:
    return arrow_json.read_json(
        pa.BufferReader(data),
        arrow_json.ReadOptions(block_size=_BLOCK_BYTES),
        arrow_json.ParseOptions(explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior="ignore"),
    )


def _first_object(data: bytes) -> dict[str, Any]:
    for number, line in _lines(data):
        return _object(number, line)
    raise ValueError("it has no line that is not blank")


def _find_bad_line(data: bytes) -> None:
    for number, line in _lines(data):
        _object(number, line)


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    start, number = 0, 0
    while start < len(data):
        number += 1
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        if line := data[start:end].strip():
            yield number, line
        start = end + 1


def _object(number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number:,} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise TypeError(f"line {number:,} is a JSON {type(value).__name__}, not an object: write one object a line")
    return value
