"""The dataset's schema held against the Glue table: which column plays which part."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_cleanroomsml.emulator.lookalike.failures import Problems, StatusCode
from airflow_cleanroomsml.emulator.lookalike.glue_table import GlueTable
from airflow_cleanroomsml.emulator.lookalike.rules import DataRules

#: User guide, "Training data requirements": the Glue types of each column type, most usual first.
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
    The columns that training reads, by the part each plays.

    :param user: Name of the column of user ids, in lower case as all of these.
    :param item: Name of the column of item ids.
    :param timestamp: Name of the column of times.
    :param categorical: Names of the columns of categories.
    :param numerical: Names of the columns of numbers.
    :param types: Glue type of each column named here.
    """

    user: str
    item: str
    timestamp: str
    categorical: tuple[str, ...]
    numerical: tuple[str, ...]
    types: Mapping[str, str]


def resolve(schema: Sequence[Mapping[str, Any]], table: GlueTable, rules: DataRules, problems: Problems) -> Roles:
    """
    Find the part of each column.

    :param schema: ``inputConfig.schema`` of a training dataset.
    :param table: The table that it is about.
    :param rules: What holds for the number of features.
    :param problems: Gathers what is wrong; where that is something, the result is not fit for use.
    """
    columns = defaultdict(list)
    for entry in schema:
        columns[entry["columnTypes"][0]].append(entry["columnName"].lower())
    for name, times in Counter(name for names in columns.values() for name in names).items():
        if times > 1:
            problems.add(StatusCode.SCHEMA_MISMATCH, f"The schema names column '{name}' {times} times: name it once.")
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
        {name: table.type_of(name) or "" for names in columns.values() for name in names},
    )


def _require_one(role: str, names: Sequence[str], problems: Problems) -> None:
    if len(names) != 1:
        listed = f" ({', '.join(names)})" if names else ""
        text = f"The schema has {len(names) or 'no'} columns of type {role}{listed}: it needs exactly one."
        problems.add(StatusCode.SCHEMA_MISMATCH, text)


def _check_type(role: str, name: str, table: GlueTable, problems: Problems) -> None:
    found = table.type_of(name)
    allowed = ALLOWED_TYPES[role]
    if found is None:
        known = ", ".join([*table.columns, *table.partition_columns])
        text = f"Column '{name}' of the schema is not in Glue table {table.name}, which has: {known}."
        problems.add(StatusCode.SCHEMA_MISMATCH, text)
    elif found.partition("<")[0] not in allowed:
        text = (
            f"Column '{name}' is {found} in Glue table {table.name}; {role} takes {', '.join(allowed)}: "
            "change the table's type and, where they differ, its files."
        )
        problems.add(StatusCode.SCHEMA_MISMATCH, text)
