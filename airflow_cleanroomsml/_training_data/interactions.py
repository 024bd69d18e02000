"""Counts the interactions of an Arrow table."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml._training_data.schema import Roles
from airflow_cleanroomsml._training_data.statistics import Statistics, WrongUnit
from airflow_cleanroomsml._training_data.window import Window


def normalise(table: pa.Table, roles: Roles) -> pa.Table:
    """Return a table with ids as text, null where they are empty, and times in seconds."""
    columns = {name: table[name] for name in table.column_names}
    columns[roles.user] = _normalise_ids(columns[roles.user])
    columns[roles.item] = _normalise_ids(columns[roles.item])
    columns[roles.timestamp] = _to_seconds(columns[roles.timestamp])
    return pa.table(columns)


def count(
    table: pa.Table, roles: Roles, window: Window, rules: DataRules, *, duplicates: bool = False
) -> tuple[Statistics, pa.Table]:
    """
    Count the interactions of a table.

    :param table: A table that :func:`normalise` returned.
    :param roles: Its columns.
    :param window: The training window.
    :param rules: Minimum number of interactions of a user.
    :param duplicates: Whether to count interactions that repeat another one, which takes as long as all the rest.
    :return: The numbers, and the complete interactions in the window.
    """
    required = {"USER_ID": roles.user, "ITEM_ID": roles.item, "TIMESTAMP": roles.timestamp}
    rows, missing = len(table), {role: table[name].null_count for role, name in required.items()}
    # Only where values are missing: a filter copies the table.
    for name in [required[role] for role, number in missing.items() if number]:
        table = table.filter(pc.is_valid(table[name]))
    complete, wrong_times = len(table), _count_wrong_times(table[roles.timestamp])
    repeated = None
    if duplicates:
        keys = [roles.user, roles.item, roles.timestamp]
        # Grouping without aggregates leaves the distinct rows; pyarrow's unique() takes a single column.
        repeated = complete - table.select(keys).group_by(keys).aggregate([]).num_rows
    # Times in another unit are all outside of the window; an empty window would hide the mistake.
    inside = None if wrong_times else _select_window(table[roles.timestamp], window)
    table = table if inside is None else table.filter(inside)
    by_user = table.select([roles.user]).group_by(roles.user).aggregate([([], "count_all")])
    active = pc.sum(pc.greater_equal(by_user["count_all"], rules.min_interactions_per_user)).as_py() or 0
    numbers = Statistics(rows, missing, complete, wrong_times, len(table), by_user.num_rows, active, repeated)
    return numbers, table


def _normalise_ids(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    # An empty text is a missing id in CSV, so it is in every format.
    text = ids.cast(pa.string())
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _to_seconds(times: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(times.type):
        # Training has whole seconds; a safe cast would reject fractions.
        return times.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    return times


def _count_wrong_times(times: pa.ChunkedArray) -> Mapping[WrongUnit, int]:
    counts = {unit: pc.sum(_select_between(times, unit.first, unit.after_last)).as_py() or 0 for unit in WrongUnit}
    return {unit: number for unit, number in counts.items() if number}


def _select_window(times: pa.ChunkedArray, window: Window) -> pa.ChunkedArray | None:
    first, after_last = window.bounds
    return None if first is after_last is None else _select_between(times, first, after_last)


def _select_between(times: pa.ChunkedArray, first: int | None, after_last: int | None) -> pa.ChunkedArray:
    if first is None:
        return pc.less(times, after_last)
    later = pc.greater_equal(times, first)
    return later if after_last is None else pc.and_(later, pc.less(times, after_last))
