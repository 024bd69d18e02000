"""Checks the schema of a training dataset against its Glue table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_cleanroomsml._training_data.glue_table import GlueTable
from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml._training_data.rules import Findings, Rule

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


def resolve(schema: Sequence[Mapping[str, Any]], table: GlueTable, rules: DataRules, findings: Findings) -> Roles:
    """
    Resolve the column types of a schema.

    :param schema: ``inputConfig.schema`` of a training dataset.
    :param table: The Glue table.
    :param rules: Maximum number of features.
    :param findings: Collects findings; the result is only valid if there are no errors.
    """
    columns = defaultdict(list)
    for entry in schema:
        # The service model allows exactly one type per column.
        columns[entry["columnTypes"][0]].append(entry["columnName"].lower())
    for name, count in Counter(name for names in columns.values() for name in names).items():
        if count > 1:
            findings.add(Rule.COLUMN_REPEATED.build(name, column=name, count=count))
    for role in _REQUIRED:
        _require_one(role, columns[role], findings)
    for role, names in columns.items():
        for name in names:
            _check_type(role, name, table, findings)
    features = columns["CATEGORICAL_FEATURE"] + columns["NUMERICAL_FEATURE"]
    if len(features) > rules.max_features:
        findings.add(Rule.TOO_MANY_FEATURES.build("schema", count=len(features), limit=rules.max_features))
    user, item, timestamp = (columns[role][0] if columns[role] else "" for role in _REQUIRED)
    return Roles(
        user,
        item,
        timestamp,
        tuple(columns["CATEGORICAL_FEATURE"]),
        tuple(columns["NUMERICAL_FEATURE"]),
        {name: table.get_type(name) or "" for names in columns.values() for name in names},
    )


def _require_one(role: str, names: Sequence[str], findings: Findings) -> None:
    if len(names) != 1:
        details = f" ({', '.join(names)})" if names else ""
        findings.add(Rule.COLUMN_COUNT.build("schema", count=len(names) or "no", role=role, names=details))


def _check_type(role: str, name: str, table: GlueTable, findings: Findings) -> None:
    glue_type = table.get_type(name)
    allowed = ALLOWED_TYPES[role]
    if glue_type is None:
        columns = ", ".join([*table.columns, *table.partition_columns])
        findings.add(Rule.COLUMN_MISSING.build(name, column=name, table=table.name, columns=columns))
    elif glue_type.partition("<")[0] not in allowed:
        values = {"type": glue_type, "table": table.name, "role": role, "allowed": ", ".join(allowed)}
        findings.add(Rule.COLUMN_TYPE.build(name, column=name, **values))
