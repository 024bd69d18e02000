"""CSV and other delimited text."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from airflow_cleanroomsml.emulator.lookalike.columns import arrow_type

_BLOCK_BYTES = 4 * 1024 * 1024
#: What Hive's LazySimpleSerDe takes between fields and between elements where a table says nothing.
_HIVE_FIELD, _HIVE_ELEMENT = "\x01", "\x02"


@dataclass(frozen=True)
class Delimited:
    r"""
    Text in lines and fields, as one of Hive's two SerDes for it reads it.

    Fields belong to the table's columns by position, header or not. Empty fields and ``\N`` are nulls.

    :param names: The table's columns, in order and in lower case.
    :param delimiter: Character between two fields.
    :param element_delimiter: Character between two elements of an array.
    :param quote: Character around fields that contain delimiters; None where quotes are ordinary characters.
    :param escape: Character before one that is not to act as quote or delimiter.
    :param skip_lines: Number of header lines.
    """

    names: tuple[str, ...]
    delimiter: str = ","
    element_delimiter: str = _HIVE_ELEMENT
    quote: str | None = None
    escape: str | None = None
    skip_lines: int = 0

    @classmethod
    def of(cls, parameters: Mapping[str, str], names: tuple[str, ...], *, quoting: bool) -> Delimited:
        """
        Read what Glue says about the text.

        :param parameters: Parameters of the table and, above them, of its SerDe.
        :param names: The table's columns.
        :param quoting: Whether the SerDe is OpenCSVSerde, which alone knows quotes.
        :raises ValueError: When the delimiter has several characters.
        """
        said = {name: _unescape(value) for name, value in parameters.items()}
        fallback = "," if quoting or said.get("classification") == "csv" else _HIVE_FIELD
        quote = said.get("quoteChar", '"') if quoting else None
        escape = said.get("escapeChar", "\\") if quoting else said.get("escape.delim")
        delimiter = said.get("separatorChar" if quoting else "field.delim") or said.get("delimiter", fallback)
        if len(delimiter) != 1:
            raise ValueError(f"fields are delimited by {delimiter!r}; one character is supported")
        return cls(
            names,
            delimiter,
            # "colelction" is how Hive itself spelt it until version 3
            said.get("collection.delim") or said.get("colelction.delim", _HIVE_ELEMENT),
            quote,
            None if escape == quote else escape,
            int(said.get("skip.header.line.count", "0")),
        )

    def read(self, data: bytes, columns: Mapping[str, str]) -> pa.Table:
        """Return the named columns (see :class:`~airflow_cleanroomsml.emulator.lookalike.readers.Reader`)."""
        self._check_header(data, columns)
        types = {name: arrow_type(glue_type) for name, glue_type in columns.items()}
        try:
            table = self._parse(data, types, use_threads=True)
        except pa.ArrowInvalid:
            # one thread counts the rows, so that the error says which row it is
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
                f"its header has the columns as {', '.join(header)}, the table as {', '.join(self.names)}, "
                "and Glue goes by position: bring the table's columns into the file's order"
            )
        if not self.skip_lines and set(columns) <= set(header):
            raise ValueError("its first line is a header: set the table's parameter skip.header.line.count to 1")


def _unescape(value: str) -> str:
    # a tab can reach Glue as a tab or as backslash and t
    return {"\\t": "\t", "\\001": "\x01", "\\u0001": "\x01", "\\\\": "\\", '\\"': '"'}.get(value, value)
