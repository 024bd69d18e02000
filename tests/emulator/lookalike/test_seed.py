from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airflow_cleanroomsml.emulator.lookalike import StatusCode

from .conftest import Aws
from .lake import RULES, Lake

GROUP = [f"u{n:03d}" for n in range(0, 120, 4)]
LINES = "".join(json.dumps({"user_id": user}) + "\n" for user in GROUP)


@pytest.fixture
def expected_users(trained_lake: Lake) -> list[str]:
    users: list[str] = trained_lake.generate(LINES).users.to_pylist()
    return users


@pytest.mark.parametrize(
    "seed",
    [
        "\ufeff" + LINES,
        LINES.replace("\n", "\n\n  \r\n"),
        LINES + LINES,
        LINES.rstrip(),
        "".join(json.dumps({"name": "x", "user_id": user, "age": None}) + "\n" for user in GROUP),
        LINES + json.dumps({"user_id": "unknown user \u2028"}, ensure_ascii=False),
    ],
    ids=["byte order mark", "blank lines", "repeated ids", "no final newline", "other members", "unknown user"],
)
def test_harmless_differences_do_not_change_audience(trained_lake: Lake, expected_users: list[str], seed: str) -> None:
    assert trained_lake.generate(seed).users.to_pylist() == expected_users


def test_all_files_below_prefix_form_one_seed(trained_lake: Lake, expected_users: list[str]) -> None:
    for number, users in enumerate((GROUP[:10], GROUP[10:])):
        trained_lake.put(f"parts/{number}.jsonl", "".join(json.dumps({"user_id": user}) + "\n" for user in users))
    trained_lake.put("parts/_SUCCESS", "not JSON")
    trained_lake.put("parts/empty.jsonl", "")
    trained_lake.put("parts-of-other-seed/0.jsonl", "not JSON")
    for uri in ("parts", "parts/"):
        assert trained_lake.generate("", uri=trained_lake.build_uri(uri)).users.to_pylist() == expected_users


def test_integer_ids_are_read_as_text(lake: Lake) -> None:
    lake.put("data/a.csv", lake.format_csv().replace("u", ""))
    lake.create_table(columns={"user_id": "int", "item_id": "string", "timestamp": "int", "t": "string", "v": "int"})
    lake.train()
    numbers = "".join(f'{{"user_id": {n}}}\n' for n in range(0, 120, 4))
    assert lake.generate(numbers).users.equals(lake.generate(map(str, range(0, 120, 4))).users)


@pytest.mark.parametrize("uri", ["s3://no-such-bucket/seed.jsonl", "s3://no-such-bucket"])
def test_missing_bucket_is_named(trained_lake: Lake, uri: str) -> None:
    assert "no-such-bucket" in trained_lake.expect_generation_failure(StatusCode.BUCKET_NOT_FOUND, uri=uri)


def test_missing_object_is_named(trained_lake: Lake) -> None:
    trained_lake.put("almost.jsonl", LINES)
    for key in ("almost.json", "almost", "almost.jsonl/"):
        uri = trained_lake.build_uri(key)
        assert uri in trained_lake.expect_generation_failure(StatusCode.OBJECT_NOT_FOUND, uri=uri)


@pytest.mark.parametrize("key", ["what?", "a?b", "a#b", "a[b", "a\tb"])
def test_key_may_have_any_character(trained_lake: Lake, expected_users: list[str], key: str) -> None:
    trained_lake.put(key, LINES)
    assert trained_lake.generate("", uri=trained_lake.build_uri(key)).users.to_pylist() == expected_users


def test_location_outside_s3_is_rejected(trained_lake: Lake) -> None:
    message = trained_lake.expect_generation_failure(StatusCode.LOCATION_NOT_ON_S3, uri="hdfs://host/seed")
    assert "The seed has the location 'hdfs://host/seed', which is not on S3" in message


def test_denied_access_names_permission(aws: Aws, trained_lake: Lake) -> None:
    trained_lake.put("denied/seed.jsonl", LINES)
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", '
        f'"Resource": "arn:aws:s3:::{trained_lake.name}/denied/*"}}]}}'
    )
    trained_lake.s3.put_bucket_policy(Bucket=trained_lake.name, Policy=policy)
    message = trained_lake.expect_generation_failure(
        StatusCode.ACCESS_DENIED, uri=trained_lake.build_uri("denied/seed.jsonl")
    )
    assert "s3:GetObject" in message


