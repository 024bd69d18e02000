"""Settings that are changed while the emulator runs, including the published rates."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_cleanroomsml._requests.request import load
from airflow_cleanroomsml.emulator.rate_limits import get_published_rate
from airflow_cleanroomsml.emulator.settings import Settings
from tests.emulator.clocked_world import expect_error
from tests.emulator.test_faults import Sender
from tests.support import EmulatorProcess


@pytest.fixture
def sender(clocked_emulator: EmulatorProcess) -> Iterator[Sender]:
    """An account in an emulator whose clock is frozen, and whose settings are restored afterwards."""
    world = Sender(clocked_emulator)
    world.emulator._control("clock", {"freeze": True})
    before = world.emulator.change_settings()
    yield world
    world.emulator.change_settings(**before)
    world.emulator._control("clock", {"freeze": False})


def test_unique_names_can_be_disabled(sender: Sender) -> None:
    sender.create_dataset("d")
    expect_error("ConflictException", sender.create_dataset, name="d")
    before = sender.emulator.change_settings(unique_names=False)
    sender.create_dataset("d")
    assert sender.names == ["d", "d"]
    sender.emulator.change_settings(**before)
    expect_error("ConflictException", sender.create_dataset, name="d")


def test_quota_can_be_changed(sender: Sender) -> None:
    sender.build()
    dataset = sender.create_dataset()
    sender.emulator.change_settings(models_in_progress=1, progress_seconds=0)
    sender.ml.create_audience_model(name="m1", trainingDatasetArn=dataset)
    error = expect_error(
        "ServiceQuotaExceededException", sender.ml.create_audience_model, name="m2", trainingDatasetArn=dataset
    )
    assert error["quotaValue"] == 1
    sender.emulator.change_settings(models_in_progress=2)
    sender.ml.create_audience_model(name="m2", trainingDatasetArn=dataset)


def test_returned_settings_can_be_restored(sender: Sender) -> None:
    returned = sender.emulator.change_settings()
    assert returned["instance_types"] == ["ml.m5.2xlarge", "ml.m5.4xlarge", "ml.m5.12xlarge"]
    sender.emulator.change_settings(instance_types=[], scale=1)
    sender.emulator.change_settings(**returned)
    assert sender.emulator.change_settings() == returned


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unique_name": False}, "unique_name: unknown setting; allowed: scale, "),
        ({"unique_names": "no"}, "unique_names must be true or false"),
        ({"unique_names": 0}, "unique_names must be true or false"),
        ({"models_in_progress": 1.5}, "models_in_progress must be an integer, 0 or more"),
        ({"models_in_progress": True}, "models_in_progress must be an integer, 0 or more"),
        ({"models_in_progress": -1}, "models_in_progress must be an integer, 0 or more"),
        ({"pending_seconds": float("nan")}, "pending_seconds must be a number, 0 or more"),
        ({"pending_seconds": 10**400}, "pending_seconds must be a number, 0 or more"),
        ({"pending_seconds": None}, "pending_seconds must be a number, 0 or more"),
        ({"instance_types": "ml.m5.large"}, "instance_types must be a list of strings"),
        ({"instance_types": [1]}, "instance_types must be a list of strings"),
    ],
)
def test_invalid_setting_changes_nothing(sender: Sender, change: dict[str, Any], message: str) -> None:
    before = sender.emulator.change_settings()
    with pytest.raises(urllib.error.HTTPError) as caught:
        sender.emulator.change_settings(**{"delete_seconds": 7, **change})
    assert (caught.value.code, message in json.load(caught.value)["message"]) == (400, True)
    assert sender.emulator.change_settings() == before


def test_fraction_may_replace_integer() -> None:
    assert Settings(pending_seconds=0).replace_values({"pending_seconds": 0.5}).pending_seconds == 0.5


def test_command_line_options_change_settings() -> None:
    process = EmulatorProcess(
        "--published-rates", "--names-not-unique", "--all-instance-types", "--delete-seconds", "7"
    )
    try:
        returned = process.change_settings()
    finally:
        process.stop()
    assert (returned["published_rates"], returned["unique_names"], returned["instance_types"]) == (True, False, [])
    assert returned["delete_seconds"] == 7


@pytest.fixture
def limited_sender(sender: Sender) -> Sender:
    """An account whose requests are limited to the published rates."""
    sender.emulator.change_settings(published_rates=True)
    return sender


def test_requests_beyond_burst_are_limited_to_one_per_second(limited_sender: Sender) -> None:
    arguments = {"name": "m", "trainingDatasetArn": limited_sender.create_dataset()}
    statuses = [limited_sender.status(limited_sender.ml.create_audience_model, **arguments) for _ in range(5)]
    # A request that the backend rejects has consumed its token as well.
    assert statuses == [200, 409, 409, 429, 429]
    limited_sender.advance(0.9)
    assert limited_sender.status(limited_sender.ml.create_audience_model, **arguments) == 429
    limited_sender.advance(0.1)
    assert [limited_sender.status(limited_sender.ml.create_audience_model, **arguments) for _ in range(2)] == [409, 429]
    limited_sender.advance(3600)
    assert [limited_sender.status(limited_sender.ml.create_audience_model, **arguments) for _ in range(4)] == [
        409,
        409,
        409,
        429,
    ]


def test_throttled_request_is_rejected_and_logged(limited_sender: Sender) -> None:
    arguments = {"name": "m", "trainingDatasetArn": limited_sender.create_dataset()}
    limited_sender.emulator.change_settings(unique_names=False, models_in_progress=10)
    for _ in range(3):
        limited_sender.ml.create_audience_model(**arguments)
    error = expect_error("ThrottlingException", limited_sender.ml.create_audience_model, **arguments)
    assert error["Error"]["Message"] == "Rate exceeded"
    requests = limited_sender.emulator._control(f"requests?account={limited_sender.account}")["requests"]
    assert [(entry["operation"], entry["status"]) for entry in requests][-2:] == [
        ("CreateAudienceModel", 200),
        ("CreateAudienceModel", 429),
    ]
    assert len(limited_sender.ml.list_audience_models()["audienceModels"]) == 3


def test_rates_apply_per_account_and_operation(limited_sender: Sender) -> None:
    other = Sender(limited_sender.emulator)
    arguments = {"audienceModelArn": f"arn:aws:cleanrooms-ml:us-east-1:{limited_sender.account}:audience-model/m"}
    statuses = [limited_sender.status(limited_sender.ml.delete_audience_model, **arguments) for _ in range(11)]
    assert statuses == [404] * 10 + [429]
    assert other.status(other.ml.delete_audience_model, **arguments) == 404
    assert limited_sender.status(limited_sender.ml.get_audience_model, **arguments) == 404


def test_boto3_retries_until_rate_allows_request(limited_sender: Sender) -> None:
    limited_sender.emulator._control("clock", {"freeze": False})
    limited_sender.emulator.change_settings(models_in_progress=10)
    client = limited_sender.client("cleanroomsml", retries={"total_max_attempts": 10})
    dataset = limited_sender.create_dataset()
    for index in range(5):
        client.create_audience_model(name=f"m{index}", trainingDatasetArn=dataset)
    assert len(client.list_audience_models()["audienceModels"]) == 5


def test_requests_are_unlimited_by_default(sender: Sender) -> None:
    for index in range(12):
        sender.create_dataset(f"d{index}")
    assert len(sender.names) == 12


def test_few_operations_have_no_rate() -> None:
    limited = {name for name in load().operation_names if get_published_rate(name) is not None}
    unlimited = set(load().operation_names) - limited
    expected = {"CreateMLInputChannel", "GetMLInputChannel", "DeleteMLInputChannelData"}
    expected |= {"CancelTrainedModel", "CancelTrainedModelInferenceJob"}
    assert {name for name in unlimited if "Collaboration" not in name} == expected
    assert not any("Collaboration" in name for name in limited)


def test_synchronous_job_computes_before_response(sender: Sender) -> None:
    sender.build()
    dataset = sender.create_dataset()
    sender.emulator.change_settings(synchronous_jobs=True, pending_seconds=0, progress_seconds=60)
    arn = sender.ml.create_audience_model(name="m", trainingDatasetArn=dataset)["audienceModelArn"]
    assert sender.ml.get_audience_model(audienceModelArn=arn)["status"] == "CREATE_IN_PROGRESS"
    sender.advance(60)
    assert sender.ml.get_audience_model(audienceModelArn=arn)["status"] == "ACTIVE"


def test_job_failed_by_fault_computes_nothing(sender: Sender) -> None:
    sender.emulator.change_settings(synchronous_jobs=True, pending_seconds=0, progress_seconds=0)
    sender.add_fault("CreateAudienceModel", "fail_job", message="no capacity")
    arn = sender.ml.create_audience_model(name="m", trainingDatasetArn=sender.create_dataset())["audienceModelArn"]
    model = sender.ml.get_audience_model(audienceModelArn=arn)
    assert (model["status"], model["statusDetails"]["message"]) == ("CREATE_FAILED", "no capacity")
