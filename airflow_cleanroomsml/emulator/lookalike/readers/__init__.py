"""Readers of training files, one module per format, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import pyarrow as pa

from airflow_cleanroomsml.emulator.lookalike.readers.delimited import Delimited
from airflow_cleanroomsml.emulator.lookalike.readers.json_lines import JsonLines
from airflow_cleanroomsml.emulator.lookalike.readers.parquet import Parquet

_SERDES = {
    "OpenCSVSerde": "csv",
    "LazySimpleSerDe": "csv",
    "JsonSerDe": "json",
    "ParquetHiveSerDe": "parquet",
}
_CLASSIFICATIONS = {"csv", "json", "parquet"}


class Reader(Protocol):
    """Reads one file whole."""

    def read(self, data: bytes, columns: Mapping[str, str]) -> pa.Table:
        """
        Return the named columns.

        :param data: Content of the file.
        :param columns: Glue type of each column wanted, by name in lower case.
        :raises ValueError: When the file is not what its table says; so do pyarrow's own exceptions.
        """


def reader_of(descriptor: Mapping[str, Any], parameters: Mapping[str, str], columns: Mapping[str, str]) -> Reader:
    """
    Choose the reader of a table's or partition's files: by SerDe, else input format, else classification.

    :param descriptor: Storage descriptor of the table or partition.
    :param parameters: Parameters of the table.
    :param columns: Glue type of each column that the files hold, in order.
    :raises ValueError: When they are in a format that the user guide does not list.
    """
    serde = descriptor.get("SerdeInfo", {})
    library = serde.get("SerializationLibrary", "")
    kind = _format(library, descriptor.get("InputFormat", ""), parameters)
    if kind == "parquet":
        return Parquet()
    if kind == "json":
        return JsonLines()
    said = {**parameters, **serde.get("Parameters", {})}
    return Delimited.of(said, tuple(columns), quoting=library.endswith("OpenCSVSerde"))


def _format(library: str, input_format: str, parameters: Mapping[str, str]) -> str:
    # the files of a table format are not all part of its current version: reading them all would be wrong
    table_format = parameters.get("table_type") or parameters.get("spark.sql.sources.provider", "")
    if table_format.lower() in {"iceberg", "delta", "hudi"}:
        raise ValueError(_unsupported(table_format))
    if library:
        kind = _SERDES.get(library.rpartition(".")[2])
    elif input_format.endswith("ParquetInputFormat"):
        kind = "parquet"
    elif not input_format or input_format.endswith("TextInputFormat"):
        kind = parameters.get("classification", "").lower()
    else:
        kind = None
    if kind not in _CLASSIFICATIONS:
        found = library or parameters.get("classification") or input_format or "no SerDe, no classification"
        raise ValueError(_unsupported(found))
    return kind


def _unsupported(found: str) -> str:
    return f"format not supported ({found}): convert the data to Parquet, CSV or JSON lines"
