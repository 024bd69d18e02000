"""Checks interactions against the documented requirements, and selects those to train on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from airflow_cleanroomsml.emulator.lookalike.failures import Problems, StatusCode
from airflow_cleanroomsml.emulator.lookalike.rules import DataRules
from airflow_cleanroomsml.emulator.lookalike.schema import Roles
from airflow_cleanroomsml.emulator.lookalike.window import Window

#: March 1973 and the year 5138 in Unix epoch seconds. Dates like 20261101 are below, milliseconds above.
_EARLIEST, _LATEST = 100_000_000, 100_000_000_000
_UNITS = {
    10**11: "milliseconds: divide by 1,000",
    10**14: "microseconds: divide by 1,000,000",
    10**17: "nanoseconds: divide by 1,000,000,000",
}


@dataclass(frozen=True)
class Interactions:
    """
    Interactions of users with items, in columns of equal length.

    :param users: Ids of the users, each with enough interactions.
    :param user: Position of the user in ``users``, for each interaction.
    :param item: Number of the item, for each interaction.
    :param categories: For each categorical feature, its text or list of texts for each interaction.
    :param numbers: For each numerical feature, its value for each interaction.
    """

    users: pa.StringArray
    user: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    categories: tuple[pa.ChunkedArray, ...]
    numbers: tuple[pa.ChunkedArray, ...]


def build_interactions(table: pa.Table, roles: Roles, window: Window, rules: DataRules) -> Interactions:
    """
    Check the requirements, and select the interactions to train on.

    Only interactions in the window count. Users with fewer than two of them do not count towards the minimum number of users, and are
    not trained on.

    :param table: The columns in ``roles``, typed as in Glue.
    :raises JobFailure: Requirements are not met; the message lists all of them.
    """
    problems = Problems()
    columns = {name: table[name] for name in table.column_names}
    columns[roles.user] = _normalise_ids(columns[roles.user])
    columns[roles.item] = _normalise_ids(columns[roles.item])
    columns[roles.timestamp] = _to_seconds(columns[roles.timestamp])
    table = pa.table(columns)
    table = table.filter(_find_complete_rows(table, roles, problems))
    supplied = len(table)
    if _check_epoch_seconds(table[roles.timestamp], roles, problems):
        inside = window.contains(table[roles.timestamp])
        table = table if inside is None else table.filter(inside)
    user = table[roles.user].combine_chunks().dictionary_encode()
    codes = user.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    counts = np.bincount(codes, minlength=len(user.dictionary))
    _check_counts(counts, supplied, window, rules, problems)
    problems.raise_if_any()
    selected = _select_most_active(counts, rules.max_users) & (counts >= rules.min_interactions_per_user)
    return _select_users(table, roles, user.dictionary, codes, selected)


def _select_users(
    table: pa.Table,
    roles: Roles,
    users: pa.StringArray,
    codes: npt.NDArray[np.int64],
    selected: npt.NDArray[np.bool_],
) -> Interactions:
    rows = selected[codes]
    table = table.filter(pa.array(rows))
    item = table[roles.item].combine_chunks().dictionary_encode().indices
    return Interactions(
        users=users.filter(pa.array(selected)),
        # Renumbers the users who are left.
        user=(np.cumsum(selected) - 1)[codes[rows]],
        item=item.to_numpy(zero_copy_only=False).astype(np.int64),
        categories=tuple(table[name] for name in roles.categorical),
        numbers=tuple(table[name].cast(pa.float64()) for name in roles.numerical),
    )


def _normalise_ids(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    # An empty text is a missing id in CSV, so it is in every format.
    text = ids.cast(pa.string())
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _to_seconds(times: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(times.type):
        return times.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    return times


def _find_complete_rows(table: pa.Table, roles: Roles, problems: Problems) -> pa.ChunkedArray:
    required: Mapping[str, str] = {"USER_ID": roles.user, "ITEM_ID": roles.item, "TIMESTAMP": roles.timestamp}
    complete = pa.array(np.ones(len(table), dtype=bool))
    for role, name in required.items():
        if missing := table[name].null_count:
            text = (
                f"{missing:,} of {len(table):,} interactions have no value in column '{name}' ({role}), which is "
                "required: remove these interactions or fill in the values."
            )
            problems.add(StatusCode.MISSING_VALUES, text)
            complete = pc.and_(complete, pc.is_valid(table[name]))
    return complete


def _check_epoch_seconds(times: pa.ChunkedArray, roles: Roles, problems: Problems) -> bool:
    wrong = times.filter(pc.or_(pc.less(times, _EARLIEST), pc.greater_equal(times, _LATEST)))
    if not len(wrong):
        return True
    example = wrong[0].as_py()
    unit = next(
        (unit for minimum, unit in reversed(_UNITS.items()) if example >= minimum),
        "a date or another unit: convert it",
    )
    text = (
        f"{len(wrong):,} of {len(times):,} values of column '{roles.timestamp}' (TIMESTAMP) are not Unix "
        f"epoch seconds; {example} looks like {unit}."
    )
    problems.add(StatusCode.TIMESTAMP_NOT_EPOCH_SECONDS, text)
    return False


def _check_counts(
    counts: npt.NDArray[np.int64], supplied: int, window: Window, rules: DataRules, problems: Problems
) -> None:
    interactions = int(counts.sum())
    scope, remedy = "", "supply more"
    if interactions < supplied:
        scope = f" in the training window {window} (of {supplied:,} supplied)"
        remedy = "extend the window or supply more"
    if interactions < rules.min_interactions:
        text = f"{interactions:,} interactions{scope}; at least {rules.min_interactions:,} are required: {remedy}."
        problems.add(StatusCode.INSUFFICIENT_INTERACTIONS, text)
    users = int((counts >= rules.min_interactions_per_user).sum())
    if users < rules.min_users:
        text = (
            f"{users:,} users with at least {rules.min_interactions_per_user} interactions{scope}; at least "
            f"{rules.min_users:,} are required ({len(counts) - users:,} with fewer do not count): {remedy}."
        )
        problems.add(StatusCode.INSUFFICIENT_USERS, text)


def _select_most_active(counts: npt.NDArray[np.int64], limit: int) -> npt.NDArray[np.bool_]:
    selected = np.ones(len(counts), dtype=bool)
    selected[np.argsort(-counts, kind="stable")[limit:]] = False
    return selected
