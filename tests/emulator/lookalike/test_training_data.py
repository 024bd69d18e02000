from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from airflow_cleanroomsml.emulator.lookalike import StatusCode

from .conftest import Aws
from .lake import COLUMNS, FEATURES, JSON, LAZY, ROLES, RULES, START, Lake, Row, build_rows

BEGIN = datetime.fromtimestamp(START, timezone.utc)


@pytest.fixture
def valid_lake(lake: Lake) -> Lake:
    """A lake with valid training data, which the tests make invalid."""
    lake.put("data/a.csv", lake.format_csv())
    lake.create_table()
    return lake


def scale_timestamps(factor: float) -> list[Row]:
    return [(user, item, int(time * factor), *rest) for user, item, time, *rest in build_rows()]


def test_missing_database_is_named(valid_lake: Lake) -> None:
    valid_lake.define_dataset(databaseName="missing")
    assert "database missing does not exist" in valid_lake.expect_training_failure(StatusCode.DATABASE_NOT_FOUND)


def test_missing_table_is_named(valid_lake: Lake) -> None:
    valid_lake.define_dataset(tableName="missing")
    assert f"table {valid_lake.name}.missing does not exist" in valid_lake.expect_training_failure(
        StatusCode.TABLE_NOT_FOUND
    )


def test_catalog_of_dataset_is_queried(aws: Aws, valid_lake: Lake) -> None:
    requests = []
    valid_lake.glue = aws.client("glue")
    valid_lake.glue.meta.events.register("provide-client-params.glue", lambda params, **_: requests.append(params))
    valid_lake.define_dataset(catalogId="123456789012")
    valid_lake.train()
    assert [params.get("CatalogId") for params in requests] == ["123456789012"] * 2


def test_missing_bucket_is_named(lake: Lake) -> None:
    lake.create_table(location="s3://no-such-bucket/data/")
    assert "no-such-bucket" in lake.expect_training_failure(StatusCode.BUCKET_NOT_FOUND)


def test_table_without_files_is_rejected(lake: Lake) -> None:
    lake.put("data/_SUCCESS", b"1")
    lake.put("data/empty.csv", b"")
    lake.create_table()
    assert lake.build_uri("data/") in lake.expect_training_failure(StatusCode.NO_TRAINING_FILES)


def test_table_outside_s3_is_rejected(lake: Lake) -> None:
    lake.create_table(location="jdbc:postgresql://somewhere/data")
    assert "not on S3" in lake.expect_training_failure(StatusCode.LOCATION_NOT_ON_S3)


def test_bucket_in_other_region_is_rejected(aws: Aws, valid_lake: Lake) -> None:
    name = f"{valid_lake.name}-eu"
    aws.client("s3", "eu-west-1").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    valid_lake.glue.delete_table(DatabaseName=valid_lake.name, Name="interactions")
    valid_lake.create_table(location=f"s3://{name}/data/")
    message = valid_lake.expect_training_failure(StatusCode.BUCKET_IN_OTHER_REGION)
    assert "eu-west-1" in message
    assert "us-east-1" in message


def test_denied_access_to_bucket_names_permission(aws: Aws, valid_lake: Lake) -> None:
    with aws.limited_user("glue:*") as user:
        valid_lake.s3, valid_lake.glue = user.client("s3"), user.client("glue")
        message = valid_lake.expect_training_failure(StatusCode.ACCESS_DENIED)
    assert "s3:ListBucket" in message
    assert valid_lake.name in message


def test_denied_access_to_object_names_permission(valid_lake: Lake) -> None:
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", '
        f'"Resource": "arn:aws:s3:::{valid_lake.name}/data/*"}}]}}'
    )
    valid_lake.s3.put_bucket_policy(Bucket=valid_lake.name, Policy=policy)
    message = valid_lake.expect_training_failure(StatusCode.ACCESS_DENIED)
    assert "s3:GetObject" in message
    assert valid_lake.build_uri("data/a.csv") in message


def test_denied_access_to_glue_names_permission(aws: Aws, valid_lake: Lake) -> None:
    with aws.limited_user("glue:GetDatabase") as user:
        valid_lake.glue = user.client("glue")
        assert "glue:GetTable" in valid_lake.expect_training_failure(StatusCode.ACCESS_DENIED)


def test_column_names_ignore_case(lake: Lake) -> None:
    lake.put("data/a.csv", lake.format_csv())
    lake.create_table(columns={name.upper(): kind.upper() for name, kind in COLUMNS.items()})
    lake.define_dataset({"User_ID": "USER_ID", "item_id": "ITEM_ID", "TIMESTAMP": "TIMESTAMP"})
    assert len(lake.train().users) == 120


def test_all_problems_of_schema_are_reported_at_once(valid_lake: Lake) -> None:
    valid_lake.define_dataset({"userid": "USER_ID", "event_type": "NUMERICAL_FEATURE", "item_id": "ITEM_ID"})
    message = valid_lake.expect_training_failure(StatusCode.SCHEMA_MISMATCH)
    assert message.startswith("3 problems:")
    assert "no columns of type TIMESTAMP" in message
    assert "'userid'" in message
    assert "user_id, item_id, timestamp" in message
    assert "'event_type' has type string" in message
    assert "double, float, int, bigint" in message


