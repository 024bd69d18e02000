"""
The query by which Athena counts the interactions of a table.

It scans three columns once, and returns counts only. The SQL is common to Trino, which Athena runs, and DuckDB, with which it is tested.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml._training_data.schema import Roles
from airflow_cleanroomsml._training_data.statistics import EARLIEST, LATEST, Statistics, WrongUnit
from airflow_cleanroomsml._training_data.window import Window

#: ``ErrorCategory`` and ``ErrorType`` of failures that are Athena's own; see :func:`is_interrupted`.
_SYSTEM = 1
_EXHAUSTED = range(9)

_QUERY = """\
WITH source AS (
  SELECT
    CAST({user} AS varchar) AS user_id,
    CAST({item} AS varchar) AS item_id,
    {time} AS happened_at
  FROM {database}.{table}
),
distinct_interactions AS (
  SELECT user_id, item_id, happened_at, count(*) AS repeated
  FROM source
  GROUP BY user_id, item_id, happened_at
),
flagged AS (
  SELECT
    user_id,
    repeated,
    CASE WHEN user_id IS NULL OR user_id = '' THEN repeated ELSE 0 END AS without_user,
    CASE WHEN item_id IS NULL OR item_id = '' THEN repeated ELSE 0 END AS without_item,
    CASE WHEN happened_at IS NULL THEN repeated ELSE 0 END AS without_time,
    CASE WHEN user_id <> '' AND item_id <> '' AND happened_at IS NOT NULL THEN repeated ELSE 0 END AS complete,
    {inside} AS is_inside,
    {units} AS unit
  FROM distinct_interactions
),
by_user AS (
  SELECT
    user_id,
    sum(repeated) AS interactions,
    sum(without_user) AS without_user,
    sum(without_item) AS without_item,
    sum(without_time) AS without_time,
    sum(complete) AS complete,
    sum(CASE WHEN complete > 0 THEN repeated - 1 ELSE 0 END) AS duplicates,
    sum(CASE WHEN is_inside THEN complete ELSE 0 END) AS inside,
    {unit_sums}
  FROM flagged
  GROUP BY user_id
)
SELECT
  sum(interactions) AS interactions,
  sum(without_user) AS without_user,
  sum(without_item) AS without_item,
  sum(without_time) AS without_time,
  sum(complete) AS complete,
  sum(CASE WHEN complete >= 1 THEN 1 ELSE 0 END) AS users,
  sum(CASE WHEN complete >= {least} THEN 1 ELSE 0 END) AS active_users,
  sum(duplicates) AS duplicates,
  sum(inside) AS inside,
  sum(CASE WHEN inside >= 1 THEN 1 ELSE 0 END) AS users_inside,
  sum(CASE WHEN inside >= {least} THEN 1 ELSE 0 END) AS active_users_inside,
  {units_selected}
