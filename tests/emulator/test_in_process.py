"""The emulator without a server behaves towards clients as it does over a socket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError
from botocore.httpsession import URLLib3Session

from airflow_cleanroomsml import _clock
from airflow_cleanroomsml.emulator.settings import Settings
from airflow_cleanroomsml.exceptions import OutcomeUnknownError
from airflow_cleanroomsml.hooks import CleanRoomsMLHook
from tests.emulator.clocked_world import ClockedWorld
from tests.helpers.in_process import START, URL, InProcess, in_process
from tests.support import REGION, EmulatorProcess, RunningEmulator, make_client

SLOW_JOBS = Settings(scale=0.001, pending_seconds=100, progress_seconds=100, delete_seconds=100)


@pytest.fixture
def local_emulator() -> Iterator[InProcess]:
    with in_process(SLOW_JOBS) as emulator:
        yield emulator


@pytest.fixture(params=["socket", "in process"])
def any_emulator(request: pytest.FixtureRequest, clocked_emulator: EmulatorProcess) -> Iterator[RunningEmulator]:
    """The same emulator, called over a socket and in process."""
    if request.param == "socket":
        yield clocked_emulator
        return
    with in_process(SLOW_JOBS) as emulator:
        yield emulator


def make_client_without_retries(world: ClockedWorld, **config: Any) -> Any:
    """Make a client that does not retry."""
    return make_client(
        "cleanroomsml",
        endpoint_url=world.emulator.url,
        region_name=REGION,
        aws_access_key_id=world.account,
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


@pytest.mark.parametrize(("kind", "created"), [("reset", 0), ("lose_response", 1)])
def test_dropped_connection_raises_same_error(any_emulator: RunningEmulator, kind: str, created: int) -> None:
    world = ClockedWorld(any_emulator)
    world.add_fault("CreateTrainingDataset", kind)
    with pytest.raises(ConnectionClosedError, match="before we received a valid response"):
        make_client_without_retries(world).create_training_dataset(
            name="d", roleArn=world.role, trainingData=world.build_training_data()
        )
    assert len(world.ml.list_training_datasets()["trainingDatasets"]) == created


def test_error_has_same_response(any_emulator: RunningEmulator) -> None:
    world = ClockedWorld(any_emulator)
    arn = f"arn:aws:cleanrooms-ml:{REGION}:{world.account}:training-dataset/0f3a6f0e-0000-4000-8000-000000000000"
    with pytest.raises(ClientError) as caught:
        world.ml.get_training_dataset(trainingDatasetArn=arn)
    response: dict[str, Any] = dict(caught.value.response)
    metadata = response["ResponseMetadata"]
    assert (metadata["HTTPStatusCode"], response["Error"]["Code"]) == (404, "ResourceNotFoundException")
    assert metadata["RequestId"] == metadata["HTTPHeaders"]["x-amzn-requestid"]
    assert world.calls == ["GetTrainingDataset"]


def test_files_and_tables_behave_the_same(any_emulator: RunningEmulator) -> None:
    world = ClockedWorld(any_emulator).build()
    s3 = world.client("s3")
    s3.put_object(Bucket=world.bucket, Key="a b/ü.txt", Body=b"\x00 text", Metadata={"k": "v"})
    assert s3.get_object(Bucket=world.bucket, Key="a b/ü.txt")["Body"].read() == b"\x00 text"
    head = s3.head_object(Bucket=world.bucket, Key="a b/ü.txt")
    assert (head["ContentLength"], head["Metadata"]) == (6, {"k": "v"})
    assert world.client("sts").get_caller_identity()["Account"] == world.account
    assert world.client("glue").get_table(DatabaseName="lookalike", Name="interactions")["Table"]["Parameters"]


def test_model_is_trained_and_audience_exported(local_emulator: InProcess) -> None:
    world = ClockedWorld(local_emulator).build()
    job = world.generate_audience()
    world.ml.start_audience_export_job(
        name="e", audienceGenerationJobArn=job, audienceSize={"type": "PERCENTAGE", "value": 20}
    )
    world.advance(200)
    (export,) = world.ml.list_audience_export_jobs()["audienceExportJobs"]
    assert export["status"] == "ACTIVE"


def test_model_with_invalid_data_fails(local_emulator: InProcess) -> None:
    world = ClockedWorld(local_emulator).build(csv=b"user_id,item_id,timestamp\nu1,i1,soon\n")
    model = world.ml.create_audience_model(name="m", trainingDatasetArn=world.create_dataset())
    assert world.wait(model["audienceModelArn"])["status"] == "CREATE_FAILED"


@pytest.fixture
def hook(local_emulator: InProcess, monkeypatch: pytest.MonkeyPatch) -> CleanRoomsMLHook:
    """A hook whose connection uses account 123456789012."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", '{"conn_type": "aws", "login": "123456789012", "password": "x"}')
    monkeypatch.setenv("AWS_ENDPOINT_URL", local_emulator.url)
    return CleanRoomsMLHook(region_name=REGION)