@pytest.mark.parametrize("role", ["USER_ID", "ITEM_ID", "TIMESTAMP"])
def test_each_required_column_must_occur_once(valid_lake: Lake, role: str) -> None:
    valid_lake.define_dataset({name: other for name, other in ROLES.items() if other != role})
    assert f"no columns of type {role}" in valid_lake.expect_training_failure(StatusCode.SCHEMA_MISMATCH)
    valid_lake.define_dataset({**ROLES, "event_value": role})
    assert f"2 columns of type {role}" in valid_lake.expect_training_failure(StatusCode.SCHEMA_MISMATCH)


def test_repeated_column_is_rejected(valid_lake: Lake) -> None:
    valid_lake.define_dataset({**ROLES, "USER_ID": "CATEGORICAL_FEATURE"})
    assert "'user_id' 2 times" in valid_lake.expect_training_failure(StatusCode.SCHEMA_MISMATCH)


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
    lake.put("data/a.csv", lake.format_csv())
    lake.create_table(columns={**COLUMNS, column: glue_type})
    lake.define_dataset({**ROLES, **FEATURES})
    message = lake.expect_training_failure(StatusCode.SCHEMA_MISMATCH)
    assert f"'{column}' has type {glue_type}" in message
    assert role in message


def test_more_than_ten_features_are_rejected(lake: Lake) -> None:
    features = {f"f{n}": "int" for n in range(11)}
    lake.put(
        "data/a.csv", lake.format_csv((*row, *range(11)) for row in build_rows()).replace("EVENT_VALUE", "E," * 11)
    )
    lake.create_table(columns={**COLUMNS, **features})
    lake.define_dataset(ROLES | dict.fromkeys(features, "NUMERICAL_FEATURE"))
    message = lake.expect_training_failure(StatusCode.TOO_MANY_FEATURES)
    assert "11 feature columns" in message
    assert "at most 10" in message
    lake.define_dataset(ROLES | dict.fromkeys(list(features)[:10], "NUMERICAL_FEATURE"))
    lake.train()


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (1e3, "milliseconds. Divide by 1,000"),
        (1e6, "microseconds"),
        (1e9, "nanoseconds"),
        (1 / 86_400, "another unit"),
    ],
)
def test_timestamps_in_other_units_are_rejected(valid_lake: Lake, factor: float, expected: str) -> None:
    valid_lake.put("data/a.csv", valid_lake.format_csv(scale_timestamps(factor)))
    message = valid_lake.expect_training_failure(StatusCode.TIMESTAMP_NOT_EPOCH_SECONDS)
    assert "1,200 of 1,200" in message
    assert "'timestamp'" in message
    assert expected in message


def test_window_does_not_hide_wrong_timestamps(valid_lake: Lake) -> None:
    valid_lake.put("data/a.csv", valid_lake.format_csv(scale_timestamps(1e3)))
    message = valid_lake.expect_training_failure(StatusCode.TIMESTAMP_NOT_EPOCH_SECONDS, end=BEGIN)
    assert "interactions in the training window" not in message


def test_missing_values_are_counted_by_column(valid_lake: Lake) -> None:
    incomplete_rows = build_rows()
    incomplete_rows[0] = ("", *incomplete_rows[0][1:])
    incomplete_rows[1] = ("", *incomplete_rows[1][1:])
    incomplete_rows[2] = (*incomplete_rows[2][:2], "", *incomplete_rows[2][3:])
    valid_lake.put("data/a.csv", valid_lake.format_csv(incomplete_rows))
    message = valid_lake.expect_training_failure(StatusCode.MISSING_VALUES)
    assert "2 of 1,200 interactions have no value in column 'user_id' (USER_ID)" in message
    assert "1 of 1,200 interactions have no value in column 'timestamp'" in message


def test_hive_null_is_a_missing_value(lake: Lake) -> None:
    lake.put("data/a", lake.format_csv([*build_rows(), ("u000", "\\N", START, "view", 1)], header=False))
    lake.create_table(LAZY, {"field.delim": ","}, parameters={})
    assert "1 of 1,201 interactions have no value in column 'item_id'" in lake.expect_training_failure(
        StatusCode.MISSING_VALUES
    )


def test_empty_string_is_a_missing_id(lake: Lake) -> None:
    lake.put("data/a.json", lake.format_json_lines([*build_rows(), ("", "i1", START, "view", 1)]))
    lake.create_table(JSON)
    assert "1 of 1,201" in lake.expect_training_failure(StatusCode.MISSING_VALUES)


def test_column_missing_from_files_counts_as_missing_values(lake: Lake) -> None:
    lake.put("data/a.json", lake.format_json_lines().replace('"item_id"', '"item"'))
    lake.create_table(JSON)
    assert "1,200 of 1,200" in lake.expect_training_failure(StatusCode.MISSING_VALUES)


