"""Checks the schema of a training dataset against its Glue table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_cleanroomsml.emulator.lookalike.failures import Problems, StatusCode
from airflow_cleanroomsml.emulator.lookalike.glue_table import GlueTable
from airflow_cleanroomsml.emulator.lookalike.rules import DataRules

#: Allowed Glue types of each column type (user guide, "Training data requirements").
ALLOWED_TYPES = {
    "USER_ID": ("string", "int", "bigint"),
    "ITEM_ID": ("string", "int", "bigint"),
    "TIMESTAMP": ("bigint", "int", "timestamp"),
    "CATEGORICAL_FEATURE": ("string", "int", "float", "bigint", "double", "boolean", "array"),
    "NUMERICAL_FEATURE": ("double", "float", "int", "bigint"),
}
_REQUIRED = ("USER_ID", "ITEM_ID", "TIMESTAMP")


@dataclass(frozen=True)
class Roles:
    """
    The columns to train on, by column type; all names are in lower case.

    :param user: Name of the USER_ID column.
    :param item: Name of the ITEM_ID column.
    :param timestamp: Name of the TIMESTAMP column.
    :param categorical: Names of the CATEGORICAL_FEATURE columns.
    :param numerical: Names of the NUMERICAL_FEATURE columns.
    :param types: Glue type of each of these columns.
    """

    user: str
    item: str
    timestamp: str
    categorical: tuple[str, ...]
    numerical: tuple[str, ...]
    types: Mapping[str, str]


def resolve(schema: Sequence[Mapping[str, Any]], table: GlueTable, rules: DataRules, problems: Problems) -> Roles:
    """
    Resolve the column types of a schema.

    :param schema: ``inputConfig.schema`` of a training dataset.
    :param table: The Glue table.
    :param rules: Maximum number of features.
    :param problems: Collects problems; the result is only valid if there are none.
    """
    columns = defaultdict(list)
    for entry in schema:
        columns[entry["columnTypes"][0]].append(entry["columnName"].lower())
    for name, count in Counter(name for names in columns.values() for name in names).items():
        if count > 1:
            text = f"The schema contains column '{name}' {count} times: list it once."
            problems.add(StatusCode.SCHEMA_MISMATCH, text)
    for role in _REQUIRED:
        _require_one(role, columns[role], problems)
    for role, names in columns.items():
        for name in names:
            _check_type(role, name, table, problems)
    features = columns["CATEGORICAL_FEATURE"] + columns["NUMERICAL_FEATURE"]
    if len(features) > rules.max_features:
        text = f"The schema has {len(features)} feature columns; at most {rules.max_features} are allowed."
        problems.add(StatusCode.TOO_MANY_FEATURES, text)
    user, item, timestamp = (columns[role][0] if columns[role] else "" for role in _REQUIRED)
    return Roles(
        user,
        item,
        timestamp,
        tuple(columns["CATEGORICAL_FEATURE"]),
        tuple(columns["NUMERICAL_FEATURE"]),
        {name: table.get_type(name) or "" for names in columns.values() for name in names},
    )


def _require_one(role: str, names: Sequence[str], problems: Problems) -> None:
    if len(names) != 1:
        details = f" ({', '.join(names)})" if names else ""
        text = f"The schema has {len(names) or 'no'} columns of type {role}{details}; exactly one is required."
        problems.add(StatusCode.SCHEMA_MISMATCH, text)


def _check_type(role: str, name: str, table: GlueTable, problems: Problems) -> None:
    glue_type = table.get_type(name)
    allowed = ALLOWED_TYPES[role]
    if glue_type is None:
        columns = ", ".join([*table.columns, *table.partition_columns])
        text = f"Column '{name}' of the schema does not exist in Glue table {table.name}, which has: {columns}."
        problems.add(StatusCode.SCHEMA_MISMATCH, text)
    elif glue_type.partition("<")[0] not in allowed:
        text = (
            f"Column '{name}' has type {glue_type} in Glue table {table.name}; {role} requires {', '.join(allowed)}: "
            "change the type in the table, and in the files if they differ."
        )
        problems.add(StatusCode.SCHEMA_MISMATCH, text)
