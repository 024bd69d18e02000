from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from airflow_cleanroomsml.emulator.lookalike import StatusCode

from .conftest import Aws
from .lake import COLUMNS, FEATURES, JSON, LAZY, ROLES, RULES, START, Lake, Row, rows

BEGIN = datetime.fromtimestamp(START, timezone.utc)


@pytest.fixture
def table(lake: Lake) -> Lake:
    """A lake with good training data; tests spoil it."""
    lake.put("data/a.csv", lake.csv())
    lake.table()
    return lake


def shifted(times: float) -> list[Row]:
    return [(user, item, int(time * times), *rest) for user, item, time, *rest in rows()]


def test_a_missing_database_is_named(table: Lake) -> None:
    table.describe(databaseName="elsewhere")
    assert "database elsewhere does not exist" in table.refused(StatusCode.DATABASE_NOT_FOUND)


def test_a_missing_table_is_named(table: Lake) -> None:
    table.describe(tableName="nothing")
    assert f"table {table.name}.nothing does not exist" in table.refused(StatusCode.TABLE_NOT_FOUND)


def test_the_catalog_of_the_dataset_is_queried(aws: Aws, table: Lake) -> None:
    asked = []
    table.glue = aws.client("glue")
    table.glue.meta.events.register("provide-client-params.glue", lambda params, **_: asked.append(params))
    table.describe(catalogId="123456789012")
    table.train()
    assert [params.get("CatalogId") for params in asked] == ["123456789012"] * 2


def test_a_missing_bucket_is_named(lake: Lake) -> None:
    lake.table(location="s3://nobody-made-this-bucket/data/")
    assert "nobody-made-this-bucket" in lake.refused(StatusCode.BUCKET_NOT_FOUND)


def test_a_table_without_files_is_rejected(lake: Lake) -> None:
    lake.put("data/_SUCCESS", b"1")
    lake.put("data/empty.csv", b"")
    lake.table()
    assert lake.uri("data/") in lake.refused(StatusCode.NO_TRAINING_FILES)


def test_a_table_outside_of_s3_is_rejected(lake: Lake) -> None:
    lake.table(location="jdbc:postgresql://somewhere/data")
    assert "not on S3" in lake.refused(StatusCode.LOCATION_NOT_ON_S3)


def test_a_bucket_in_another_region_is_rejected(aws: Aws, table: Lake) -> None:
    name = f"{table.name}-eu"
    aws.client("s3", "eu-west-1").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    table.glue.delete_table(DatabaseName=table.name, Name="interactions")
    table.table(location=f"s3://{name}/data/")
    message = table.refused(StatusCode.BUCKET_IN_OTHER_REGION)
    assert "eu-west-1" in message
    assert "us-east-1" in message


def test_denied_access_to_a_bucket_names_the_permission(aws: Aws, table: Lake) -> None:
    with aws.stranger("glue:*") as stranger:
        table.s3, table.glue = stranger.client("s3"), stranger.client("glue")
        message = table.refused(StatusCode.ACCESS_DENIED)
    assert "s3:ListBucket" in message
    assert table.name in message


def test_denied_access_to_an_object_names_the_permission(table: Lake) -> None:
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", '
        f'"Resource": "arn:aws:s3:::{table.name}/data/*"}}]}}'
    )
    table.s3.put_bucket_policy(Bucket=table.name, Policy=policy)
    message = table.refused(StatusCode.ACCESS_DENIED)
    assert "s3:GetObject" in message
    assert table.uri("data/a.csv") in message


def test_denied_access_to_glue_names_the_permission(aws: Aws, table: Lake) -> None:
    with aws.stranger("glue:GetDatabase") as stranger:
        table.glue = stranger.client("glue")
        assert "glue:GetTable" in table.refused(StatusCode.ACCESS_DENIED)


def test_column_names_ignore_case(lake: Lake) -> None:
    lake.put("data/a.csv", lake.csv())
    lake.table(columns={name.upper(): kind.upper() for name, kind in COLUMNS.items()})
    lake.describe({"User_ID": "USER_ID", "item_id": "ITEM_ID", "TIMESTAMP": "TIMESTAMP"})
    assert len(lake.train().users) == 120


def test_all_problems_of_a_schema_are_reported_at_once(table: Lake) -> None:
    table.describe({"userid": "USER_ID", "event_type": "NUMERICAL_FEATURE", "item_id": "ITEM_ID"})
    message = table.refused(StatusCode.SCHEMA_MISMATCH)
    assert message.startswith("3 problems:")
    assert "no columns of type TIMESTAMP" in message
    assert "'userid'" in message
    assert "user_id, item_id, timestamp" in message
    assert "'event_type' has type string" in message
    assert "double, float, int, bigint" in message


