"""The numbers of training data, and the rules for them; how they are counted is up to the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml._training_data.rules import Findings, Rule
from airflow_cleanroomsml._training_data.schema import Roles
from airflow_cleanroomsml._training_data.window import Window

#: March 1973 and the year 5138 in Unix epoch seconds. Dates like 20261101 are below, milliseconds above.
EARLIEST, LATEST = 100_000_000, 100_000_000_000


class WrongUnit(Enum):
    """
    What values of a TIMESTAMP column are instead of Unix epoch seconds.

    :param first: The smallest such value; None for no limit.
    :param after_last: The smallest value that is larger; None for no limit.
    :param unit: What they look like.
    :param remedy: What to do.
    """

    OTHER = None, EARLIEST, "a date or another unit", "convert them to Unix epoch seconds"
    MILLISECONDS = LATEST, 10**14, "milliseconds", "divide by 1,000"
    MICROSECONDS = 10**14, 10**17, "microseconds", "divide by 1,000,000"
    NANOSECONDS = 10**17, None, "nanoseconds", "divide by 1,000,000,000"

    def __init__(self, first: int | None, after_last: int | None, unit: str, remedy: str) -> None:
        self.first = first
        self.after_last = after_last
        self.unit = unit
        self.remedy = remedy


@dataclass(frozen=True)
class Statistics:
    """
    The numbers of training data.

    :param rows: Interactions.
    :param missing: Interactions without a value, by column type (USER_ID, ITEM_ID, TIMESTAMP); an empty id is missing.
    :param complete: Interactions with all three values.
    :param wrong_times: Complete interactions whose time is not in Unix epoch seconds, by what it looks like.
    :param interactions: Complete interactions in the training window.
    :param users: Users of these interactions.
    :param active_users: Users of these with at least two interactions.
    :param duplicates: Complete interactions that repeat another one; None if they were not counted.
    """

    rows: int
    missing: Mapping[str, int]
    complete: int
    wrong_times: Mapping[WrongUnit, int] = field(default_factory=dict)
    interactions: int = 0
    users: int = 0
    active_users: int = 0
    duplicates: int | None = None

    def describe(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        return {
            "rows": self.rows,
            "missing": dict(self.missing),
            "wrong_timestamps": sum(self.wrong_times.values()),
            "interactions": self.interactions,
            "users": self.users,
            "users_with_two_interactions": self.active_users,
            "duplicates": self.duplicates,
        }


def evaluate(statistics: Statistics, roles: Roles, window: Window, rules: DataRules, findings: Findings) -> None:
    """
    Apply the rules to the numbers.

    :param roles: The columns.
    :param window: The training window; wrong times are counted without it.
    :param findings: Collects findings.
    """
    names = {"USER_ID": roles.user, "ITEM_ID": roles.item, "TIMESTAMP": roles.timestamp}
    for role, count in statistics.missing.items():
        if count:
            values = {"column": names[role], "role": role}
            findings.add(Rule.MISSING_VALUES.build(names[role], count=count, rows=statistics.rows, **values))
    for unit, count in statistics.wrong_times.items():
        if count:
            values = {"column": roles.timestamp, "unit": unit.unit, "remedy": unit.remedy}
            findings.add(
                Rule.TIMESTAMP_NOT_EPOCH_SECONDS.build(roles.timestamp, count=count, rows=statistics.complete, **values)
            )
    if statistics.duplicates:
        findings.add(Rule.DUPLICATE_INTERACTIONS.build("data", count=statistics.duplicates, rows=statistics.complete))
    _evaluate_counts(statistics, window, rules, findings)


def _evaluate_counts(statistics: Statistics, window: Window, rules: DataRules, findings: Findings) -> None:
    scope, remedy = "", "supply more data"
    if statistics.interactions < statistics.complete and not any(statistics.wrong_times.values()):
        scope = f" in the training window {window} (of {statistics.complete:,} supplied)"
        remedy = "extend the window or supply more data"
    values = {"scope": scope, "remedy": remedy, "each": rules.min_interactions_per_user}
    interactions, users, active = statistics.interactions, statistics.users, statistics.active_users
    if interactions < rules.min_interactions:
        findings.add(
            Rule.INSUFFICIENT_INTERACTIONS.build("data", count=interactions, limit=rules.min_interactions, **values)
        )
    elif interactions > rules.max_interactions:
        findings.add(
            Rule.TOO_MANY_INTERACTIONS.build("data", count=interactions, limit=rules.max_interactions, scope=scope)
        )
    if active < rules.min_users:
        findings.add(
            Rule.INSUFFICIENT_USERS.build("data", count=active, limit=rules.min_users, single=users - active, **values)
        )
    elif active < users:
        findings.add(Rule.SINGLE_INTERACTIONS.build("data", count=users - active, users=users, **values))
    if active > rules.max_users:
        findings.add(Rule.TOO_MANY_USERS.build("data", count=active, limit=rules.max_users))
