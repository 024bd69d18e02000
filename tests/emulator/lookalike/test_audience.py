from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_cleanroomsml.emulator.lookalike import JobFailure, StatusCode

from .lake import RULES, Lake

if TYPE_CHECKING:
    from airflow_cleanroomsml.emulator.lookalike.audience import GeneratedAudience

GROUP = [f"u{n:03d}" for n in range(0, 120, 4)]
SEED, REST = GROUP[:15], GROUP[15:]
SIZES = (("PERCENTAGE", 5), ("PERCENTAGE", 20), ("PERCENTAGE", 12))


@pytest.fixture(scope="module")
def audience(trained: Lake) -> GeneratedAudience:
    return trained.generate(SEED, SIZES)


def exported(lake: Lake, audience: GeneratedAudience, size: tuple[str, int], folder: str) -> str:
    return run_export(lake, audience, size, lake.uri(folder))


def run_export(lake: Lake, audience: GeneratedAudience, size: tuple[str, int], uri: str) -> str:
    from airflow_cleanroomsml.emulator.lookalike.export import export

    return export(lake.s3, audience, size=size, output_uri=uri, rules=RULES)


def refused(lake: Lake, audience: GeneratedAudience, code: StatusCode, size: tuple[str, int], uri: str) -> str:
    with pytest.raises(JobFailure) as caught:
        run_export(lake, audience, size, uri)
    assert caught.value.status_code == code.value
    return str(caught.value)


def test_users_similar_to_the_seed_rank_first(audience: GeneratedAudience) -> None:
    assert set(audience.users[:15].to_pylist()) == set(REST)


def test_metrics_have_the_shape_of_the_api(audience: GeneratedAudience) -> None:
    relevance = audience.metrics["relevanceMetrics"]
    assert [metric["audienceSize"] for metric in relevance] == [
        {"type": "PERCENTAGE", "value": value} for _, value in SIZES
    ]
    five, twenty, twelve = (metric["score"] for metric in relevance)
    assert -1 <= twenty < twelve <= five <= 1
    # 20 % of the users ranked are 24 or so, and the held-out users are of the 15 to 18 of their group left
    assert audience.metrics["recallMetric"] == 1.0
    assert json.loads(json.dumps(audience.metrics)) == audience.metrics


def test_percentages_of_the_training_users_are_rounded_up(audience: GeneratedAudience) -> None:
    assert [audience.counts[size] for size in SIZES] == [6, 24, 15]
    assert len(audience.users) == 24


def test_the_same_job_gives_the_same_audience(trained: Lake, audience: GeneratedAudience) -> None:
    again = trained.generate(SEED, SIZES)
    assert again.users.equals(audience.users)
    assert again.metrics == audience.metrics


def test_the_order_of_the_seed_does_not_matter(trained: Lake, audience: GeneratedAudience) -> None:
    assert trained.generate(reversed(SEED), SIZES).users.equals(audience.users)


def test_the_audience_includes_the_seed_on_request(trained: Lake, audience: GeneratedAudience) -> None:
    assert not set(SEED) & set(audience.users.to_pylist())
    assert set(SEED) < set(trained.generate(SEED, (("ABSOLUTE", 30),), include_seed=True).users.to_pylist())


def test_absolute_sizes_are_numbers_of_users(trained: Lake) -> None:
    audience = trained.generate(SEED, (("ABSOLUTE", 7), ("ABSOLUTE", 105)))
    assert list(audience.counts.values()) == [7, 105]
    assert len(set(audience.users.to_pylist())) == 105


def test_sizes_above_the_available_users_are_rejected(trained: Lake) -> None:
    sizes = (("ABSOLUTE", 50), ("ABSOLUTE", 106), ("PERCENTAGE", 90))
    message = trained.seed_refused(StatusCode.AUDIENCE_SIZE_TOO_LARGE, SEED, sizes=sizes)
    assert message.startswith("2 problems:")
    assert "106 users, but only 105 of 120" in message
    assert "90 (PERCENTAGE) means 108 users" in message
    assert "without the seed" in message
    trained.generate(SEED, sizes, include_seed=True)