@pytest.mark.parametrize("role", ["USER_ID", "ITEM_ID", "TIMESTAMP"])
def test_each_required_column_must_occur_once(table: Lake, role: str) -> None:
    table.describe({name: found for name, found in ROLES.items() if found != role})
    assert f"no columns of type {role}" in table.refused(StatusCode.SCHEMA_MISMATCH)
    table.describe({**ROLES, "event_value": role})
    assert f"2 columns of type {role}" in table.refused(StatusCode.SCHEMA_MISMATCH)


def test_a_repeated_column_is_rejected(table: Lake) -> None:
    table.describe({**ROLES, "USER_ID": "CATEGORICAL_FEATURE"})
    assert "'user_id' 2 times" in table.refused(StatusCode.SCHEMA_MISMATCH)


@pytest.mark.parametrize(
    ("role", "column", "glue_type"),
    [
        ("USER_ID", "user_id", "double"),
        ("ITEM_ID", "item_id", "decimal(10,0)"),
        ("TIMESTAMP", "timestamp", "string"),
        ("TIMESTAMP", "timestamp", "date"),
        ("CATEGORICAL_FEATURE", "event_type", "struct<a:int>"),
        ("NUMERICAL_FEATURE", "event_value", "boolean"),
    ],
)
def test_undocumented_glue_types_are_rejected(lake: Lake, role: str, column: str, glue_type: str) -> None:
    lake.put("data/a.csv", lake.csv())
    lake.table(columns={**COLUMNS, column: glue_type})
    lake.describe({**ROLES, **FEATURES})
    message = lake.refused(StatusCode.SCHEMA_MISMATCH)
    assert f"'{column}' has type {glue_type}" in message
    assert role in message


def test_more_than_ten_features_are_rejected(lake: Lake) -> None:
    features = {f"f{n}": "int" for n in range(11)}
    lake.put("data/a.csv", lake.csv((*row, *range(11)) for row in rows()).replace("EVENT_VALUE", "E," * 11))
    lake.table(columns={**COLUMNS, **features})
    lake.describe(ROLES | dict.fromkeys(features, "NUMERICAL_FEATURE"))
    message = lake.refused(StatusCode.TOO_MANY_FEATURES)
    assert "11 feature columns" in message
    assert "at most 10" in message
    lake.describe(ROLES | dict.fromkeys(list(features)[:10], "NUMERICAL_FEATURE"))
    lake.train()


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (1e3, "milliseconds. Divide by 1,000"),
        (1e6, "microseconds"),
        (1e9, "nanoseconds"),
        (1 / 86_400, "another unit"),
    ],
)
def test_timestamps_in_other_units_are_rejected(table: Lake, times: float, expected: str) -> None:
    table.put("data/a.csv", table.csv(shifted(times)))
    message = table.refused(StatusCode.TIMESTAMP_NOT_EPOCH_SECONDS)
    assert "1,200 of 1,200" in message
    assert "'timestamp'" in message
    assert expected in message


def test_a_window_does_not_hide_wrong_timestamps(table: Lake) -> None:
    table.put("data/a.csv", table.csv(shifted(1e3)))
    message = table.refused(StatusCode.TIMESTAMP_NOT_EPOCH_SECONDS, end=BEGIN)
    assert "interactions in the training window" not in message


def test_missing_values_are_counted_by_column(table: Lake) -> None:
    spoilt = rows()
    spoilt[0] = ("", *spoilt[0][1:])
    spoilt[1] = ("", *spoilt[1][1:])
    spoilt[2] = (*spoilt[2][:2], "", *spoilt[2][3:])
    table.put("data/a.csv", table.csv(spoilt))
    message = table.refused(StatusCode.MISSING_VALUES)
    assert "2 of 1,200 interactions have no value in column 'user_id' (USER_ID)" in message
    assert "1 of 1,200 interactions have no value in column 'timestamp'" in message


def test_hives_spelling_of_null_is_read(lake: Lake) -> None:
    lake.put("data/a", lake.csv([*rows(), ("u000", "\\N", START, "view", 1)], header=False))
    lake.table(LAZY, {"field.delim": ","}, parameters={})
    assert "1 of 1,201 interactions have no value in column 'item_id'" in lake.refused(StatusCode.MISSING_VALUES)


def test_an_empty_text_is_a_missing_id(lake: Lake) -> None:
    lake.put("data/a.json", lake.json_lines([*rows(), ("", "i1", START, "view", 1)]))
    lake.table(JSON)
    assert "1 of 1,201" in lake.refused(StatusCode.MISSING_VALUES)


