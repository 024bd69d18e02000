"""Readers of training files, one module for each format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import pyarrow as pa

from airflow_cleanroomsml._training_data.readers.delimited import Delimited
from airflow_cleanroomsml._training_data.readers.json_lines import JsonLines
from airflow_cleanroomsml._training_data.readers.parquet import Parquet
from airflow_cleanroomsml._training_data.table_format import TableFormat


class Reader(Protocol):
    """Reads a file."""

    def read(self, data: bytes, columns: Mapping[str, str]) -> pa.Table:
        """
        Return some columns of a file.

        :param data: Content of the file.
        :param columns: Glue type of each column to read, by lower-case name.
        :raises ValueError: The content does not match the table. pyarrow's exceptions mean the same.
        """


def choose_reader(table_format: TableFormat, columns: Mapping[str, str]) -> Reader:
    """
    Choose the reader for the files of a table or partition.

    :param table_format: Their format.
    :param columns: Glue type of each column in the files, in order.
    """
    if table_format.name == "parquet":
        return Parquet()
    if table_format.name == "json":
        return JsonLines()
    return Delimited(tuple(columns), table_format.text)
