"""Reads CSV and other delimited text."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from airflow_cleanroomsml.emulator.lookalike.columns import to_arrow_type

_BLOCK_BYTES = 4 * 1024 * 1024
#: Defaults of Hive's LazySimpleSerDe (Hive DDL, row format).
_HIVE_FIELD, _HIVE_ELEMENT = "\x01", "\x02"


@dataclass(frozen=True)
class Delimited:
    r"""
    Delimited text, read like Hive's OpenCSVSerde or LazySimpleSerDe.

    Fields match the columns of the table by position, even with a header. Empty fields and ``\N`` are null.

    :param names: Columns of the table, in order and in lower case.
    :param delimiter: Delimiter of fields.
    :param element_delimiter: Delimiter of the elements of an array.
    :param quote: Quote character; None if quotes are ordinary characters.
    :param escape: Escape character; None for none.
    :param skip_lines: Number of header lines.
    """

    names: tuple[str, ...]
    delimiter: str = ","
    element_delimiter: str = _HIVE_ELEMENT
    quote: str | None = None
    escape: str | None = None
    skip_lines: int = 0

    @classmethod
    def from_glue(cls, parameters: Mapping[str, str], names: tuple[str, ...], *, quoting: bool) -> Delimited:
        """
        Create a reader from Glue's parameters.

        :param parameters: Parameters of the table, overridden by those of its SerDe.
        :param names: Columns of the table.
        :param quoting: Whether the SerDe is OpenCSVSerde; LazySimpleSerDe has no quotes.
        :raises ValueError: The delimiter has several characters.
        """
        options = {name: _unescape(value) for name, value in parameters.items()}
        default = "," if quoting or options.get("classification") == "csv" else _HIVE_FIELD
        quote = options.get("quoteChar", '"') if quoting else None
        escape = options.get("escapeChar", "\\") if quoting else options.get("escape.delim")
        delimiter = options.get("separatorChar" if quoting else "field.delim") or options.get("delimiter", default)
        if len(delimiter) != 1:
            raise ValueError(f"the delimiter {delimiter!r} is not supported; must be one character")
        return cls(
            names,
            delimiter,
            # Hive itself misspelt it "colelction" until version 3.
            options.get("collection.delim") or options.get("colelction.delim", _HIVE_ELEMENT),
            quote,
            # A doubled quote needs no escape character, and pyarrow cannot use the same for both.
            None if escape == quote else escape,
            int(options.get("skip.header.line.count", "0")),
        )

    def read(self, data: bytes, columns: Mapping[str, str]) -> pa.Table:
        """Return some columns, see :class:`~airflow_cleanroomsml.emulator.lookalike.readers.Reader`."""
        self._check_header(data, columns)
        types = {name: to_arrow_type(glue_type) for name, glue_type in columns.items()}
        try:
            table = self._parse(data, types, use_threads=True)
        except pa.ArrowInvalid:
            # With several threads, pyarrow does not count rows, so its error does not tell which row is malformed.
            table = self._parse(data, types, use_threads=False)
        for name in (name for name, kind in types.items() if pa.types.is_list(kind)):
            elements = pc.split_pattern(table[name], self.element_delimiter)
            table = table.set_column(table.schema.get_field_index(name), name, elements)
        return table

    def _parse(self, data: bytes, types: Mapping[str, pa.DataType], *, use_threads: bool) -> pa.Table:
        read = arrow_csv.ReadOptions(
            column_names=self.names,
            skip_rows=self.skip_lines,
            use_threads=use_threads,
            block_size=_BLOCK_BYTES,
        )
        parse = arrow_csv.ParseOptions(
            delimiter=self.delimiter, quote_char=self.quote or False, escape_char=self.escape or False
        )
        convert = arrow_csv.ConvertOptions(
            column_types={name: pa.string() if pa.types.is_list(kind) else kind for name, kind in types.items()},
            include_columns=list(types),
            null_values=["", "\\N"],
            strings_can_be_null=True,
        )
        return arrow_csv.read_csv(pa.BufferReader(data), read, parse, convert)

    def _check_header(self, data: bytes, columns: Mapping[str, str]) -> None:
        line = data[:_BLOCK_BYTES].partition(b"\n")[0].decode("utf-8-sig", "replace").rstrip("\r")
        row = csv.reader(io.StringIO(line), delimiter=self.delimiter, quotechar=self.quote or '"')
        header = [field.strip().lower() for field in next(row, [])]
        if self.skip_lines and sorted(header) == sorted(self.names) and header != list(self.names):
            raise ValueError(
                f"its header has the columns {', '.join(header)}, but the table {', '.join(self.names)}, "
                "and Glue matches columns by position: put the table's columns in the order of the file"
            )
        if not self.skip_lines and set(columns) <= set(header):
            raise ValueError("its first line is a header: set the table parameter skip.header.line.count to 1")


def _unescape(value: str) -> str:
    # DDL statements and API calls put a tab into Glue either as such or as a backslash and a t.
    return {"\\t": "\t", "\\001": "\x01", "\\u0001": "\x01", "\\\\": "\\", '\\"': '"'}.get(value, value)