def test_missing_features_are_accepted(valid_lake: Lake) -> None:
    valid_lake.put("data/a.csv", valid_lake.format_csv((*row[:3], "", "") for row in build_rows()))
    valid_lake.define_dataset(ROLES | FEATURES)
    assert len(valid_lake.train().users) == 120


def test_too_few_interactions_and_users_are_reported_together(valid_lake: Lake) -> None:
    valid_lake.put("data/a.csv", valid_lake.format_csv(build_rows(users=90)))
    message = valid_lake.expect_training_failure(StatusCode.INSUFFICIENT_INTERACTIONS)
    assert "900 interactions; at least 1,000" in message
    assert "90 users with at least 2 interactions; at least 100" in message
    assert "window" not in message


def test_users_with_one_interaction_are_ignored(valid_lake: Lake) -> None:
    single_interactions = [(f"single{n}", "i1", START, "view", 1) for n in range(50)]
    valid_lake.put("data/a.csv", valid_lake.format_csv(build_rows(users=99, each=11) + single_interactions))
    message = valid_lake.expect_training_failure(StatusCode.INSUFFICIENT_USERS)
    assert "99 users" in message
    assert "(50 with fewer do not count)" in message
    valid_lake.put("data/a.csv", valid_lake.format_csv(build_rows() + single_interactions))
    assert sorted(valid_lake.train().users.to_pylist()) == sorted({user for user, *_ in build_rows()})


def test_documented_minimums_apply_unscaled(valid_lake: Lake) -> None:
    message = valid_lake.expect_training_failure(StatusCode.INSUFFICIENT_INTERACTIONS, rules=type(RULES)())
    assert "1,000,000" in message
    assert "100,000" in message


def test_window_includes_start_and_excludes_end(valid_lake: Lake) -> None:
    """Each user has one interaction a minute: nine of ten minutes contain 1,080 of the 1,200."""
    met_rules = replace(RULES, min_interactions=1_080)
    unmet_rules = replace(RULES, min_interactions=1_081)
    for window in (
        {"start": BEGIN + timedelta(minutes=1)},
        {"end": BEGIN + timedelta(minutes=9)},
        {"start": BEGIN, "end": BEGIN + timedelta(minutes=8, seconds=59, microseconds=1)},
    ):
        assert len(valid_lake.train(**window, rules=met_rules).users) == 120
        message = valid_lake.expect_training_failure(StatusCode.INSUFFICIENT_INTERACTIONS, **window, rules=unmet_rules)
        assert "1,080 interactions in the training window" in message
        assert "of 1,200 supplied" in message
        assert "Extend the window" in message


def test_time_without_zone_is_utc(valid_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        naive = (BEGIN + timedelta(minutes=1)).replace(tzinfo=None)
        message = valid_lake.expect_training_failure(StatusCode.INSUFFICIENT_INTERACTIONS, end=naive)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert "120 interactions in the training window" in message


def test_window_with_too_few_interactions_is_rejected(valid_lake: Lake) -> None:
    rules = replace(RULES, min_interactions=1)
    message = valid_lake.expect_training_failure(
        StatusCode.INSUFFICIENT_USERS, end=BEGIN + timedelta(minutes=1), rules=rules
    )
    assert "0 users with at least 2 interactions in the training window" in message


def test_window_that_ends_before_start_is_rejected(valid_lake: Lake) -> None:
    message = valid_lake.expect_training_failure(StatusCode.INVALID_TRAINING_WINDOW, start=BEGIN, end=BEGIN)
    assert BEGIN.isoformat() in message


def test_most_popular_items_and_most_active_users_are_used(valid_lake: Lake) -> None:
    hits = [(f"u{n:03d}", "hit", START, "view", 1) for n in range(60)]
    valid_lake.put("data/a.csv", valid_lake.format_csv(build_rows() + hits))
    profiles = valid_lake.train(rules=replace(RULES, max_items=1)).profiles.sparse
    assert profiles.shape == (120, 1)
    assert profiles.nnz == len(hits)
    busy = [(f"u{n:03d}", "i1", START, "view", 1) for n in range(10, 30)]
    valid_lake.put("data/a.csv", valid_lake.format_csv(build_rows() + busy))
    model = valid_lake.train(rules=replace(RULES, max_users=20))
    assert sorted(model.users.to_pylist()) == [f"u{n:03d}" for n in range(10, 30)]


def test_rare_items_weigh_more_than_popular_ones(valid_lake: Lake) -> None:
    popular = [(f"u{n:03d}", "hit", START, "view", 1) for n in range(100)]
    both = [("new", "hit", START, "view", 1), ("new", "i7", START, "view", 1)]
    valid_lake.put("data/a.csv", valid_lake.format_csv(build_rows() + popular + both))
    model = valid_lake.train()
    row = model.profiles.sparse[[model.users.index("new").as_py()]]
    hit, rare = sorted(row.data.tolist())
    assert rare > 5 * hit
    assert np.hypot(hit, rare) == pytest.approx(1)