FROM by_user"""


def build_query(database: str, table: str, roles: Roles, window: Window, rules: DataRules) -> str:
    """
    Build the query.

    :param database: Glue database.
    :param table: Glue table.
    :param roles: The columns.
    :param window: The training window.
    :param rules: Minimum number of interactions of a user.
    """
    is_timestamp = roles.types[roles.timestamp] == "timestamp"
    time = _quote(roles.timestamp)
    # The columns are named after the units, by which parse_result() finds them.
    names = [unit.name.lower() for unit in WrongUnit]
    sums = [f"sum(CASE WHEN unit = '{name}' THEN complete ELSE 0 END) AS {name}" for name in names]
    return _QUERY.format(
        user=_quote(roles.user),
        item=_quote(roles.item),
        # Training has whole seconds.
        time=f"date_trunc('second', {time})" if is_timestamp else time,
        database=_quote(database),
        table=_quote(table),
        inside=_format_bounds(*window.bounds, is_timestamp=is_timestamp),
        units=_format_units(is_timestamp=is_timestamp),
        unit_sums=",\n    ".join(sums),
        least=rules.min_interactions_per_user,
        units_selected=",\n  ".join(f"sum({name}) AS {name}" for name in names),
    )


def parse_result(row: Mapping[str, str | None]) -> Statistics:
    """
    Parse the only row of the result.

    :param row: Texts by column; None for the sums of an empty table.
    :raises ValueError: A column is missing, or its text is not a number.
    """
    try:
        values = {name: int(text or 0) for name, text in row.items()}
        wrong_times = {unit: values[unit.name.lower()] for unit in WrongUnit}
        # As in training, wrong times are counted without the window, for which they have no meaning.
        suffix = "" if any(wrong_times.values()) else "_inside"
        return Statistics(
            rows=values["interactions"],
            missing={
                "USER_ID": values["without_user"],
                "ITEM_ID": values["without_item"],
                "TIMESTAMP": values["without_time"],
            },
            complete=values["complete"],
            wrong_times={unit: count for unit, count in wrong_times.items() if count},
            interactions=values["inside" if suffix else "complete"],
            users=values[f"users{suffix}"],
            active_users=values[f"active_users{suffix}"],
            duplicates=values["duplicates"],
        )
    except KeyError as error:
        raise ValueError(f"it has no column {error}") from error


def is_interrupted(status: Mapping[str, Any]) -> bool:
    """
    Return whether a query ended for a reason that is neither in the query nor in its data, so that the next one may succeed.

    ``Retryable`` is "True if the query might succeed if resubmitted" (Athena API reference, AthenaError). Without it the cause decides:
    ``ErrorCategory`` 1 is a failure of Athena's own system (same page), and ``ErrorType`` 0 to 8 are queries that exhausted the resources
    at their scale (Athena user guide, error-reference). A query that was cancelled has failed for none of these.

    :param status: Status of the query, which is FAILED or CANCELLED (Athena API reference, QueryExecutionStatus).
    """
    error = status.get("AthenaError") or {}
    if error.get("Retryable") is not None:
        return bool(error["Retryable"])
    return (
        status.get("State") == "CANCELLED"
        or error.get("ErrorCategory") == _SYSTEM
        or error.get("ErrorType") in _EXHAUSTED
    )


def describe_end(status: Mapping[str, Any]) -> str:
    """
    Describe in words how a query ended, without texts that may quote values of the data.

    :param status: Its status.
    """
    # Only the code of the reason: the rest may quote values of the data.
    code = (status.get("StateChangeReason") or "").partition(":")[0]
    number = (status.get("AthenaError") or {}).get("ErrorType")
    texts = (code if re.fullmatch(r"[A-Z_]+", code) else "", "" if number is None else f"error type {number}")
    return ", ".join((str(status.get("State")), *filter(None, texts)))


def _format_units(*, is_timestamp: bool) -> str:
    if is_timestamp:
        # Later than the year 5138, or before 1973: milliseconds that were read as seconds, or another mistake.
        first, after_last = (_format_time(seconds, is_timestamp=True) for seconds in (EARLIEST, LATEST))
        return f"CASE WHEN happened_at < {first} THEN 'other' WHEN happened_at >= {after_last} THEN 'milliseconds' ELSE '' END"
    cases = " ".join(
        f"WHEN {_format_bounds(unit.first, unit.after_last, is_timestamp=False)} THEN '{unit.name.lower()}'"
        for unit in WrongUnit
    )
    return f"CASE {cases} ELSE '' END"


def _format_bounds(first: int | None, after_last: int | None, *, is_timestamp: bool) -> str:
    bounds = ((">=", first), ("<", after_last))
    tests = [
        f"happened_at {sign} {_format_time(value, is_timestamp=is_timestamp)}"
        for sign, value in bounds
        if value is not None
    ]
    return " AND ".join(tests) or "TRUE"


def _format_time(seconds: int, *, is_timestamp: bool) -> str:
    if not is_timestamp:
        return str(seconds)
    return f"TIMESTAMP '{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S}'"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
