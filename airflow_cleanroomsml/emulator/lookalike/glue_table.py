"""Reads table definitions from the Glue Data Catalog."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from airflow_cleanroomsml.emulator.lookalike.clients import GlueClient
from airflow_cleanroomsml.emulator.lookalike.failures import JobFailure, StatusCode

_FORBIDDEN = 403


@dataclass(frozen=True)
class Part:
    """
    A partition, or a table without partitions.

    :param descriptor: Storage descriptor: location, input format, SerDe.
    :param values: Value of each partition column; empty for a table without partitions.
    """

    descriptor: Mapping[str, Any]
    values: Mapping[str, str]


@dataclass(frozen=True)
class GlueTable:
    """
    A table.

    :param name: Database and table, for messages.
    :param columns: Glue type of each column in the files, by lower-case name, in the order of the table.
    :param partition_columns: Glue type of each partition column, likewise.
    :param parameters: Parameters of the table, such as ``classification``.
    :param parts: The partitions, or the table itself.
    """

    name: str
    columns: Mapping[str, str]
    partition_columns: Mapping[str, str]
    parameters: Mapping[str, str]
    parts: tuple[Part, ...]

    def get_type(self, column: str) -> str | None:
        """Return the Glue type of a column; None if the table does not have it."""
        # Hive's column names are case insensitive.
        name = column.lower()
        return self.columns.get(name) or self.partition_columns.get(name)


def fetch(glue: GlueClient, source: Mapping[str, str]) -> GlueTable:
    """
    Fetch a table.

    :param source: ``glueDataSource`` of a training dataset: ``databaseName``, ``tableName`` and optionally ``catalogId``.
    :raises JobFailure: The database or table does not exist or may not be read, or a partitioned table has no partitions.
    """
    catalog = {"CatalogId": source["catalogId"]} if "catalogId" in source else {}
    database, name = source["databaseName"], source["tableName"]
    with _translate_errors(f"database {database}", StatusCode.DATABASE_NOT_FOUND):
        glue.get_database(Name=database, **catalog)
    with _translate_errors(f"table {database}.{name}", StatusCode.TABLE_NOT_FOUND):
        table = glue.get_table(DatabaseName=database, Name=name, **catalog)["Table"]
    descriptor = table.get("StorageDescriptor", {})
    keys = _map_types(table.get("PartitionKeys", ()))
    parts: tuple[Part, ...] = (Part(descriptor, {}),)
    if keys:
        with _translate_errors(f"the partitions of {database}.{name}", StatusCode.TABLE_NOT_FOUND):
            pages = glue.get_paginator("get_partitions").paginate(DatabaseName=database, TableName=name, **catalog)
            parts = tuple(_build_part(keys, partition) for page in pages for partition in page["Partitions"])
        if not parts:
            text = (
                f"Glue table {database}.{name} is partitioned by {', '.join(keys)} but has no partitions: "
                "add them with ALTER TABLE … ADD PARTITION or a crawler. Files outside of partitions are not read."
            )
            raise JobFailure(StatusCode.NO_TRAINING_FILES, text)
    return GlueTable(
        f"{database}.{name}", _map_types(descriptor.get("Columns", ())), keys, table.get("Parameters", {}), parts
    )


def _map_types(columns: list[dict[str, str]] | tuple[()]) -> dict[str, str]:
    return {column["Name"].lower(): column.get("Type", "").lower() for column in columns}


def _build_part(keys: Mapping[str, str], partition: dict[str, Any]) -> Part:
    return Part(partition["StorageDescriptor"], dict(zip(keys, partition["Values"], strict=True)))


@contextmanager
def _translate_errors(target: str, missing: StatusCode) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _build_failure(error, target, missing) from error


def _build_failure(error: ClientError, target: str, missing: StatusCode) -> JobFailure:
    code = error.response["Error"]["Code"]
    if code == "EntityNotFoundException":
        text = f"Glue {target} does not exist: create it, or use another one in the training dataset."
        return JobFailure(missing, text)
    if code == "AccessDeniedException" or error.response["ResponseMetadata"]["HTTPStatusCode"] == _FORBIDDEN:
        text = f"Access to Glue {target} was denied: allow glue:{error.operation_name} to the role of the dataset."
        return JobFailure(StatusCode.ACCESS_DENIED, text)
    return JobFailure(StatusCode.STORAGE_ERROR, f"Glue rejected {error.operation_name} for {target}: {error}")