def test_an_export_is_json_lines_with_the_best_users_first(trained: Lake, audience: GeneratedAudience) -> None:
    location = exported(trained, audience, ("PERCENTAGE", 20), "out/job-1")
    assert location == trained.uri("out/job-1/")
    assert trained.keys("out/job-1/") == ["out/job-1/part-00000.jsonl"]
    lines = trained.get("out/job-1/part-00000.jsonl").decode().splitlines()
    assert [json.loads(line) for line in lines] == [{"user_id": user} for user in audience.users.to_pylist()]


def test_a_smaller_size_is_the_beginning_of_a_larger_one(trained: Lake, audience: GeneratedAudience) -> None:
    exported(trained, audience, ("PERCENTAGE", 12), "out/job-2/")
    lines = trained.get("out/job-2/part-00000.jsonl").decode().splitlines()
    assert [json.loads(line)["user_id"] for line in lines] == audience.users[:15].to_pylist()


def test_a_large_export_has_several_parts(
    trained: Lake, audience: GeneratedAudience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_cleanroomsml.emulator.lookalike.export._USERS_PER_PART", 10)
    exported(trained, audience, ("PERCENTAGE", 20), "out/job-3")
    parts = [trained.get(key) for key in trained.keys("out/job-3/")]
    assert [len(part.splitlines()) for part in parts] == [10, 10, 4]
    users = [json.loads(line)["user_id"] for line in b"".join(parts).splitlines()]
    assert users == audience.users.to_pylist()


def test_ids_are_written_as_json(lake: Lake) -> None:
    odd = 'we"ird\\ü'
    lake.put("data/a.csv", lake.csv(delimiter="\t", header=False).replace("u060", odd))
    lazy = "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe"
    lake.table(lazy, {"field.delim": "\t"}, parameters={})
    lake.train()
    audience = lake.generate(SEED, (("PERCENTAGE", 13),))
    exported(lake, audience, ("PERCENTAGE", 13), "out")
    lines = lake.get("out/part-00000.jsonl").decode().splitlines()
    assert odd in [json.loads(line)["user_id"] for line in lines]


def test_an_audience_too_small_to_export_is_rejected(trained: Lake, audience: GeneratedAudience) -> None:
    failure = refused(
        trained, audience, StatusCode.AUDIENCE_TOO_SMALL_TO_EXPORT, ("PERCENTAGE", 5), trained.uri("out/small")
    )
    assert "6 users" in failure
    assert "at least 10" in failure
    assert trained.keys("out/small") == []


def test_a_size_that_was_not_generated_is_rejected(trained: Lake, audience: GeneratedAudience) -> None:
    failure = refused(
        trained, audience, StatusCode.AUDIENCE_SIZE_NOT_CONFIGURED, ("ABSOLUTE", 20), trained.uri("out/other")
    )
    assert "20 (ABSOLUTE)" in failure
    assert "12 (PERCENTAGE)" in failure


def test_an_export_to_a_missing_bucket_fails(trained: Lake, audience: GeneratedAudience) -> None:
    uri = "s3://nobody-made-this-bucket/out"
    assert uri in refused(trained, audience, StatusCode.BUCKET_NOT_FOUND, ("PERCENTAGE", 20), uri)


def test_a_denied_export_names_the_permission(lake: Lake, audience: GeneratedAudience) -> None:
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", '
        f'"Resource": "arn:aws:s3:::{lake.name}/*"}}]}}'
    )
    lake.s3.put_bucket_policy(Bucket=lake.name, Policy=policy)
    failure = refused(lake, audience, StatusCode.ACCESS_DENIED, ("PERCENTAGE", 20), lake.uri("out"))
    assert "s3:PutObject" in failure
