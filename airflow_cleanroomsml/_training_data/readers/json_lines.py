"""Reads JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import json as arrow_json

from airflow_cleanroomsml._training_data.columns import to_arrow_type
from airflow_cleanroomsml._training_data.json_types import describe_json_type

#: As in CSV, pyarrow rejects an object that spans more than two blocks.
_BLOCK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class JsonLines:
    """
    Files with a JSON object on each line.

    The first object determines the spelling of the members, since Hive's SerDe ignores case, and whether a text column is written as
    numbers.
    """

    def read(self, data: bytes, columns: Mapping[str, str]) -> pa.Table:
        """Return some columns, see :class:`~airflow_cleanroomsml._training_data.readers.Reader`."""
        first = _read_first_object(data)
        spelling = {name.lower(): name for name in first}
        types = {}
        for name, glue_type in columns.items():
            key = spelling.get(name, name)
            types[key] = _choose_type(to_arrow_type(glue_type), first.get(key))
        try:
            table = _parse(data, types)
        except pa.ArrowInvalid:
            # pyarrow counts rows within a block; if a line is not JSON, this raises an error with its number in the file.
            _check_lines(data)
            raise
        table = table.rename_columns([name.lower() for name in table.column_names])
        return table.select(list(columns)).cast(pa.schema([(n, to_arrow_type(t)) for n, t in columns.items()]))


def _choose_type(declared: pa.DataType, example: object) -> pa.DataType:
    is_integer = isinstance(example, int) and not isinstance(example, bool)
    return pa.int64() if is_integer and pa.types.is_string(declared) else declared


def _parse(data: bytes, types: Mapping[str, pa.DataType]) -> pa.Table:
    return arrow_json.read_json(
        pa.BufferReader(data),
        arrow_json.ReadOptions(block_size=_BLOCK_BYTES),
        arrow_json.ParseOptions(explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior="ignore"),
    )


def _read_first_object(data: bytes) -> dict[str, Any]:
    for number, line in _iterate_lines(data):
        return _parse_object(number, line)
    raise ValueError("all of its lines are blank")


def _check_lines(data: bytes) -> None:
    for number, line in _iterate_lines(data):
        _parse_object(number, line)


def _iterate_lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    # bytes.splitlines() would hold all lines in memory.
    start, number = 0, 0
    while start < len(data):
        number += 1
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        if line := data[start:end].strip():
            yield number, line
        start = end + 1


def _parse_object(number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number:,} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise TypeError(f"line {number:,} is {describe_json_type(value)}, not an object: write one object per line")
    return value
