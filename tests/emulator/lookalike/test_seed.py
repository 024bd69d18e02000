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
def expected(trained: Lake) -> list[str]:
    users: list[str] = trained.generate(LINES).users.to_pylist()
    return users


@pytest.mark.parametrize(
    "seed",
    [
        "\ufeff" + LINES,
        LINES.replace("\n", "\n\n  \r\n"),
        LINES + LINES,
        LINES.rstrip(),
        "".join(json.dumps({"name": "x", "user_id": user, "age": None}) + "\n" for user in GROUP),
        LINES + json.dumps({"user_id": "nobody that the model knows \u2028"}, ensure_ascii=False),
    ],
    ids=["byte order mark", "blank lines", "twice", "no last newline", "other members", "unknown user"],
)
def test_harmless_differences_give_the_same_audience(trained: Lake, expected: list[str], seed: str) -> None:
    assert trained.generate(seed).users.to_pylist() == expected


def test_all_files_below_a_prefix_are_one_seed(trained: Lake, expected: list[str]) -> None:
    for number, users in enumerate((GROUP[:10], GROUP[10:])):
        trained.put(f"parts/{number}.jsonl", "".join(json.dumps({"user_id": user}) + "\n" for user in users))
    trained.put("parts/_SUCCESS", "not JSON")
    trained.put("parts/empty.jsonl", "")
    trained.put("parts-of-another/0.jsonl", "not JSON")
    for uri in ("parts", "parts/"):
        assert trained.generate("", uri=trained.uri(uri)).users.to_pylist() == expected


def test_integer_ids_are_read_as_text(lake: Lake) -> None:
    lake.put("data/a.csv", lake.csv().replace("u", ""))
    lake.table(columns={"user_id": "int", "item_id": "string", "timestamp": "int", "t": "string", "v": "int"})
    lake.train()
    numbers = "".join(f'{{"user_id": {n}}}\n' for n in range(0, 120, 4))
    assert lake.generate(numbers).users.equals(lake.generate(map(str, range(0, 120, 4))).users)


@pytest.mark.parametrize("uri", ["s3://nobody-made-this-bucket/seed.jsonl", "s3://nobody-made-this-bucket"])
def test_a_missing_bucket_is_named(trained: Lake, uri: str) -> None:
    assert "nobody-made-this-bucket" in trained.seed_refused(StatusCode.BUCKET_NOT_FOUND, uri=uri)


def test_a_missing_object_is_named(trained: Lake) -> None:
    trained.put("almost.jsonl", LINES)
    for key in ("almost.json", "almost", "almost.jsonl/"):
        uri = trained.uri(key)
        assert uri in trained.seed_refused(StatusCode.OBJECT_NOT_FOUND, uri=uri)


def test_a_location_outside_of_s3_is_rejected(trained: Lake) -> None:
    assert "hdfs://" in trained.seed_refused(StatusCode.LOCATION_NOT_ON_S3, uri="hdfs://host/seed")


def test_denied_access_names_the_permission(aws: Aws, trained: Lake) -> None:
    trained.put("denied/seed.jsonl", LINES)
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", '
        f'"Resource": "arn:aws:s3:::{trained.name}/denied/*"}}]}}'
    )
    trained.s3.put_bucket_policy(Bucket=trained.name, Policy=policy)
    message = trained.seed_refused(StatusCode.ACCESS_DENIED, uri=trained.uri("denied/seed.jsonl"))
    assert "s3:GetObject" in message


@pytest.mark.parametrize("seed", ["", "\n\n", "\ufeff"], ids=["nothing", "blank lines", "byte order mark"])
def test_an_empty_seed_is_rejected(trained: Lake, seed: str) -> None:
    message = trained.seed_refused(StatusCode.SEED_EMPTY, seed)
    assert "seed.jsonl is empty" in message
    assert "at least 2" in message


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("u000", "line 31: not JSON"),
        ('{"user_id": "u000"} {"user_id": "u004"}', "line 31: not JSON"),
        ('["u000"]', "line 31: a JSON list, not an object"),
        ('"u000"', "line 31: a JSON str"),
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
def test_a_bad_line_is_named(trained: Lake, line: str, problem: str) -> None:
    message = trained.seed_refused(StatusCode.SEED_MALFORMED, LINES + line)
    assert "seed.jsonl" in message
    assert problem in message


def test_a_seed_that_is_not_text_is_rejected(trained: Lake) -> None:
    for seed in (b"\x1f\x8b\x08\x00\xff", LINES.encode("utf-16")):
        assert "not UTF-8" in trained.seed_refused(StatusCode.SEED_MALFORMED, seed)


def test_all_problems_of_a_seed_are_reported_at_once(trained: Lake) -> None:
    message = trained.seed_refused(StatusCode.SEED_MALFORMED, '{"user_id": "u000"}\n' + "bad\n" * 5)
    assert message.startswith("2 problems:")
    assert "line 2" in message
    assert "line 4" in message
    assert "line 5" not in message
    assert "2 more lines" in message
    assert "ids in the seed: 1; at least 2" in message


def test_too_few_unique_ids_are_rejected(trained: Lake) -> None:
    rules = replace(RULES, min_seed=25)
    message = trained.seed_refused(StatusCode.SEED_TOO_SMALL, LINES[: LINES.index("u096") - 13] * 2, rules=rules)
    assert "ids in the seed: 24; at least 25" in message
    trained.generate(GROUP[:25], rules=rules)


def test_too_many_unique_ids_are_rejected(trained: Lake) -> None:
    rules = replace(RULES, max_seed=29)
    message = trained.seed_refused(StatusCode.SEED_TOO_LARGE, LINES, rules=rules)
    assert "ids in the seed: 30; at most 29" in message
    trained.generate(GROUP[:29], rules=rules)


def test_a_seed_with_too_few_matches_is_rejected(trained: Lake) -> None:
    strangers = [f"U{n}" for n in range(50)]
    message = trained.seed_refused(StatusCode.INSUFFICIENT_MATCHING_SEED, GROUP + strangers, least=31)
    assert "30 of the 80 users in the seed" in message
    assert "at least 31" in message
    trained.generate(GROUP + strangers, least=30)


def test_one_match_is_never_enough(trained: Lake) -> None:
    seed = ["u000", "stranger"]
    assert "at least 2" in trained.seed_refused(StatusCode.INSUFFICIENT_MATCHING_SEED, seed, least=1)


def test_a_seed_of_all_users_is_rejected(trained: Lake) -> None:
    everybody = [f"u{n:03d}" for n in range(120)]
    assert "all users of the training data" in trained.seed_refused(
        StatusCode.SEED_TOO_LARGE, everybody, include_seed=True
    )