@pytest.mark.parametrize("seed", ["", "\n\n", "\ufeff"], ids=["empty", "blank lines", "byte order mark"])
def test_empty_seed_is_rejected(trained_lake: Lake, seed: str) -> None:
    message = trained_lake.expect_generation_failure(StatusCode.SEED_EMPTY, seed)
    assert "seed.jsonl is empty" in message
    assert "at least 2" in message


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("u000", "line 31: not JSON"),
        ('{"user_id": "u000"} {"user_id": "u004"}', "line 31: not JSON"),
        ('["u000"]', "line 31: a JSON array, not an object"),
        ('"u000"', "line 31: a JSON string, not an object"),
        ("1", "line 31: a JSON number, not an object"),
        ("true", "line 31: a JSON boolean, not an object"),
        ("null", "line 31: null, not an object"),
        ('{"USER_ID": "u000"}', "line 31: \"user_id\" is missing (members: 'USER_ID')"),
        ("{}", "(members: none)"),
        ('{"user_id": null}', '"user_id" is null'),
        ('{"user_id": ""}', '"user_id" is ""'),
        ('{"user_id": 1.5}', '"user_id" is 1.5'),
        ('{"user_id": true}', '"user_id" is true'),
        ('{"user_id": ["u000"]}', '"user_id" is ["u000"]'),
        ('{"user_id": "\\ud800"}', "line 31"),
    ],
)
def test_malformed_line_is_named(trained_lake: Lake, line: str, problem: str) -> None:
    message = trained_lake.expect_generation_failure(StatusCode.SEED_MALFORMED, LINES + line)
    assert "seed.jsonl" in message
    assert problem in message


def test_seed_that_is_not_text_is_rejected(trained_lake: Lake) -> None:
    for seed in (b"\x1f\x8b\x08\x00\xff", LINES.encode("utf-16")):
        assert "not UTF-8" in trained_lake.expect_generation_failure(StatusCode.SEED_MALFORMED, seed)


def test_all_problems_of_seed_are_reported_at_once(trained_lake: Lake) -> None:
    message = trained_lake.expect_generation_failure(StatusCode.SEED_MALFORMED, '{"user_id": "u000"}\n' + "bad\n" * 5)
    assert message.startswith("2 problems:")
    assert "line 2" in message
    assert "line 4" in message
    assert "line 5" not in message
    assert "2 more lines" in message
    assert "ids in the seed: 1; at least 2" in message


def test_too_few_unique_ids_are_rejected(trained_lake: Lake) -> None:
    rules = replace(RULES, min_seed=25)
    message = trained_lake.expect_generation_failure(
        StatusCode.SEED_TOO_SMALL, LINES[: LINES.index("u096") - 13] * 2, rules=rules
    )
    assert "ids in the seed: 24; at least 25" in message
    trained_lake.generate(GROUP[:25], rules=rules)


def test_too_many_unique_ids_are_rejected(trained_lake: Lake) -> None:
    rules = replace(RULES, max_seed=29)
    message = trained_lake.expect_generation_failure(StatusCode.SEED_TOO_LARGE, LINES, rules=rules)
    assert "ids in the seed: 30; at most 29" in message
    trained_lake.generate(GROUP[:29], rules=rules)


def test_seed_with_too_few_matches_is_rejected(trained_lake: Lake) -> None:
    unknown_users = [f"U{n}" for n in range(50)]
    message = trained_lake.expect_generation_failure(
        StatusCode.INSUFFICIENT_MATCHING_SEED, GROUP + unknown_users, min_matching_seed_size=31
    )
    assert "30 of the 80 users in the seed" in message
    assert "at least 31" in message
    trained_lake.generate(GROUP + unknown_users, min_matching_seed_size=30)


def test_single_match_is_never_enough(trained_lake: Lake) -> None:
    seed = ["u000", "unknown"]
    assert "at least 2" in trained_lake.expect_generation_failure(
        StatusCode.INSUFFICIENT_MATCHING_SEED, seed, min_matching_seed_size=1
    )


def test_seed_of_all_users_is_rejected(trained_lake: Lake) -> None:
    all_users = [f"u{n:03d}" for n in range(120)]
    assert "all users of the training data" in trained_lake.expect_generation_failure(
        StatusCode.SEED_TOO_LARGE, all_users, include_seed=True
    )
