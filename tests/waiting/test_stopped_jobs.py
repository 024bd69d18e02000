"""Jobs that end in a status that the emulator does not produce, served by a simple HTTP server."""

from __future__ import annotations

import json
import socket

import pytest

from airflow_cleanroomsml.exceptions import JobFailedError, ResourceNotFoundError
from airflow_cleanroomsml.operators import CleanRoomsMLCreateTrainedModelOperator
from airflow_cleanroomsml.sensors import CleanRoomsMLTrainedModelSensor
from tests.helpers.socket_servers import Act, build_http_answer, read, run_peer
from tests.support import run

ID = "00000000-0000-4000-8000-000000000000"
ARN = f"arn:aws:cleanrooms-ml:us-east-1:123456789012:membership/{ID}/trained-model/{ID}"
ASSOCIATION = (
    f"arn:aws:cleanrooms-ml:us-east-1:123456789012:membership/{ID}/configured-model-algorithm-association/{ID}"
)
CHANNEL = f"arn:aws:cleanrooms-ml:us-east-1:123456789012:membership/{ID}/ml-input-channel/{ID}"
NOT_FOUND = "not found"
ENDED_BY_USER = "It was cancelled or deleted, or its retention period ended. To start another job, {clear}."
NOT_ENDED = "The attempt to cancel or delete it failed. To start another job, {clear}."
MISSING = "First check the account and the region of the connection. Then {clear}: it starts another job."
both_ways = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferred"])
each_final_status = pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("CANCEL_FAILED", NOT_ENDED),
        ("DELETE_FAILED", NOT_ENDED),
        ("CANCEL_IN_PROGRESS", ENDED_BY_USER),
        ("INACTIVE", ENDED_BY_USER),
        (NOT_FOUND, MISSING),
    ],
)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, fast_clock: None) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "123456789012")


def build_model_response(status: str) -> bytes:
    """Build the response to a create or a read of a trained model."""
    if status == NOT_FOUND:
        body = json.dumps({"message": "Trained model not found."}).encode()
        more = {"x_amzn_ErrorType": "ResourceNotFoundException", "x_amzn_RequestId": "r-1"}
        return build_http_answer(body, "404 Not Found", **more)
    members = {
        "membershipIdentifier": ID,
        "collaborationIdentifier": ID,
        "trainedModelArn": ARN,
        "name": "model",
        "status": status,
        "configuredModelAlgorithmAssociationArn": ASSOCIATION,
        "createTime": "2026-01-01T00:00:00Z",
        "updateTime": "2026-01-01T00:00:00Z",
        "dataChannels": [],
    }
    return build_http_answer(json.dumps(members).encode())


def build_responder(*statuses: str) -> Act:
    """Build an action that responds with a trained model in each of these statuses; the last one repeats."""
    remaining = list(statuses)

    def act(connection: socket.socket, received: list[bytes]) -> None:
        read(connection, received)
        connection.sendall(build_model_response(remaining.pop(0) if len(remaining) > 1 else remaining[0]))

    return act


@each_final_status
@both_ways
@pytest.mark.parametrize(
    ("durable", "clear"),
    [(True, "clear the task"), (False, "change the name and clear the task")],
    ids=["tag", "no tag"],
)
def test_error_explains_end_of_job(
    monkeypatch: pytest.MonkeyPatch, status: str, advice: str, deferrable: bool, durable: bool, clear: str
) -> None:
    create = CleanRoomsMLCreateTrainedModelOperator(
        task_id="train",
        membership_identifier=ID,
        name="model",
        configured_model_algorithm_association_arn=ASSOCIATION,
        resource_config={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        data_channels=[{"mlInputChannelArn": CHANNEL, "channelName": "training"}],
        durable=durable,
        deferrable=deferrable,
        waiter_delay=1,
    )
    # The statuses in the responses to the create, to the first poll, and to all further polls.
    with run_peer(build_responder("CREATE_PENDING", "CREATE_IN_PROGRESS", status)) as peer:
        monkeypatch.setenv("AWS_ENDPOINT_URL", peer.build_url("http"))
        with pytest.raises(JobFailedError) as caught:
            run(create)
    error = caught.value
    assert error.status == status
    lines = [line.strip() for line in str(error).splitlines()]
    assert lines[0] == f"The trained model {f'is {status}' if status != NOT_FOUND else 'was not found'}."
    assert advice.format(clear=clear) in lines
    assert any(ARN in line for line in lines)
    if status == NOT_FOUND:
        assert lines[-1] == "Request ID: r-1"
        # The general advice to check the ARN would be a second one.
        assert not any(line.startswith("Check the ARN") for line in lines)


@each_final_status
@both_ways
def test_sensor_error_says_job_will_not_recover(
    monkeypatch: pytest.MonkeyPatch, status: str, advice: str, deferrable: bool
) -> None:
    sensor = CleanRoomsMLTrainedModelSensor(
        task_id="t", membership_identifier=ID, trained_model_arn=ARN, deferrable=deferrable, poke_interval=1
    )
    with run_peer(build_responder("CREATE_IN_PROGRESS", status)) as peer:
        monkeypatch.setenv("AWS_ENDPOINT_URL", peer.build_url("http"))
        with pytest.raises(ResourceNotFoundError if status == NOT_FOUND else JobFailedError) as caught:
            run(sensor)
    lines = [line.strip() for line in str(caught.value).splitlines()]
    if status == NOT_FOUND:
        assert lines[-1] == "Request ID: r-1"
        assert lines[-2].startswith("Check the ARN")
    else:
        assert lines[0] == f"The trained model is {status}."
        assert lines[-1] == "It will not recover; start another one, and wait for that one."
