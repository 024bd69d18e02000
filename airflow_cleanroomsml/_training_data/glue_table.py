"""Reads table definitions from the Glue Data Catalog."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from airflow_cleanroomsml._training_data.clients import GlueClient
from airflow_cleanroomsml._training_data.rules import Finding, InvalidDataError, Rule

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

    :param name: Catalog, if the dataset names one, database and table, for messages.
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
    :raises InvalidDataError: The database or table does not exist or may not be read, or a partitioned table has no partitions.
    """
    catalog = {"CatalogId": source["catalogId"]} if "catalogId" in source else {}
    database, name, full_name = source["databaseName"], source["tableName"], format_table_name(source)
    # Looked up first, because GetTable returns the same EntityNotFoundException for a missing database as for a missing table.
    with _translate_errors(full_name.removesuffix(f".{name}"), Rule.DATABASE_NOT_FOUND):
        glue.get_database(Name=database, **catalog)
    with _translate_errors(full_name, Rule.TABLE_NOT_FOUND):
        table = glue.get_table(DatabaseName=database, Name=name, **catalog)["Table"]
    descriptor = table.get("StorageDescriptor", {})
    keys = _map_types(table.get("PartitionKeys", ()))
    parts: tuple[Part, ...] = (Part(descriptor, {}),)
    if keys:
        with _translate_errors(full_name, Rule.TABLE_NOT_FOUND):
            pages = glue.get_paginator("get_partitions").paginate(DatabaseName=database, TableName=name, **catalog)
            parts = tuple(_build_part(keys, partition) for page in pages for partition in page["Partitions"])
        if not parts:
            raise InvalidDataError(Rule.NO_PARTITIONS.build("tableName", table=full_name, keys=", ".join(keys)))
    return GlueTable(full_name, _map_types(descriptor.get("Columns", ())), keys, table.get("Parameters", {}), parts)


def format_table_name(source: Mapping[str, str]) -> str:
    """
    Return the name of a table for messages, such as ``210987654321/sales.interactions``.

    :param source: ``glueDataSource`` of a training dataset.
    """
    catalog = f"{source['catalogId']}/" if "catalogId" in source else ""
    return f"{catalog}{source['databaseName']}.{source['tableName']}"


def is_denial(error: ClientError) -> bool:
    """Return whether Glue refused a call because the caller may not make it."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return error.response["Error"]["Code"] == "AccessDeniedException" or status == _FORBIDDEN


def _map_types(columns: list[dict[str, str]] | tuple[()]) -> dict[str, str]:
    return {column["Name"].lower(): column.get("Type", "").lower() for column in columns}


def _build_part(keys: Mapping[str, str], partition: dict[str, Any]) -> Part:
    return Part(partition["StorageDescriptor"], dict(zip(keys, partition["Values"], strict=True)))


@contextmanager
def _translate_errors(target: str, missing: Rule) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise InvalidDataError(_build_finding(error, target, missing)) from error


def _build_finding(error: ClientError, target: str, missing: Rule) -> Finding:
    field = "databaseName" if missing is Rule.DATABASE_NOT_FOUND else "tableName"
    code, action = error.response["Error"]["Code"], f"glue:{error.operation_name}"
    if code == "EntityNotFoundException":
        return missing.build(field, target=target)
    if is_denial(error):
        return Rule.GLUE_ACCESS_DENIED.build(field, target=target, action=action)
    return Rule.GLUE_ERROR.build(field, target=target, action=action, code=code)
