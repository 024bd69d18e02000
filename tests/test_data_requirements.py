"""The documented data requirements at their documented size: a million interactions, 100,000 users, no scale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_cleanroomsml.exceptions import JobFailedError
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)
from tests.support import EmulatorProcess, Run, World, run

BEGIN = 1_760_000_000
#: Five hundred, the documented ``minMatchingSeedSize``, who like even items.
SEED = [f"u{user}" for user in range(0, 1000, 2)]


def interactions(users: Iterable[int], each: int = 10) -> bytes:
    """Of each user as many; who has an even number likes even items, eight times in ten."""
    lines = [
        f"u{user},i{(user + (turn % 4 == 3)) % 2}-{(user * 7 + turn * 13) % 97},{BEGIN + user + turn}\n"
        for user in users
        for turn in range(each)
    ]
    return "".join(lines).encode()


class Lake(World):
    """An account with two Glue tables of exactly a million interactions: ``full`` of 100,000 users, ``short`` of one less."""

    def supply(self) -> Lake:
        s3, glue = self.client("s3"), self.client("glue")
        s3.create_bucket(Bucket=self.bucket)
        glue.create_database(DatabaseInput={"Name": "lookalike"})
        common, last = "common.csv", interactions([99_999])
        s3.put_object(Bucket=self.bucket, Key=common, Body=interactions(range(99_999)))
        for table, rest in (("full", last), ("short", last.replace(b"u99999,", b"u0,"))):
            s3.copy({"Bucket": self.bucket, "Key": common}, self.bucket, f"{table}/part-0.csv")
            s3.put_object(Bucket=self.bucket, Key=f"{table}/part-1.csv", Body=rest)
            glue.create_table(DatabaseName="lookalike", TableInput=self.table(table))
        return self

    def table(self, name: str) -> dict[str, Any]:
        columns = {"user_id": "string", "item_id": "string", "timestamp": "bigint"}
        storage = {
            "Columns": [{"Name": column, "Type": kind} for column, kind in columns.items()],
            "Location": f"s3://{self.bucket}/{name}/",
            "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
            "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.serde2.OpenCSVSerde"},
        }
        return {"Name": name, "StorageDescriptor": storage, "Parameters": {"classification": "csv"}}

    def dataset_of(self, table: str) -> str:
        data = self.build_training_data(table)
        made = self.ml.create_training_dataset(name=f"{table}-dataset", roleArn=self.role, trainingData=data)
        return str(made["trainingDatasetArn"])

    def configured_on_full(self) -> str:
        dataset = self.dataset_of("full")
        model = self.ml.create_audience_model(name="model", trainingDatasetArn=dataset)["audienceModelArn"]
        assert self.wait(model)["status"] == "ACTIVE"
        made = self.ml.create_configured_audience_model(
            name="configured",
            audienceModelArn=model,
            outputConfig=self.output,
            sharedAudienceMetrics=["ALL"],
            audienceSizeConfig={"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [5, 10]},
        )
        return str(made["configuredAudienceModelArn"])


@pytest.fixture(scope="module")
def documented() -> Iterator[EmulatorProcess]:
    process = EmulatorProcess("--pending-seconds", "0.1", "--progress-seconds", "0.1")
    yield process
    process.stop()


@pytest.fixture(scope="module")
def built(documented: EmulatorProcess) -> Lake:
    return Lake(documented).supply()


@pytest.fixture(scope="module")
def configured(built: Lake) -> str:
    return built.configured_on_full()


@pytest.fixture(scope="module")
def job(built: Lake, configured: str) -> str:
    made = built.ml.start_audience_generation_job(
        name="job", configuredAudienceModelArn=configured, seedAudience=built.write_seed(SEED)
    )
    assert built.wait(made["audienceGenerationJobArn"])["status"] == "ACTIVE"
    return str(made["audienceGenerationJobArn"])


@pytest.fixture
def lake(built: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("AWS_ENDPOINT_URL", built.emulator.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", built.account)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return built


def train(name: str, dataset: str, **more: Any) -> Run:
    given: dict[str, Any] = {"name": name, "training_dataset_arn": dataset, "waiter_delay": 1, **more}
    return run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **given))


def generate(name: str, configured: str, seed: dict[str, Any]) -> Run:
    given: dict[str, Any] = {
        "name": name,
        "configured_audience_model_arn": configured,
        "seed_audience": seed,
        "waiter_delay": 1,
    }
    return run(CleanRoomsMLStartAudienceGenerationJobOperator(task_id="t", **given))


def export(job: str, percent: int) -> str:
    size = {"type": "PERCENTAGE", "value": percent}
    given: dict[str, Any] = {
        "name": f"top {percent}",
        "audience_generation_job_arn": job,
        "audience_size": size,
        "waiter_delay": 1,
    }
    location: str = run(CleanRoomsMLStartAudienceExportJobOperator(task_id="t", **given)).result["output_location"]
    return location


def test_a_million_interactions_of_one_user_less_are_not_enough(lake: Lake) -> None:
    reason = "99,999 users with at least 2 interactions; at least 100,000 are required"
    with pytest.raises(JobFailedError, match=reason) as caught:
        train("short", lake.dataset_of("short"))
    assert caught.value.reason.startswith(reason)
    (found,) = [entry for entry in lake.ml.list_audience_models()["audienceModels"] if entry["name"] == "short"]
    details = lake.ml.get_audience_model(audienceModelArn=found["audienceModelArn"])["statusDetails"]
    assert found["status"] == caught.value.status == "CREATE_FAILED"
    assert details == {"statusCode": caught.value.code, "message": caught.value.reason}


def test_one_interaction_before_the_window_is_one_too_few(lake: Lake, configured: str) -> None:
    model = lake.ml.get_configured_audience_model(configuredAudienceModelArn=configured)["audienceModelArn"]
    dataset = lake.ml.get_audience_model(audienceModelArn=model)["trainingDatasetArn"]
    begin = datetime.fromtimestamp(BEGIN + 1, tz=timezone.utc)
    with pytest.raises(JobFailedError, match=r"999,999 interactions .*of 1,000,000 supplied\)?; at least 1,000,000"):
        train("window", dataset, training_data_start_time=begin)


def test_a_table_that_does_not_exist_is_named(lake: Lake) -> None:
    with pytest.raises(JobFailedError, match="nowhere"):
        train("nowhere", lake.dataset_of("nowhere"))


def test_a_seed_of_24_is_one_too_small(lake: Lake, configured: str) -> None:
    seed = lake.write_seed([*SEED[:24], SEED[0]])
    with pytest.raises(JobFailedError, match="ids in the seed: 24; at least 25 are required"):
        generate("seed of 24", configured, seed)


def test_a_seed_of_which_499_are_known_is_one_too_small(lake: Lake, configured: str) -> None:
    seed = lake.write_seed([*SEED[:499], *(f"stranger{index}" for index in range(101))])
    with pytest.raises(
        JobFailedError, match="499 of the 600 users in the seed are among the 100,000 .* at least 500 are required"
    ):
        generate("strangers", configured, seed)


def test_a_seed_in_a_bucket_that_does_not_exist_fails_by_its_name(lake: Lake, configured: str) -> None:
    seed = {"dataSource": {"s3Uri": "s3://no-such-bucket-at-all/seed.jsonl"}, "roleArn": lake.role}
    with pytest.raises(JobFailedError, match="no-such-bucket-at-all"):
        generate("no bucket", configured, seed)


def test_five_percent_are_too_few_to_export(lake: Lake, job: str) -> None:
    with pytest.raises(JobFailedError, match="5,000 users; an exported audience needs at least 10,000"):
        export(job, 5)


def test_ten_percent_are_ten_thousand_who_are_like_the_seed(lake: Lake, job: str) -> None:
    bucket, prefix = export(job, 10).removeprefix("s3://").split("/", 1)
    s3 = lake.client("s3")
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
    lines = [line for key in keys for line in s3.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines()]
    users = {line.removeprefix(b'{"user_id": "u').removesuffix(b'"}').decode() for line in lines}
    assert len(lines) == len(users) == 10_000
    assert not {f"u{user}" for user in users} & set(SEED)
    assert sum(int(user) % 2 == 0 for user in users) > 9_900
