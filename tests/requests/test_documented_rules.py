"""Rules that only AWS's prose states: they lead to warnings, or omit a value from the request."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import xform_name

from airflow_cleanroomsml._requests.request import Request, load
from airflow_cleanroomsml._requests.validation import RequestCheck
from tests.helpers.generated_requests import build_requests_at_limits

MEMBER = "arn:aws:cleanrooms-ml:us-east-1:123456789012:membership/12345678-1234-1234-1234-123456789012"
TEMPLATE = "arn:aws:cleanrooms:us-east-1:123456789012:membership/m/analysistemplate/t"
#: Operations with a version of a trained model, and the default that the warning names.
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


def build_request(operation: str, **more: Any) -> Request:
    """Build the smallest valid request of an operation, with more arguments."""
    smallest = next(build_requests_at_limits(load(), operation)).value
    request = Request(load(), xform_name(operation), {**smallest, **more})
    request.raise_for_violations()
    return request


def _find_version_member(operation: str) -> str | None:
    shape = load().operation_model(operation).input_shape
    names = shape.members if shape is not None else ()
    return next((name for name in names if name.lower().endswith("versionidentifier")), None)


def test_every_operation_with_a_version_is_listed() -> None:
    operations = {name for name in load().operation_names if _find_version_member(name)}
    assert operations <= set(VERSIONS)


@pytest.mark.parametrize("operation", [name for name in VERSIONS if _find_version_member(name)])
def test_base_version_is_omitted(operation: str) -> None:
    argument = xform_name(str(_find_version_member(operation)))
    request = build_request(operation, **{argument: "NULL"})
    assert argument not in request.arguments
    assert request.left_out == []
    if VERSIONS[operation]:
        (warning,) = request.warnings
        assert warning.startswith(f'{argument}: "NULL" ')
        assert VERSIONS[operation] in warning
    else:
        assert request.warnings == []


def test_base_version_of_channel_is_omitted() -> None:
    if "IncrementalTrainingDataChannel" not in load().shape_names:
        pytest.skip("the installed botocore has no incremental training")
    channel = {"trainedModelArn": f"{MEMBER}/trained-model/m", "versionIdentifier": "NULL", "channelName": "base"}
    request = build_request("CreateTrainedModel", incremental_training_data_channels=[channel])
    assert "versionIdentifier" not in request.members["incrementalTrainingDataChannels"][0]
    (warning,) = request.warnings
    assert warning.startswith('incremental_training_data_channels[0].versionIdentifier: "NULL" ')
    assert "latest version" in warning


def test_service_rejects_the_base_version() -> None:
    check = RequestCheck(convert=False)
    shape = load().operation_model("GetTrainedModel").input_shape
    check.check_structure(shape, {"versionIdentifier": "NULL"}, "")
    assert [violation.path for violation in check.violations if violation.path == "versionIdentifier"] == [
        "versionIdentifier"
    ]


def _build_channels(count: int) -> list[dict[str, str]]:
    return [{"mlInputChannelArn": f"{MEMBER}/ml-input-channel/c", "channelName": f"c{n}"} for n in range(count)]


def test_more_than_twenty_channels_cause_a_warning() -> None:
    if "IncrementalTrainingDataChannel" not in load().shape_names:
        pytest.skip("the installed botocore has no incremental training")
    channel = {"trainedModelArn": f"{MEMBER}/trained-model/m", "channelName": "base"}
    assert build_request("CreateTrainedModel", data_channels=_build_channels(20)).warnings == []
    more = {"incremental_training_data_channels": [channel]}
    assert build_request("CreateTrainedModel", data_channels=_build_channels(19), **more).warnings == []
    (warning,) = build_request("CreateTrainedModel", data_channels=_build_channels(20), **more).warnings
    assert warning.startswith("data_channels: 21 ")


@pytest.mark.parametrize(
    ("query", "has_warning"),
    [
        ({"queryString": "SELECT 1"}, False),
        ({"analysisTemplateArn": TEMPLATE}, False),
        ({"queryString": "SELECT 1", "analysisTemplateArn": TEMPLATE}, True),
        ({"parameters": {"a": "b"}}, True),
    ],
)
def test_query_needs_text_or_template(query: dict[str, Any], has_warning: bool) -> None:
    role = "arn:aws:iam::123456789012:role/r"
    source = {"protectedQueryInputParameters": {"sqlParameters": query}}
    channel = build_request("CreateMLInputChannel", input_channel={"dataSource": source, "roleArn": role})
    job = build_request("StartAudienceGenerationJob", seed_audience={"sqlParameters": query, "roleArn": role})
    for request, path in (
        (channel, "input_channel.dataSource.protectedQueryInputParameters.sqlParameters"),
        (job, "seed_audience.sqlParameters"),
    ):
        expected = [f"{path}: expected either queryString or analysisTemplateArn"] if has_warning else []
        assert [text.split(";")[0] for text in request.warnings] == expected
