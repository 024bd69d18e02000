"""The documented data requirements at full scale: a million interactions, 100,000 users."""

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
#: Five hundred users, the documented ``minMatchingSeedSize``, who prefer even items.
SEED = [f"u{user}" for user in range(0, 1000, 2)]


def build_interactions(users: Iterable[int], per_user: int = 10) -> bytes:
    """Build a CSV in which eight of ten interactions are with items of the same parity as the user."""
    lines = [
        f"u{user},i{(user + (index % 4 == 3)) % 2}-{(user * 7 + index * 13) % 97},{BEGIN + user + index}\n"
        for user in users
        for index in range(per_user)
    ]
    return "".join(lines).encode()


class Lake(World):
    """An account with two Glue tables of exactly a million interactions: ``full`` has 100,000 users, ``short`` has one fewer."""

    def create_tables(self) -> Lake:
        s3, glue = self.client("s3"), self.client("glue")
        s3.create_bucket(Bucket=self.bucket)
        glue.create_database(DatabaseInput={"Name": "lookalike"})
        common, last = "common.csv", build_interactions([99_999])
        s3.put_object(Bucket=self.bucket, Key=common, Body=build_interactions(range(99_999)))
        for table, rest in (("full", last), ("short", last.replace(b"u99999,", b"u0,"))):
            s3.copy({"Bucket": self.bucket, "Key": common}, self.bucket, f"{table}/part-0.csv")
            s3.put_object(Bucket=self.bucket, Key=f"{table}/part-1.csv", Body=rest)
            glue.create_table(DatabaseName="lookalike", TableInput=self.build_table(table))
        return self

    def build_table(self, name: str) -> dict[str, Any]:
        columns = {"user_id": "string", "item_id": "string", "timestamp": "bigint"}
        storage = {
            "Columns": [{"Name": column, "Type": kind} for column, kind in columns.items()],
            "Location": f"s3://{self.bucket}/{name}/",
            "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
            "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.serde2.OpenCSVSerde"},
        }
        return {"Name": name, "StorageDescriptor": storage, "Parameters": {"classification": "csv"}}

    def create_dataset_from(self, table: str) -> str:
        data = self.build_training_data(table)
        response = self.ml.create_training_dataset(name=f"{table}-dataset", roleArn=self.role, trainingData=data)
        return str(response["trainingDatasetArn"])

    def create_model_from_full(self) -> str:
        dataset = self.create_dataset_from("full")
        model = self.ml.create_audience_model(name="model", trainingDatasetArn=dataset)["audienceModelArn"]
        assert self.wait(model)["status"] == "ACTIVE"
        response = self.ml.create_configured_audience_model(
            name="configured",
            audienceModelArn=model,
            outputConfig=self.output,
            sharedAudienceMetrics=["ALL"],
            audienceSizeConfig={"audienceSizeType": "PERCENTAGE", "audienceSizeBins": [5, 10]},
        )
        return str(response["configuredAudienceModelArn"])


@pytest.fixture(scope="module")
def full_scale_emulator() -> Iterator[EmulatorProcess]:
    process = EmulatorProcess("--pending-seconds", "0.1", "--progress-seconds", "0.1")
    yield process
    process.stop()


@pytest.fixture(scope="module")
def shared_lake(full_scale_emulator: EmulatorProcess) -> Lake:
    return Lake(full_scale_emulator).create_tables()


@pytest.fixture(scope="module")
def configured_model(shared_lake: Lake) -> str:
    return shared_lake.create_model_from_full()


@pytest.fixture(scope="module")
def job(shared_lake: Lake, configured_model: str) -> str:
    response = shared_lake.ml.start_audience_generation_job(
        name="job", configuredAudienceModelArn=configured_model, seedAudience=shared_lake.write_seed(SEED)
    )
    assert shared_lake.wait(response["audienceGenerationJobArn"])["status"] == "ACTIVE"
    return str(response["audienceGenerationJobArn"])


