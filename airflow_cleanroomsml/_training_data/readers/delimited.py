"""Reads CSV and other delimited text."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from airflow_cleanroomsml._training_data.columns import to_arrow_type
from airflow_cleanroomsml._training_data.table_format import TextOptions

#: pyarrow rejects a row that spans more than two blocks ("straddling object straddles two block boundaries").
_BLOCK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Delimited:
    r"""
    Delimited text, read like Hive's OpenCSVSerde or LazySimpleSerDe.

    Fields match the columns of the table by position, even with a header. Empty fields and ``\N`` are null.

    :param names: Columns of the table, in order and in lower case.
    :param options: Delimiters, quotes and header lines.
    """

    names: tuple[str, ...]
    options: TextOptions

    def read(self, data: bytes, columns: Mapping[str, str]) -> pa.Table:
        """Return some columns, see :class:`~airflow_cleanroomsml._training_data.readers.Reader`."""
        self._check_header(data, columns)
        types = {name: to_arrow_type(glue_type) for name, glue_type in columns.items()}
        try:
            table = self._parse(data, types, use_threads=True)
        except pa.ArrowInvalid:
            # With several threads, pyarrow does not count rows, so its error does not tell which row is malformed.
            table = self._parse(data, types, use_threads=False)
        for name in (name for name, kind in types.items() if pa.types.is_list(kind)):
            elements = pc.split_pattern(table[name], self.options.element_delimiter)
            table = table.set_column(table.schema.get_field_index(name), name, elements)
        return table

    def _parse(self, data: bytes, types: Mapping[str, pa.DataType], *, use_threads: bool) -> pa.Table:
        read = arrow_csv.ReadOptions(
            column_names=self.names,
            skip_rows=self.options.skip_lines,
            use_threads=use_threads,
            block_size=_BLOCK_BYTES,
        )
        parse = arrow_csv.ParseOptions(
            delimiter=self.options.delimiter,
            quote_char=self.options.quote or False,
            escape_char=self.options.escape or False,
        )
        # Arrays are read as text and split afterwards, because pyarrow cannot convert CSV to lists.
        convert = arrow_csv.ConvertOptions(
            column_types={name: pa.string() if pa.types.is_list(kind) else kind for name, kind in types.items()},
            include_columns=list(types),
            null_values=["", "\\N"],
            strings_can_be_null=True,
        )
        return arrow_csv.read_csv(pa.BufferReader(data), read, parse, convert)

    def _check_header(self, data: bytes, columns: Mapping[str, str]) -> None:
        line = data[:_BLOCK_BYTES].partition(b"\n")[0].decode("utf-8-sig", "replace").rstrip("\r")
        row = csv.reader(io.StringIO(line), delimiter=self.options.delimiter, quotechar=self.options.quote or '"')
        try:
            header = [field.strip().lower() for field in next(row, [])]
        except csv.Error:
            # No header has a field of more than 128 KiB. What else is wrong, pyarrow finds.
            return
        if self.options.skip_lines and sorted(header) == sorted(self.names) and header != list(self.names):
            raise ValueError(
                f"its header has the columns {', '.join(header)}, but the table has {', '.join(self.names)}, "
                "and Glue matches columns by position: put the table's columns in the order of the file"
            )
        if not self.options.skip_lines and set(columns) <= set(header):
            raise ValueError("its first line is a header: set the table parameter skip.header.line.count to 1")
