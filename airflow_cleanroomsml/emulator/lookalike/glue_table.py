"""Tables of the Glue Data Catalog."""

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
    What Glue knows of files that lie together: those of a partition, or of a table without partitions.

    :param descriptor: The storage descriptor: location, input format, SerDe.
    :param values: Value of each partition column, empty for a table without partitions.
    """

    descriptor: Mapping[str, Any]
    values: Mapping[str, str]


@dataclass(frozen=True)
class GlueTable:
    """
    A table.

    :param name: Database and table, for messages.
    :param columns: Glue type of each column that the files hold, by name in lower case, in the table's order.
    :param partition_columns: Glue type of each partition column, likewise.
    :param parameters: The table's own parameters, ``classification`` among them.
    :param parts: The table's partitions, or the table itself.
    """

    name: str
    columns: Mapping[str, str]
    partition_columns: Mapping[str, str]
    parameters: Mapping[str, str]
    parts: tuple[Part, ...]

    def type_of(self, column: str) -> str | None:
        """Return the Glue type of a column, whatever its case; None where the table has no such column."""
        name = column.lower()
        return self.columns.get(name) or self.partition_columns.get(name)


def fetch(glue: GlueClient, source: Mapping[str, str]) -> GlueTable:
    """
    Look a table up.

    :param source: ``glueDataSource`` of a training dataset: ``databaseName``, ``tableName``, perhaps
        ``catalogId``.
    :raises JobFailure: When database or table is missing, closed, or a partitioned table has no partitions.
    """
    catalog = {"CatalogId": source["catalogId"]} if "catalogId" in source else {}
    database, name = source["databaseName"], source["tableName"]
    with _explained(f"database {database}", StatusCode.DATABASE_NOT_FOUND):
        glue.get_database(Name=database, **catalog)
    with _explained(f"table {database}.{name}", StatusCode.TABLE_NOT_FOUND):
        table = glue.get_table(DatabaseName=database, Name=name, **catalog)["Table"]
    descriptor = table.get("StorageDescriptor", {})
    keys = _types(table.get("PartitionKeys", ()))
    parts: tuple[Part, ...] = (Part(descriptor, {}),)
    if keys:
        with _explained(f"the partitions of {database}.{name}", StatusCode.TABLE_NOT_FOUND):
            pages = glue.get_paginator("get_partitions").paginate(DatabaseName=database, TableName=name, **catalog)
            parts = tuple(_partition(keys, found) for page in pages for found in page["Partitions"])
        if not parts:
            text = (
                f"Glue table {database}.{name} is partitioned by {', '.join(keys)} but has no partitions: "
                "add them (ALTER TABLE … ADD PARTITION, or a crawler); files of none are not read."
            )
            raise JobFailure(StatusCode.NO_TRAINING_FILES, text)
    return GlueTable(
        f"{database}.{name}", _types(descriptor.get("Columns", ())), keys, table.get("Parameters", {}), parts
    )


def _types(columns: list[dict[str, str]] | tuple[()]) -> dict[str, str]:
    return {column["Name"].lower(): column.get("Type", "").lower() for column in columns}


def _partition(keys: Mapping[str, str], partition: dict[str, Any]) -> Part:
    return Part(partition["StorageDescriptor"], dict(zip(keys, partition["Values"], strict=True)))


@contextmanager
def _explained(what: str, missing: StatusCode) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _failure(error, what, missing) from error


def _failure(error: ClientError, what: str, missing: StatusCode) -> JobFailure:
    code = error.response["Error"]["Code"]
    if code == "EntityNotFoundException":
        text = f"Glue {what} does not exist: create it or name another in the training dataset."
        return JobFailure(missing, text)
    if code == "AccessDeniedException" or error.response["ResponseMetadata"]["HTTPStatusCode"] == _FORBIDDEN:
        text = f"Access to Glue {what} was denied: let the dataset's role do glue:{error.operation_name} there."
        return JobFailure(StatusCode.ACCESS_DENIED, text)
    return JobFailure(StatusCode.STORAGE_ERROR, f"Glue refused {error.operation_name} of {what}: {error}")