@pytest.fixture
def lake(shared_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("AWS_ENDPOINT_URL", shared_lake.emulator.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", shared_lake.account)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return shared_lake


def train(name: str, dataset: str, **more: Any) -> Run:
    arguments: dict[str, Any] = {"name": name, "training_dataset_arn": dataset, "waiter_delay": 1, **more}
    return run(CleanRoomsMLCreateAudienceModelOperator(task_id="t", **arguments))


def generate(name: str, configured_model: str, seed: dict[str, Any]) -> Run:
    arguments: dict[str, Any] = {
        "name": name,
        "configured_audience_model_arn": configured_model,
        "seed_audience": seed,
        "waiter_delay": 1,
    }
    return run(CleanRoomsMLStartAudienceGenerationJobOperator(task_id="t", **arguments))


def export(job: str, percent: int) -> str:
    size = {"type": "PERCENTAGE", "value": percent}
    arguments: dict[str, Any] = {
        "name": f"top {percent}",
        "audience_generation_job_arn": job,
        "audience_size": size,
        "waiter_delay": 1,
    }
    location: str = run(CleanRoomsMLStartAudienceExportJobOperator(task_id="t", **arguments)).result["output_location"]
    return location


def test_training_fails_with_one_user_too_few(lake: Lake) -> None:
    reason = "99,999 users with at least 2 interactions; at least 100,000 are required"
    with pytest.raises(JobFailedError, match=reason) as caught:
        train("short", lake.create_dataset_from("short"))
    assert caught.value.reason.startswith(reason)
    (model,) = [entry for entry in lake.ml.list_audience_models()["audienceModels"] if entry["name"] == "short"]
    details = lake.ml.get_audience_model(audienceModelArn=model["audienceModelArn"])["statusDetails"]
    assert model["status"] == caught.value.status == "CREATE_FAILED"
    assert details == {"statusCode": caught.value.code, "message": caught.value.reason}


def test_training_fails_if_window_omits_one_interaction(lake: Lake, configured_model: str) -> None:
    model = lake.ml.get_configured_audience_model(configuredAudienceModelArn=configured_model)["audienceModelArn"]
    dataset = lake.ml.get_audience_model(audienceModelArn=model)["trainingDatasetArn"]
    begin = datetime.fromtimestamp(BEGIN + 1, tz=timezone.utc)
    with pytest.raises(JobFailedError, match=r"999,999 interactions .*of 1,000,000 supplied\)?; at least 1,000,000"):
        train("window", dataset, training_data_start_time=begin)


def test_error_names_missing_table(lake: Lake) -> None:
    with pytest.raises(JobFailedError, match="nowhere"):
        train("nowhere", lake.create_dataset_from("nowhere"))


def test_seed_of_24_is_too_small(lake: Lake, configured_model: str) -> None:
    seed = lake.write_seed([*SEED[:24], SEED[0]])
    with pytest.raises(JobFailedError, match="ids in the seed: 24; at least 25 are required"):
        generate("seed of 24", configured_model, seed)


def test_seed_with_499_known_users_is_too_small(lake: Lake, configured_model: str) -> None:
    seed = lake.write_seed([*SEED[:499], *(f"stranger{index}" for index in range(101))])
    with pytest.raises(
        JobFailedError, match="499 of the 600 users in the seed are among the 100,000 .* at least 500 are required"
    ):
        generate("strangers", configured_model, seed)


def test_error_names_missing_bucket_of_seed(lake: Lake, configured_model: str) -> None:
    seed = {"dataSource": {"s3Uri": "s3://no-such-bucket-at-all/seed.jsonl"}, "roleArn": lake.role}
    with pytest.raises(JobFailedError, match="no-such-bucket-at-all"):
        generate("no bucket", configured_model, seed)


def test_five_percent_is_too_few_to_export(lake: Lake, job: str) -> None:
    with pytest.raises(JobFailedError, match="5,000 users; an exported audience needs at least 10,000"):
        export(job, 5)


def test_export_of_ten_percent_is_like_the_seed(lake: Lake, job: str) -> None:
    bucket, prefix = export(job, 10).removeprefix("s3://").split("/", 1)
    s3 = lake.client("s3")
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
    lines = [line for key in keys for line in s3.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines()]
    users = {line.removeprefix(b'{"user_id": "u').removesuffix(b'"}').decode() for line in lines}
    assert len(lines) == len(users) == 10_000
    assert not {f"u{user}" for user in users} & set(SEED)
    assert sum(int(user) % 2 == 0 for user in users) > 9_900
