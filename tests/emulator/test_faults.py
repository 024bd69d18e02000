"""Injected faults: what each kind does, which requests it affects, and when it expires."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from airflow_cleanroomsml.emulator.faults import KINDS
from tests.emulator.clocked_world import ClockedWorld, expect_error
from tests.emulator.custom_models import Custom
from tests.helpers.collaboration import collaborate
from tests.support import REGION, EmulatorProcess, make_client


class Sender(ClockedWorld):
    """An account that creates training datasets, and whose client does not retry unless configured to."""

    def client(self, service: str, **config: Any) -> Any:
        return make_client(
            service,
            endpoint_url=self.emulator.url,
            region_name=REGION,
            aws_access_key_id=self.account,
            aws_secret_access_key="secret",
            config=Config(**{"retries": {"total_max_attempts": 1}, **config}),
        )

    @property
    def names(self) -> list[str]:
        return [entry["name"] for entry in self.ml.list_training_datasets()["trainingDatasets"]]

    def status(self, call: Callable[..., Any], **arguments: Any) -> int:
        """Send a request, and return the HTTP status of the response; 0 if there is none."""
        try:
            response = call(**arguments)
        except ClientError as error:
            response = error.response
        except ConnectionClosedError:
            return 0
        return int(response["ResponseMetadata"]["HTTPStatusCode"])


@pytest.fixture
def sender(clocked_emulator: EmulatorProcess) -> Iterator[Sender]:
    """An account in an emulator whose clock is frozen."""
    world = Sender(clocked_emulator)
    world.emulator._control("clock", {"freeze": True})
    yield world
    world.emulator._control("faults", method="DELETE")
    world.emulator._control("clock", {"freeze": False})


@pytest.fixture
def other(sender: Sender) -> Sender:
    return Sender(sender.emulator)


def read_clock(world: Sender) -> float:
    return float(world.emulator._control("clock")["now"])


def expect_closed_connection(call: Callable[..., Any], *arguments: Any, **more: Any) -> None:
    with pytest.raises(ConnectionClosedError):
        call(*arguments, **more)


def test_late_commit_is_invisible_until_due(sender: Sender) -> None:
    sender.add_fault("CreateTrainingDataset", "late_commit", seconds=30)
    due = read_clock(sender) + 30
    expect_closed_connection(sender.create_dataset, "d")
    sender.advance(29.5)
    assert sender.names == []
    sender.advance(10)
    (dataset,) = sender.ml.list_training_datasets()["trainingDatasets"]
    assert dataset["name"] == "d"
    assert dataset["createTime"].timestamp() == pytest.approx(due, abs=0.001)
    expect_error("ConflictException", sender.create_dataset, name="d")


def test_earlier_request_takes_name_of_late_commit(sender: Sender) -> None:
    sender.add_fault("CreateTrainingDataset", "late_commit", seconds=30)
    expect_closed_connection(sender.create_dataset, "d")
    first = sender.create_dataset("d")
    sender.advance(31)
    entries = sender.ml.list_training_datasets()["trainingDatasets"]
    assert [entry["trainingDatasetArn"] for entry in entries] == [first]


def test_late_commit_creates_duplicate_if_names_are_not_unique(sender: Sender) -> None:
    before = sender.emulator.change_settings(unique_names=False)
    try:
        sender.add_fault("CreateTrainingDataset", "late_commit", seconds=30)
        expect_closed_connection(sender.create_dataset, "d")
        sender.create_dataset("d")
        sender.advance(31)
        assert sender.names == ["d", "d"]
    finally:
        sender.emulator.change_settings(**before)


def test_late_commits_execute_in_order_of_due_time(sender: Sender) -> None:
    for name, seconds in (("last", 30), ("first", 10), ("middle", 20)):
        sender.add_fault("CreateTrainingDataset", "late_commit", seconds=seconds)
        expect_closed_connection(sender.create_dataset, name)
    sender.advance(31)
    assert sender.names == ["first", "middle", "last"]


def test_job_of_late_commit_starts_late(sender: Sender) -> None:
    sender.build()
    dataset = sender.create_dataset()
    sender.add_fault("CreateAudienceModel", "late_commit", seconds=30)
    expect_closed_connection(sender.ml.create_audience_model, name="m", trainingDatasetArn=dataset)
    sender.advance(129)
    (model,) = sender.ml.list_audience_models()["audienceModels"]
    assert model["status"] == "CREATE_PENDING"
    sender.advance(2)
    (model,) = sender.ml.list_audience_models()["audienceModels"]
    assert model["status"] == "CREATE_IN_PROGRESS"


def test_deletion_can_be_late(sender: Sender) -> None:
    arn = sender.create_dataset("d")
    sender.add_fault("DeleteTrainingDataset", "late_commit", seconds=30)
    expect_closed_connection(sender.ml.delete_training_dataset, trainingDatasetArn=arn)
    assert sender.names == ["d"]
    sender.advance(31)
    assert sender.names == []


def test_stale_listing_omits_new_resources(sender: Sender, other: Sender) -> None:
    sender.create_dataset("old")
    sender.advance(20)
    new = sender.create_dataset("new")
    other.create_dataset("theirs")
    sender.add_fault("ListTrainingDatasets", "stale_listing", times=2, seconds=20)
    assert sender.names == ["old"]
    assert other.names == ["theirs"]
    assert sender.ml.get_training_dataset(trainingDatasetArn=new)["name"] == "new"
    expect_error("ConflictException", sender.create_dataset, name="new")
    assert sender.names == ["old"]
    assert sender.names == ["old", "new"]


def test_stale_listing_catches_up(sender: Sender) -> None:
    sender.create_dataset("d")
    sender.add_fault("ListTrainingDatasets", "stale_listing", times=0, seconds=20)
    assert sender.names == []
    sender.advance(20)
    assert sender.names == ["d"]


def test_stale_read_does_not_find_new_resource(sender: Sender) -> None:
    old = sender.create_dataset("old")
    sender.advance(20)
    new = sender.create_dataset("new")
    sender.add_fault("*", "stale_read", times=0, seconds=20)
    assert sender.ml.get_training_dataset(trainingDatasetArn=old)["name"] == "old"
    expect_error("ResourceNotFoundException", sender.ml.get_training_dataset, trainingDatasetArn=new)
    assert sender.names == ["old", "new"]
    sender.emulator.clear_faults(sender.account)
    assert sender.ml.get_training_dataset(trainingDatasetArn=new)["name"] == "new"


def test_stale_read_still_finds_membership(sender: Sender, custom: Custom) -> None:
    runner = custom.runner
    runner.add_fault("ListMLInputChannels", "stale_listing", seconds=3600)
    channel = runner.ml.create_ml_input_channel(**custom.build_channel_request())["mlInputChannelArn"]
    assert runner.ml.list_ml_input_channels(**custom.in_membership)["mlInputChannelsList"] == []
    runner.add_fault("GetCollaborationMLInputChannel", "stale_read", seconds=3600)
    expect_error(
        "ResourceNotFoundException",
        runner.ml.get_collaboration_ml_input_channel,
        **custom.in_collaboration,
        mlInputChannelArn=channel,
    )


def test_stale_listing_omits_new_membership(sender: Sender) -> None:
    sender.add_fault("ListMemberships", "stale_listing", seconds=3600)
    collaborate(sender)
    counts = [len(sender.cleanrooms.list_memberships()["membershipSummaries"]) for _ in range(2)]
    assert counts == [0, 1]


def test_expired_credentials_return_error_of_aws(sender: Sender) -> None:
    sender.add_fault("GetTrainingDataset", "expired_credentials")
    error = expect_error(
        "ExpiredTokenException", sender.ml.get_training_dataset, trainingDatasetArn=sender.create_dataset()
    )
    assert error["Error"]["Message"] == "The security token included in the request is expired"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_slow_response_is_delayed(sender: Sender) -> None:
    sender.add_fault("ListTrainingDatasets", "slow", seconds=3600)
    start = read_clock(sender)
    assert sender.names == []
    assert read_clock(sender) == start + 3600


def test_slow_response_exceeds_read_timeout(sender: Sender) -> None:
    sender.emulator._control("clock", {"freeze": False})
    sender.add_fault("CreateTrainingDataset", "slow", seconds=2)
    client = sender.client("cleanroomsml", read_timeout=0.5)
    with pytest.raises(ReadTimeoutError):
        client.create_training_dataset(name="d", roleArn=sender.role, trainingData=sender.build_training_data())
    assert sender.names == ["d"]


def test_slow_error_is_delayed_and_consumes_no_other_fault(sender: Sender) -> None:
    sender.add_fault("CreateTrainingDataset", "fail_job")
    sender.add_fault("CreateTrainingDataset", "slow", seconds=5)
    sender.add_fault("CreateTrainingDataset", "throttle")
    start = read_clock(sender)
    expect_error("ThrottlingException", sender.create_dataset)
    assert read_clock(sender) == start + 5
    assert sender.emulator.list_faults(sender.account) == ["fail_job"]


@pytest.mark.parametrize("body", ["<html>", "", "{}", '{"trainingDatasets": null}', '{"trainingDa', "ü"])
def test_garbled_body_replaces_response(sender: Sender, body: str) -> None:
    old = sender.create_dataset("old")
    sender.add_fault("*", "garbled", times=2, body=body)
    client = make_client(
        "cleanroomsml",
        endpoint_url=sender.emulator.url,
        region_name=REGION,
        aws_access_key_id=sender.account,
        aws_secret_access_key="secret",
    )
    responses: list[tuple[int, bytes, Any]] = []
    client.meta.events.register(
        "before-parse",
        lambda response_dict, **_: responses.append(
            (
                response_dict["status_code"],
                response_dict["body"],
                response_dict["headers"].get("x-amzn-requestid"),
            )
        ),
    )
    client.delete_training_dataset(trainingDatasetArn=old)
    # boto3 parses it as an empty response.
    assert "trainingDatasets" not in client.list_training_datasets()
    assert responses == [(200, body.encode(), None)] * 2
    assert sender.names == ["old"]
    assert sender.emulator.list_statuses(sender.account)[-3:] == [200, 200, 200]


def test_garbled_create_is_not_executed(sender: Sender) -> None:
    sender.add_fault("CreateTrainingDataset", "fail_job")
    sender.add_fault("CreateTrainingDataset", "garbled")
    with pytest.raises(KeyError):
        sender.create_dataset("d")
    assert sender.names == []
    assert sender.emulator.list_faults(sender.account) == ["fail_job"]


def test_job_can_fail_after_lost_response(sender: Sender) -> None:
    sender.build()
    dataset = sender.create_dataset()
    sender.add_fault("CreateAudienceModel", "lose_response")
    sender.add_fault("CreateAudienceModel", "fail_job", code="E1")
    expect_closed_connection(sender.ml.create_audience_model, name="m", trainingDatasetArn=dataset)
    sender.advance(201)
    (model,) = sender.ml.list_audience_models()["audienceModels"]
    assert sender.wait(model["audienceModelArn"])["statusDetails"]["statusCode"] == "E1"


def test_oldest_fault_applies_first(sender: Sender) -> None:
    for kind in ("throttle", "lose_response", "server_error", "access_denied"):
        sender.add_fault("ListTrainingDatasets", kind)
    statuses = [sender.status(sender.ml.list_training_datasets) for _ in range(5)]
    assert statuses == [429, 0, 500, 403, 200]


def test_fault_of_one_account_affects_no_other(sender: Sender, other: Sender) -> None:
    sender.add_fault("ListTrainingDatasets", "throttle")
    assert other.names == []
    assert sender.emulator.list_faults(sender.account) == ["throttle"]
    expect_error("ThrottlingException", sender.ml.list_training_datasets)
    assert sender.names == []
    assert sender.emulator.list_faults(sender.account) == []


@pytest.mark.parametrize("times", [0, "forever"])
def test_permanent_fault_lasts_until_cleared(sender: Sender, other: Sender, times: Any) -> None:
    for world in (sender, other):
        world.add_fault("ListTrainingDatasets", "server_error", times=times)
    assert [sender.status(sender.ml.list_training_datasets) for _ in range(20)] == [500] * 20
    sender.emulator.clear_faults(sender.account)
    assert sender.names == []
    assert other.status(other.ml.list_training_datasets) == 500


def test_all_faults_are_cleared(sender: Sender, other: Sender) -> None:
    for account in (sender.account, other.account, ""):
        sender.emulator.add_fault("*", "throttle", account, times=0)
    sender.emulator._control("faults", method="DELETE")
    assert (sender.names, other.names) == ([], [])


def test_fault_can_affect_all_operations(sender: Sender) -> None:
    sender.add_fault("*", "throttle", times=2)
    assert sender.status(sender.ml.list_audience_models) == 429
    assert sender.status(sender.cleanrooms.list_memberships) == 429
    assert sender.status(sender.ml.list_audience_models) == 200


def test_fault_expires_by_emulator_clock(sender: Sender) -> None:
    sender.add_fault("ListTrainingDatasets", "throttle", times=0, lasts=60)
    sender.advance(59)
    assert sender.status(sender.ml.list_training_datasets) == 429
    sender.advance(1)
    assert sender.status(sender.ml.list_training_datasets) == 200
    assert sender.emulator.list_faults(sender.account) == []


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ({"op": "*", "kind": "quota"}, "faults: unknown 'op'; allowed: account, body, code, kind"),
        ({"kind": "quota"}, "faults: missing 'operation'"),
        ({"operation": "*", "kind": "typo"}, "kind: 'typo' is unknown; allowed: reset"),
        ({"operation": "Typo", "kind": "quota"}, "operation: 'Typo' is not an API operation; use '*' for all"),
        ({"operation": ["*"], "kind": "quota"}, "operation: ['*'] is not an API operation; use '*' for all"),
        ({"operation": "*", "kind": ["quota"]}, "kind: ['quota'] is unknown; allowed: reset"),
        ({"operation": "*", "kind": "slow", "seconds": 10**400}, "must be a number of seconds, 0 or more"),
    ],
)
def test_invalid_fault_is_explained(sender: Sender, command: dict[str, Any], message: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        sender.emulator._control("faults", command)
    assert caught.value.code == 400
    assert message in json.load(caught.value)["message"]


@pytest.mark.parametrize(
    "command",
    [
        {"operation": "ListTrainingDatasets", "kind": "typo"},
        {"operation": "ListTrainingDataset", "kind": "throttle"},
        {"operation": "list_training_datasets", "kind": "throttle"},
        {"operation": "", "kind": "throttle"},
        {"kind": "throttle"},
        {"operation": "*"},
        {"operation": "GetTrainingDataset", "kind": "stale_listing", "seconds": 1},
        {"operation": "ListTrainingDatasets", "kind": "stale_read", "seconds": 1},
        {"operation": "*", "kind": "late_commit"},
        {"operation": "*", "kind": "slow", "seconds": -1},
        {"operation": "*", "kind": "slow", "seconds": "long"},
        {"operation": "*", "kind": "slow", "seconds": float("inf")},
        {"operation": "*", "kind": "throttle", "times": -1},
        {"operation": "*", "kind": "throttle", "times": 1.5},
        {"operation": "*", "kind": "throttle", "times": True},
        {"operation": "*", "kind": "throttle", "times": "ever"},
        {"operation": "*", "kind": "throttle", "lasts": "long"},
        {"operation": "*", "kind": "throttle", "account": 123456789012},
        {"operation": "*", "kind": "fail_job", "message": None},
        {"operation": "*", "kind": "garbled", "body": {}},
        {"operation": "*", "kind": "throttle", "ordered": 1},
        {"operation": "*", "kind": "throttle", "time": 2},
    ],
)
def test_invalid_command_is_rejected(sender: Sender, command: dict[str, Any]) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        sender.emulator._control("faults", command)
    assert caught.value.code == 400
    assert sender.names == []


def test_reset_clears_all_but_clock(sender: Sender) -> None:
    sender.create_dataset("d")
    sender.add_fault("CreateTrainingDataset", "late_commit", seconds=1)
    expect_closed_connection(sender.create_dataset, "e")
    sender.add_fault("*", "throttle", times=0)
    start = read_clock(sender)
    sender.emulator._control("reset", {})
    assert read_clock(sender) == start
    sender.advance(2)
    assert (sender.names, sender.calls) == ([], ["ListTrainingDatasets"])


def test_page_names_every_kind() -> None:
    text = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"`{kind}`" not in text] == []