def test_a_column_missing_from_files_counts_as_missing_values(lake: Lake) -> None:
    lake.put("data/a.json", lake.json_lines().replace('"item_id"', '"item"'))
    lake.table(JSON)
    assert "1,200 of 1,200" in lake.refused(StatusCode.MISSING_VALUES)


def test_missing_features_are_accepted(table: Lake) -> None:
    table.put("data/a.csv", table.csv((*row[:3], "", "") for row in rows()))
    table.describe(ROLES | FEATURES)
    assert len(table.train().users) == 120


def test_too_few_interactions_and_users_are_reported_together(table: Lake) -> None:
    table.put("data/a.csv", table.csv(rows(users=90)))
    message = table.refused(StatusCode.INSUFFICIENT_INTERACTIONS)
    assert "900 interactions; at least 1,000" in message
    assert "90 users with at least 2 interactions; at least 100" in message
    assert "window" not in message


def test_users_with_one_interaction_do_not_count_and_are_not_trained_on(table: Lake) -> None:
    lonely = [(f"lonely{n}", "i1", START, "view", 1) for n in range(50)]
    table.put("data/a.csv", table.csv(rows(users=99, each=11) + lonely))
    message = table.refused(StatusCode.INSUFFICIENT_USERS)
    assert "99 users" in message
    assert "(50 with fewer do not count)" in message
    table.put("data/a.csv", table.csv(rows() + lonely))
    assert sorted(table.train().users.to_pylist()) == sorted({user for user, *_ in rows()})


def test_the_documented_minima_hold_unscaled(table: Lake) -> None:
    message = table.refused(StatusCode.INSUFFICIENT_INTERACTIONS, rules=type(RULES)())
    assert "1,000,000" in message
    assert "100,000" in message


def test_the_window_includes_its_start_and_excludes_its_end(table: Lake) -> None:
    """Each user has one interaction a minute: nine minutes of ten hold 1,080 of the 1,200."""
    nine = replace(RULES, min_interactions=1_080)
    more = replace(RULES, min_interactions=1_081)
    for window in (
        {"start": BEGIN + timedelta(minutes=1)},
        {"end": BEGIN + timedelta(minutes=9)},
        {"start": BEGIN, "end": BEGIN + timedelta(minutes=8, seconds=59, microseconds=1)},
    ):
        assert len(table.train(**window, rules=nine).users) == 120
        message = table.refused(StatusCode.INSUFFICIENT_INTERACTIONS, **window, rules=more)
        assert "1,080 interactions in the training window" in message
        assert "of 1,200 supplied" in message
        assert "Extend the window" in message


def test_a_time_without_a_zone_is_utc(table: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        naive = (BEGIN + timedelta(minutes=1)).replace(tzinfo=None)
        message = table.refused(StatusCode.INSUFFICIENT_INTERACTIONS, end=naive)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert "120 interactions in the training window" in message


def test_a_window_with_too_few_interactions_is_rejected(table: Lake) -> None:
    rules = replace(RULES, min_interactions=1)
    message = table.refused(StatusCode.INSUFFICIENT_USERS, end=BEGIN + timedelta(minutes=1), rules=rules)
    assert "0 users with at least 2 interactions in the training window" in message


def test_a_window_that_ends_before_it_starts_is_rejected(table: Lake) -> None:
    message = table.refused(StatusCode.INVALID_TRAINING_WINDOW, start=BEGIN, end=BEGIN)
    assert BEGIN.isoformat() in message


def test_the_most_popular_items_and_the_most_active_users_are_used(table: Lake) -> None:
    hits = [(f"u{n:03d}", "hit", START, "view", 1) for n in range(60)]
    table.put("data/a.csv", table.csv(rows() + hits))
    profiles = table.train(rules=replace(RULES, max_items=1)).profiles.sparse
    assert profiles.shape == (120, 1)
    assert profiles.nnz == len(hits)
    busy = [(f"u{n:03d}", "i1", START, "view", 1) for n in range(10, 30)]
    table.put("data/a.csv", table.csv(rows() + busy))
    model = table.train(rules=replace(RULES, max_users=20))
    assert sorted(model.users.to_pylist()) == [f"u{n:03d}" for n in range(10, 30)]


def test_rare_items_weigh_more_than_popular_ones(table: Lake) -> None:
    popular = [(f"u{n:03d}", "hit", START, "view", 1) for n in range(100)]
    both = [("new", "hit", START, "view", 1), ("new", "i7", START, "view", 1)]
    table.put("data/a.csv", table.csv(rows() + popular + both))
    model = table.train()
    row = model.profiles.sparse[[model.users.index("new").as_py()]]
    hit, rare = sorted(row.data.tolist())
    assert rare > 5 * hit
    assert np.hypot(hit, rare) == pytest.approx(1)
