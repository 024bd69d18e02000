"""Checks interactions against the documented requirements, and selects those to train on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from airflow_cleanroomsml._training_data.interactions import count, normalise
from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml._training_data.rules import Findings
from airflow_cleanroomsml._training_data.schema import Roles
from airflow_cleanroomsml._training_data.statistics import evaluate
from airflow_cleanroomsml._training_data.window import Window


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
    :raises InvalidDataError: Requirements are not met.
    """
    findings = Findings()
    statistics, table = count(normalise(table, roles), roles, window, rules)
    evaluate(statistics, roles, window, rules, findings)
    findings.raise_for_errors()
    user = table[roles.user].combine_chunks().dictionary_encode()
    codes = user.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    counts = np.bincount(codes, minlength=len(user.dictionary))
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


def _select_most_active(counts: npt.NDArray[np.int64], limit: int) -> npt.NDArray[np.bool_]:
    selected = np.ones(len(counts), dtype=bool)
    selected[np.argsort(-counts, kind="stable")[limit:]] = False
    return selected