def test_hook_reaches_emulator(local_emulator: InProcess, hook: CleanRoomsMLHook) -> None:
    world = ClockedWorld(local_emulator, account="123456789012")
    arn = world.create_dataset()
    assert [entry["trainingDatasetArn"] for entry in hook.items("list_training_datasets")] == [arn]
    local_emulator.add_fault("DeleteTrainingDataset", "throttle", "123456789012", times=2)
    hook.call("delete_training_dataset", {"training_dataset_arn": arn})
    local_emulator.add_fault("CreateTrainingDataset", "lose_response", "123456789012")
    with pytest.raises(OutcomeUnknownError, match="ConnectionClosedError"):
        hook.call(
            "create_training_dataset",
            {"name": "d", "role_arn": world.role, "training_data": world.build_training_data()},
        )


def test_pauses_advance_clock(local_emulator: InProcess, hook: CleanRoomsMLHook) -> None:
    local_emulator.add_fault("ListTrainingDatasets", "server_error", "123456789012", times=2)
    assert list(hook.items("list_training_datasets")) == []
    assert local_emulator.clock.now() > START
    before = _clock.now()
    assert before == local_emulator.clock.now()
    local_emulator.add_fault("CreateTrainingDataset", "throttle", "123456789012", times=8)
    world = ClockedWorld(local_emulator, account="123456789012")
    hook.call(
        "create_training_dataset", {"name": "d", "role_arn": world.role, "training_data": world.build_training_data()}
    )
    # Eight jittered pauses: 1, 2, 4, 8 and 16 seconds, then 20 each.
    assert 45 < _clock.now() - before < 92


def test_clock_is_frozen_until_advanced(local_emulator: InProcess) -> None:
    world = ClockedWorld(local_emulator)
    arn = world.create_dataset()
    dataset = world.ml.get_training_dataset(trainingDatasetArn=arn)
    start = datetime.fromtimestamp(START, tz=timezone.utc)
    assert dataset["createTime"] == start
    assert dataset["ResponseMetadata"]["HTTPHeaders"]["date"] == start.strftime("%a, %d %b %Y %H:%M:%S GMT")


def test_clear_restores_initial_state(local_emulator: InProcess) -> None:
    world = ClockedWorld(local_emulator)
    world.create_dataset()
    world.advance(50)
    world.add_fault("ListTrainingDatasets", "access_denied", times=100)
    local_emulator.clear()
    assert world.ml.list_training_datasets()["trainingDatasets"] == []
    assert (world.calls, _clock.now()) == (["ListTrainingDatasets"], START)


def test_network_is_restored_afterwards(local_emulator: InProcess) -> None:
    world = ClockedWorld(local_emulator)
    patched_send = URLLib3Session.send
    with in_process(start=None) as other:
        assert ClockedWorld(other, account=world.account).ml.list_training_datasets()["trainingDatasets"] == []
        assert world.calls == []
    assert URLLib3Session.send is patched_send
    world.create_dataset()
    assert world.calls == ["CreateTrainingDataset"]


def test_requests_fail_afterwards() -> None:
    with in_process() as emulator:
        world = ClockedWorld(emulator)
    with pytest.raises(EndpointConnectionError):
        make_client_without_retries(world).list_training_datasets()
    assert world.emulator.url == URL
