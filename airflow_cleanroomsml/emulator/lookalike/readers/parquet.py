"""Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import parquet

from airflow_cleanroomsml.emulator.lookalike.columns import arrow_type


@dataclass(frozen=True)
class Parquet:
    """Parquet, its columns matched by name; compressed by anything but Zstandard (user guide)."""

    def read(self, data: bytes, columns: Mapping[str, str]) -> pa.Table:
        """Return the named columns (see :class:`~airflow_cleanroomsml.emulator.lookalike.readers.Reader`)."""
        file = parquet.ParquetFile(pa.BufferReader(data))
        if "ZSTD" in _compressions(file.metadata):
            raise ValueError("Parquet compressed with Zstandard (ZSTD) is not supported: write it with Snappy or GZIP")
        spelling = {name.lower(): name for name in file.schema_arrow.names}
        table = file.read([spelling[name] for name in columns if name in spelling])
        arrays = {}
        for name, glue_type in columns.items():
            kind = arrow_type(glue_type)
            found = table[spelling[name]] if name in spelling else pa.nulls(len(table), kind)
            arrays[name] = _convert(name, found, kind)
        return pa.table(arrays)


def _compressions(metadata: parquet.FileMetaData) -> set[str]:
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    return {group.column(column).compression for group in groups for column in range(group.num_columns)}


def _convert(name: str, values: pa.ChunkedArray | pa.Array, kind: pa.DataType) -> pa.ChunkedArray | pa.Array:
    # a zone only says how to show an instant, and a finer unit adds nothing to seconds
    if pa.types.is_timestamp(values.type) and pa.types.is_timestamp(kind):
        return values.cast(pa.timestamp("us", values.type.tz), safe=False).cast(kind)
    if pa.types.is_temporal(values.type) and not pa.types.is_temporal(kind):
        raise ValueError(f"column '{name}' is {values.type} in the file, and the Glue table says {kind}")
    return values.cast(kind)
