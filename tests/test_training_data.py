"""The query for Athena gives the same counts as pyarrow. It runs in DuckDB, which has the same functions; nobody has run it on Athena."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_cleanroomsml._training_data.athena import build_query, parse_result
from airflow_cleanroomsml._training_data.limits import DataRules
from airflow_cleanroomsml._training_data.schema import Roles
from airflow_cleanroomsml._training_data.statistics import Statistics, WrongUnit
from airflow_cleanroomsml._training_data.window import Window

duckdb = pytest.importorskip("duckdb")
pa = pytest.importorskip("pyarrow")

BEGIN = 1_760_000_000
ALWAYS = Window(None, None)
WEEK = Window(datetime.fromtimestamp(BEGIN + 100.5, timezone.utc), datetime.fromtimestamp(BEGIN + 700, timezone.utc))
SINCE = Window(datetime.fromtimestamp(BEGIN + 300, timezone.utc), None)
#: The types of DuckDB and pyarrow for each type of Glue.
TYPES: dict[str, tuple[str, Any]] = {
    "string": ("varchar", pa.string()),
    "int": ("integer", pa.int64()),
    "bigint": ("bigint", pa.int64()),
    "timestamp": ("timestamp", pa.timestamp("us")),
}
Rows = Sequence[tuple[Any, Any, Any]]


def draw_rows(users: int, *, missing: float = 0.0, factor: int = 1, seed: int = 5) -> list[tuple[Any, Any, Any]]:
    """Draw interactions with repetitions, and with values that are missing with some probability."""
    rng = random.Random(seed)
    rows = [
        (f"u{rng.randrange(users)}", f"i{rng.randrange(20)}", (BEGIN + rng.randrange(1000)) * factor)
        for _ in range(3 * users)
    ]
    rows += rows[: users // 4]

    def spoil(value: Any) -> Any:
        return None if rng.random() < missing else value

    return [(spoil(user), spoil(item), spoil(time)) for user, item, time in rows]


def convert_ids_to_numbers(rows: Rows) -> list[tuple[Any, Any, Any]]:
    return [(user and int(user[1:]), item and int(item[1:]), time) for user, item, time in rows]


def convert_times(rows: Rows) -> list[tuple[Any, Any, Any]]:
    """Convert times to timestamps with fractions of a second."""
    return [
        (user, item, time and datetime.fromtimestamp(time + 0.25, timezone.utc).replace(tzinfo=None))
        for user, item, time in rows
    ]


CASES: dict[str, tuple[list[tuple[Any, Any, Any]], tuple[str, str, str]]] = {
    "texts": (draw_rows(300), ("string", "string", "bigint")),
    "missing": (draw_rows(300, missing=0.1), ("string", "string", "bigint")),
    "empty texts": ([("", "i", BEGIN), ("u", "", BEGIN), ("u", "i", BEGIN)], ("string", "string", "int")),
    "numbers": (convert_ids_to_numbers(draw_rows(300, missing=0.1)), ("bigint", "int", "bigint")),
    "timestamps": (convert_times(draw_rows(300, missing=0.1)), ("string", "string", "timestamp")),
    "timestamps of milliseconds": (
        [("u", "i", datetime.fromisoformat("5200-01-01")), ("v", "i", datetime.fromisoformat("1970-01-21"))],
        ("string", "string", "timestamp"),
    ),
    "milliseconds": (draw_rows(50, factor=10**3), ("string", "string", "bigint")),
    "microseconds": (draw_rows(50, factor=10**6), ("string", "string", "bigint")),
    "nanoseconds": (draw_rows(5, factor=10**9), ("string", "string", "bigint")),
    "dates": ([("u", "i", 20_260_101), ("u", "i", BEGIN)], ("string", "string", "int")),
    "nothing": ([], ("string", "string", "bigint")),
}


def build_roles(kinds: tuple[str, str, str]) -> Roles:
    names = ('the "user"', "item", "order")
    return Roles(*names, (), (), dict(zip(names, kinds, strict=True)))


def count_by_query(rows: Rows, kinds: tuple[str, str, str], window: Window) -> Statistics:
    database = duckdb.connect()
    database.execute('CREATE SCHEMA "look-alike"')
    columns = ", ".join(
        f"{quoted} {TYPES[kind][0]}"
        for quoted, kind in zip(('"the ""user"""', '"item"', '"order"'), kinds, strict=True)
    )
    database.execute(f'CREATE TABLE "look-alike"."table" ({columns})')
    if rows:
        database.executemany('INSERT INTO "look-alike"."table" VALUES (?, ?, ?)', rows)
    query = database.execute(build_query("look-alike", "table", build_roles(kinds), window, DataRules()))
    names, (values,) = [column[0] for column in query.description], query.fetchall()
    # Athena returns all values as strings.
    return parse_result(
        {name: None if value is None else str(value) for name, value in zip(names, values, strict=True)}
    )


def count_by_pyarrow(rows: Rows, kinds: tuple[str, str, str], window: Window) -> Statistics:
    from airflow_cleanroomsml._training_data.interactions import count, normalise

    roles = build_roles(kinds)
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    table = pa.table(
        {
            name: pa.chunked_array([pa.array(values, TYPES[kind][1])])
            for name, values, kind in zip((roles.user, roles.item, roles.timestamp), columns, kinds, strict=True)
        }
    )
    return count(normalise(table, roles), roles, window, DataRules(), duplicates=True)[0]


@pytest.mark.parametrize("window", [ALWAYS, WEEK, SINCE], ids=["always", "week", "since"])
@pytest.mark.parametrize("name", CASES)
def test_the_query_counts_what_pyarrow_counts(name: str, window: Window) -> None:
    rows, kinds = CASES[name]
    assert count_by_query(rows, kinds, window) == count_by_pyarrow(rows, kinds, window)


def test_the_query_counts_the_data() -> None:
    rows = [
        ("a", "x", BEGIN),
        ("a", "x", BEGIN),
        ("a", "y", BEGIN + 500),
        ("b", "x", BEGIN + 500),
        (None, "x", BEGIN),
        ("c", "", None),
    ]
    assert count_by_query(rows, ("string", "string", "bigint"), SINCE) == Statistics(
        rows=6,
        missing={"USER_ID": 1, "ITEM_ID": 1, "TIMESTAMP": 1},
        complete=4,
        wrong_times={},
        interactions=2,
        users=2,
        active_users=0,
        duplicates=1,
    )


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("milliseconds", WrongUnit.MILLISECONDS),
        ("microseconds", WrongUnit.MICROSECONDS),
        ("nanoseconds", WrongUnit.NANOSECONDS),
        ("dates", WrongUnit.OTHER),
    ],
)
def test_the_unit_of_wrong_timestamps_is_detected(name: str, unit: WrongUnit) -> None:
    rows, kinds = CASES[name]
    assert set(count_by_query(rows, kinds, WEEK).wrong_times) == {unit}


def test_an_unexpected_result_is_rejected() -> None:
    with pytest.raises(ValueError, match="interactions"):
        parse_result(dict.fromkeys([unit.name.lower() for unit in WrongUnit], "0"))
    with pytest.raises(ValueError, match="many"):
        parse_result({"interactions": "many"})
