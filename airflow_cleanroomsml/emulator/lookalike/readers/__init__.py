"""Readers of training files, one module for each format."""

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
    """Reads a file."""

    def read(self, data: bytes, columns: Mapping[str, str]) -> pa.Table:
        """
        Return some columns of a file.

        :param data: Content of the file.
        :param columns: Glue type of each column to read, by lower-case name.
        :raises ValueError: The content does not match the table. pyarrow's exceptions mean the same.
        """


def choose_reader(descriptor: Mapping[str, Any], parameters: Mapping[str, str], columns: Mapping[str, str]) -> Reader:
    """
    Choose the reader for the files of a table or partition, by SerDe, input format or classification, in this order.

    :param descriptor: Storage descriptor of the table or partition.
    :param parameters: Parameters of the table.
    :param columns: Glue type of each column in the files, in order.
    :raises ValueError: The user guide does not list the format ("Training data requirements").
    """
    serde = descriptor.get("SerdeInfo", {})
    library = serde.get("SerializationLibrary", "")
    file_format = _detect_format(library, descriptor.get("InputFormat", ""), parameters)
    if file_format == "parquet":
        return Parquet()
    if file_format == "json":
        return JsonLines()
    options = {**parameters, **serde.get("Parameters", {})}
    return Delimited.from_glue(options, tuple(columns), quoting=library.endswith("OpenCSVSerde"))


def _detect_format(library: str, input_format: str, parameters: Mapping[str, str]) -> str:
    # Table formats keep files of earlier versions, so reading all files would be wrong.
    table_format = parameters.get("table_type") or parameters.get("spark.sql.sources.provider", "")
    if table_format.lower() in {"iceberg", "delta", "hudi"}:
        raise ValueError(_format_unsupported(table_format))
    if library:
        file_format = _SERDES.get(library.rpartition(".")[2])
    elif input_format.endswith("ParquetInputFormat"):
        file_format = "parquet"
    elif not input_format or input_format.endswith("TextInputFormat"):
        file_format = parameters.get("classification", "").lower()
    else:
        file_format = None
    if file_format not in _CLASSIFICATIONS:
        name = library or parameters.get("classification") or input_format or "no SerDe, no classification"
        raise ValueError(_format_unsupported(name))
    return file_format


def _format_unsupported(name: str) -> str:
    return f"format not supported ({name}): convert the data to Parquet, CSV or JSON lines"
