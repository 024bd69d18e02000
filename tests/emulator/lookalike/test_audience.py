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
def audience(trained_lake: Lake) -> GeneratedAudience:
    return trained_lake.generate(SEED, SIZES)


def export_to_folder(lake: Lake, audience: GeneratedAudience, size: tuple[str, int], folder: str) -> str:
    return run_export(lake, audience, size, lake.build_uri(folder))


def run_export(lake: Lake, audience: GeneratedAudience, size: tuple[str, int], uri: str) -> str:
    from airflow_cleanroomsml.emulator.lookalike.export import export

    return export(lake.s3, audience, size=size, output_uri=uri, rules=RULES)


def expect_export_failure(
    lake: Lake, audience: GeneratedAudience, code: StatusCode, size: tuple[str, int], uri: str
) -> str:
    with pytest.raises(JobFailure) as caught:
        run_export(lake, audience, size, uri)
    assert caught.value.status_code == code.value
    return str(caught.value)


def test_users_similar_to_seed_rank_first(audience: GeneratedAudience) -> None:
    assert set(audience.users[:15].to_pylist()) == set(REST)


def test_metrics_have_shape_of_api(audience: GeneratedAudience) -> None:
    relevance = audience.metrics["relevanceMetrics"]
    assert [metric["audienceSize"] for metric in relevance] == [
        {"type": "PERCENTAGE", "value": value} for _, value in SIZES
    ]
    five, twenty, twelve = (metric["score"] for metric in relevance)
    assert -1 <= twenty < twelve <= five <= 1
    # The top 20 % are about 24 users; the held-out users are among the 15 to 18 ranked users of their group.
    assert audience.metrics["recallMetric"] == 1.0
    assert json.loads(json.dumps(audience.metrics)) == audience.metrics


def test_percentages_of_training_users_are_rounded_up(audience: GeneratedAudience) -> None:
    assert [audience.counts[size] for size in SIZES] == [6, 24, 15]
    assert len(audience.users) == 24


def test_same_job_generates_same_audience(trained_lake: Lake, audience: GeneratedAudience) -> None:
    second = trained_lake.generate(SEED, SIZES)
    assert second.users.equals(audience.users)
    assert second.metrics == audience.metrics


def test_order_of_seed_does_not_matter(trained_lake: Lake, audience: GeneratedAudience) -> None:
    assert trained_lake.generate(reversed(SEED), SIZES).users.equals(audience.users)


def test_audience_includes_seed_on_request(trained_lake: Lake, audience: GeneratedAudience) -> None:
    assert not set(SEED) & set(audience.users.to_pylist())
    assert set(SEED) < set(trained_lake.generate(SEED, (("ABSOLUTE", 30),), include_seed=True).users.to_pylist())


def test_absolute_sizes_are_numbers_of_users(trained_lake: Lake) -> None:
    audience = trained_lake.generate(SEED, (("ABSOLUTE", 7), ("ABSOLUTE", 105)))
    assert list(audience.counts.values()) == [7, 105]
    assert len(set(audience.users.to_pylist())) == 105


def test_sizes_above_available_users_are_rejected(trained_lake: Lake) -> None:
    sizes = (("ABSOLUTE", 50), ("ABSOLUTE", 106), ("PERCENTAGE", 90))
    message = trained_lake.expect_generation_failure(StatusCode.AUDIENCE_SIZE_TOO_LARGE, SEED, sizes=sizes)
    assert message.startswith("2 problems:")
    assert "106 users, but only 105 of 120" in message
    assert "90 (PERCENTAGE) corresponds to 108 users" in message
    assert "without the seed" in message
    trained_lake.generate(SEED, sizes, include_seed=True)


def test_export_is_json_lines_with_best_users_first(trained_lake: Lake, audience: GeneratedAudience) -> None:
    location = export_to_folder(trained_lake, audience, ("PERCENTAGE", 20), "out/job-1")
    assert location == trained_lake.build_uri("out/job-1/")
    assert trained_lake.list_keys("out/job-1/") == ["out/job-1/part-00000.jsonl"]
    lines = trained_lake.get("out/job-1/part-00000.jsonl").decode().splitlines()
    assert [json.loads(line) for line in lines] == [{"user_id": user} for user in audience.users.to_pylist()]


def test_smaller_audience_is_prefix_of_larger_one(trained_lake: Lake, audience: GeneratedAudience) -> None:
    export_to_folder(trained_lake, audience, ("PERCENTAGE", 12), "out/job-2/")
    lines = trained_lake.get("out/job-2/part-00000.jsonl").decode().splitlines()
    assert [json.loads(line)["user_id"] for line in lines] == audience.users[:15].to_pylist()


def test_large_export_has_several_parts(
    trained_lake: Lake, audience: GeneratedAudience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_cleanroomsml.emulator.lookalike.export._USERS_PER_PART", 10)
    export_to_folder(trained_lake, audience, ("PERCENTAGE", 20), "out/job-3")
    parts = [trained_lake.get(key) for key in trained_lake.list_keys("out/job-3/")]
    assert [len(part.splitlines()) for part in parts] == [10, 10, 4]
    users = [json.loads(line)["user_id"] for line in b"".join(parts).splitlines()]
    assert users == audience.users.to_pylist()


def test_ids_are_written_as_json(lake: Lake) -> None:
    user_id = 'we"ird\\ü'
    lake.put("data/a.csv", lake.format_csv(delimiter="\t", header=False).replace("u060", user_id))
    lazy = "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe"
    lake.create_table(lazy, {"field.delim": "\t"}, parameters={})
    lake.train()
    audience = lake.generate(SEED, (("PERCENTAGE", 13),))
    export_to_folder(lake, audience, ("PERCENTAGE", 13), "out")
    lines = lake.get("out/part-00000.jsonl").decode().splitlines()
    assert user_id in [json.loads(line)["user_id"] for line in lines]


def test_audience_too_small_to_export_is_rejected(trained_lake: Lake, audience: GeneratedAudience) -> None:
    message = expect_export_failure(
        trained_lake,
        audience,
        StatusCode.AUDIENCE_TOO_SMALL_TO_EXPORT,
        ("PERCENTAGE", 5),
        trained_lake.build_uri("out/small"),
    )
    assert "6 users" in message
    assert "at least 10" in message
    assert trained_lake.list_keys("out/small") == []


def test_size_that_was_not_generated_is_rejected(trained_lake: Lake, audience: GeneratedAudience) -> None:
    message = expect_export_failure(
        trained_lake,
        audience,
        StatusCode.AUDIENCE_SIZE_NOT_CONFIGURED,
        ("ABSOLUTE", 20),
        trained_lake.build_uri("out/other"),
    )
    assert "20 (ABSOLUTE)" in message
    assert "12 (PERCENTAGE)" in message


def test_export_to_missing_bucket_fails(trained_lake: Lake, audience: GeneratedAudience) -> None:
    uri = "s3://no-such-bucket/out"
    assert uri in expect_export_failure(trained_lake, audience, StatusCode.BUCKET_NOT_FOUND, ("PERCENTAGE", 20), uri)


def test_denied_export_names_permission(lake: Lake, audience: GeneratedAudience) -> None:
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", '
        f'"Resource": "arn:aws:s3:::{lake.name}/*"}}]}}'
    )
    lake.s3.put_bucket_policy(Bucket=lake.name, Policy=policy)
    message = expect_export_failure(lake, audience, StatusCode.ACCESS_DENIED, ("PERCENTAGE", 20), lake.build_uri("out"))
    assert "s3:PutObject" in message
