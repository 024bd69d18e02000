"""Reads Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import parquet

from airflow_cleanroomsml._training_data.columns import to_arrow_type


class ZstdError(ValueError):
    """A file is compressed with Zstandard."""


@dataclass(frozen=True)
class Parquet:
    """Parquet files, whose columns are matched by name; Zstandard compression is not supported (user guide)."""

    def read(self, data: bytes, columns: Mapping[str, str]) -> pa.Table:
        """Return some columns, see :class:`~airflow_cleanroomsml._training_data.readers.Reader`."""
        file = parquet.ParquetFile(pa.BufferReader(data))
        if "ZSTD" in _list_compressions(file.metadata):
            raise ZstdError
        spelling = {name.lower(): name for name in file.schema_arrow.names}
        # Only the columns of the schema: wide tables would otherwise be decompressed as a whole.
        table = file.read([spelling[name] for name in columns if name in spelling])
        arrays = {}
        for name, glue_type in columns.items():
            arrow_type = to_arrow_type(glue_type)
            # Hive reads a column that a file lacks as null.
            values = table[spelling[name]] if name in spelling else pa.nulls(len(table), arrow_type)
            arrays[name] = _convert(name, values, arrow_type, glue_type)
        return pa.table(arrays)


def _list_compressions(metadata: parquet.FileMetaData) -> set[str]:
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    return {group.column(column).compression for group in groups for column in range(group.num_columns)}


def _convert(
    name: str, values: pa.ChunkedArray | pa.Array, declared: pa.DataType, glue_type: str
) -> pa.ChunkedArray | pa.Array:
    # A time zone only affects how an instant is displayed, and units below microseconds do not matter to training in seconds.
    if pa.types.is_timestamp(values.type) and pa.types.is_timestamp(declared):
        return values.cast(pa.timestamp("us", values.type.tz), safe=False).cast(declared)
    if pa.types.is_temporal(values.type) and not pa.types.is_temporal(declared):
        raise ValueError(f"column '{name}' has type {values.type} in the file, but {glue_type} in the Glue table")
    return values.cast(declared)
