"""Rules that only prose states: warnings, and what is left out of a request."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import xform_name

from airflow_cleanroomsml._requests.request import Request, load
from airflow_cleanroomsml._requests.validation import RequestCheck
from tests.helpers.generated_requests import build_requests_at_limits

MEMBER = "arn:aws:cleanrooms-ml:us-east-1:123456789012:membership/12345678-1234-1234-1234-123456789012"
TEMPLATE = "arn:aws:cleanrooms:us-east-1:123456789012:membership/m/analysistemplate/t"
#: Operations with a version of a trained model, and what they do where none is named.
VERSIONS = {
    "CancelTrainedModel": "",
    "DeleteTrainedModelOutput": "",
    "GetCollaborationTrainedModel": "latest version",
    "GetTrainedModel": "latest version",
    "ListCollaborationTrainedModelExportJobs": "all versions",
    "ListCollaborationTrainedModelInferenceJobs": "all versions",
    "ListTrainedModelInferenceJobs": "all versions",
    "StartTrainedModelExportJob": "not documented",
    "StartTrainedModelInferenceJob": "not documented",
}


def request(operation: str, **more: Any) -> Request:
    """The smallest request of an operation, and more."""
    smallest = next(build_requests_at_limits(load(), operation)).value
    made = Request(load(), xform_name(operation), {**smallest, **more})
    made.raise_for_violations()
    return made


def _version(operation: str) -> str | None:
    shape = load().operation_model(operation).input_shape
    names = shape.members if shape is not None else ()
    return next((name for name in names if name.lower().endswith("versionidentifier")), None)


def test_every_operation_with_a_version_is_known() -> None:
    known = {name for name in load().operation_names if _version(name)}
    assert known <= set(VERSIONS)


@pytest.mark.parametrize("operation", [name for name in VERSIONS if _version(name)])
def test_the_base_version_is_left_out(operation: str) -> None:
    argument = xform_name(str(_version(operation)))
    made = request(operation, **{argument: "NULL"})
    assert argument not in made.arguments
    assert made.left_out == []
    if VERSIONS[operation]:
        (warning,) = made.warnings
        assert warning.startswith(f'{argument}: "NULL" ')
        assert VERSIONS[operation] in warning
    else:
        assert made.warnings == []


def test_the_base_version_of_a_channel_is_left_out() -> None:
    if "IncrementalTrainingDataChannel" not in load().shape_names:
        pytest.skip("the installed botocore knows no incremental training")
    channel = {"trainedModelArn": f"{MEMBER}/trained-model/m", "versionIdentifier": "NULL", "channelName": "base"}
    made = request("CreateTrainedModel", incremental_training_data_channels=[channel])
    assert "versionIdentifier" not in made.members["incrementalTrainingDataChannels"][0]
    (warning,) = made.warnings
    assert warning.startswith('incremental_training_data_channels[0].versionIdentifier: "NULL" ')
    assert "latest version" in warning


def test_the_service_itself_refuses_the_base_version() -> None:
    check = RequestCheck(convert=False)
    shape = load().operation_model("GetTrainedModel").input_shape
    check.check_structure(shape, {"versionIdentifier": "NULL"}, "")
    assert [found.path for found in check.violations if found.path == "versionIdentifier"] == ["versionIdentifier"]


def _channels(count: int) -> list[dict[str, str]]:
    return [{"mlInputChannelArn": f"{MEMBER}/ml-input-channel/c", "channelName": f"c{n}"} for n in range(count)]


def test_more_than_twenty_channels_in_all_are_a_warning() -> None:
    if "IncrementalTrainingDataChannel" not in load().shape_names:
        pytest.skip("the installed botocore knows no incremental training")
    channel = {"trainedModelArn": f"{MEMBER}/trained-model/m", "channelName": "base"}
    assert request("CreateTrainedModel", data_channels=_channels(20)).warnings == []
    more = {"incremental_training_data_channels": [channel]}
    assert request("CreateTrainedModel", data_channels=_channels(19), **more).warnings == []
    (warning,) = request("CreateTrainedModel", data_channels=_channels(20), **more).warnings
    assert warning.startswith("data_channels: 21 ")


@pytest.mark.parametrize(
    ("query", "doubtful"),
    [
        ({"queryString": "SELECT 1"}, False),
        ({"analysisTemplateArn": TEMPLATE}, False),
        ({"queryString": "SELECT 1", "analysisTemplateArn": TEMPLATE}, True),
        ({"parameters": {"a": "b"}}, True),
    ],
)
def test_a_query_is_a_text_or_a_template(query: dict[str, Any], doubtful: bool) -> None:
    role = "arn:aws:iam::123456789012:role/r"
    source = {"protectedQueryInputParameters": {"sqlParameters": query}}
    channel = request("CreateMLInputChannel", input_channel={"dataSource": source, "roleArn": role})
    job = request("StartAudienceGenerationJob", seed_audience={"sqlParameters": query, "roleArn": role})
    for made, path in (
        (channel, "input_channel.dataSource.protectedQueryInputParameters.sqlParameters"),
        (job, "seed_audience.sqlParameters"),
    ):
        expected = [f"{path}: expected either queryString or analysisTemplateArn"] if doubtful else []
        assert [text.split(";")[0] for text in made.warnings] == expected
