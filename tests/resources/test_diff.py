"""Differences between an existing resource and a request."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_cleanroomsml._requests.request import Request, load
from airflow_cleanroomsml._resources.diff import find_differences
from airflow_cleanroomsml._resources.table import (
    AUDIENCE_GENERATION_JOB,
    AUDIENCE_MODEL,
    CONFIGURED_AUDIENCE_MODEL_ASSOCIATION,
    TRAINED_MODEL,
    Resource,
)
from tests.helpers.custom_models import KNOWS_VERSIONS

ML = "arn:aws:cleanrooms-ml:us-east-1:123456789012"
ROLE = "arn:aws:iam::123456789012:role/cleanrooms-ml"
MEMBERSHIP = "01234567-89ab-cdef-0123-456789abcdef"
OWN = f"{ML}:membership/{MEMBERSHIP}"
BEGIN = datetime(2026, 11, 1, tzinfo=timezone.utc)


def find_texts(resource: Resource, operation: str, arguments: dict[str, Any], existing: dict[str, Any]) -> list[str]:
    return find_differences(Request(load(resource.service), operation, arguments), resource, existing)


MODEL = {"name": "n", "training_dataset_arn": f"{ML}:training-dataset/1", "training_data_start_time": BEGIN}
EXISTING_MODEL = {
    "name": "n",
    "trainingDatasetArn": f"{ML}:training-dataset/1",
    "trainingDataStartTime": BEGIN.astimezone(),
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "ACTIVE", "tags": {"b": "2"}, "description": "other"}, []),
        ({"trainingDataStartTime": None}, ["training_data_start_time"]),
        ({"trainingDataStartTime": BEGIN + timedelta(days=1)}, ["training_data_start_time"]),
        ({"trainingDatasetArn": "x", "name": "m"}, ["name", "training_dataset_arn"]),
    ],
)
def test_everything_but_tags_and_description_is_compared(changes: dict[str, Any], expected: list[str]) -> None:
    texts = find_texts(
        AUDIENCE_MODEL, "create_audience_model", {**MODEL, "tags": {"a": "1"}}, {**EXISTING_MODEL, **changes}
    )
    assert sorted(text.split(":")[0] for text in texts) == expected


def test_different_query_is_reported_but_not_shown() -> None:
    query = {"roleArn": ROLE, "sqlParameters": {"queryString": "SELECT mine"}}
    job = {
        "name": "n",
        "configured_audience_model_arn": f"{ML}:configured-audience-model/1",
        "seed_audience": query,
    }
    theirs = {"roleArn": ROLE, "sqlParameters": {"queryString": "SELECT theirs"}}
    existing = {"name": "n", "configuredAudienceModelArn": f"{ML}:configured-audience-model/1", "seedAudience": theirs}
    texts = find_texts(AUDIENCE_GENERATION_JOB, "start_audience_generation_job", job, existing)
    assert texts == ["seed_audience.sqlParameters: different"]


def test_seeds_not_requested_are_reported() -> None:
    job = {
        "name": "n",
        "configured_audience_model_arn": f"{ML}:configured-audience-model/1",
        "seed_audience": {"roleArn": ROLE, "dataSource": {"s3Uri": "s3://bucket/seed"}},
    }
    existing = {
        "name": "n",
        "configuredAudienceModelArn": f"{ML}:configured-audience-model/1",
        "includeSeedInOutput": True,
    }
    (text,) = find_texts(AUDIENCE_GENERATION_JOB, "start_audience_generation_job", job, existing)
    assert text == "include_seed_in_output: set, but not requested"


def test_different_environment_is_not_shown_and_absent_members_are_ignored() -> None:
    arguments = {
        "membership_identifier": MEMBERSHIP,
        "name": "n",
        "configured_model_algorithm_association_arn": f"{OWN}/configured-model-algorithm-association/1",
        "resource_config": {"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        "data_channels": [{"mlInputChannelArn": f"{OWN}/ml-input-channel/1", "channelName": "training"}],
        "environment": {"PASSWORD": "mine"},
    }
    existing = {
        "membershipIdentifier": MEMBERSHIP,
        "name": "n",
        "configuredModelAlgorithmAssociationArn": arguments["configured_model_algorithm_association_arn"],
        "resourceConfig": {"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 50, "instanceCount": 1},
        "dataChannels": arguments["data_channels"],
        "environment": {"PASSWORD": "theirs"},
    }
    assert find_texts(TRAINED_MODEL, "create_trained_model", arguments, existing) == [
        "environment: different",
        "resource_config.volumeSizeInGB: 50 instead of 30",
    ]


def test_cleanrooms_members_with_other_names_are_compared() -> None:
    arguments = {
        "membership_identifier": MEMBERSHIP,
        "configured_audience_model_arn": f"{ML}:configured-audience-model/1",
        "configured_audience_model_association_name": "n",
        "manage_resource_policies": True,
    }
    existing = {
        "membershipId": MEMBERSHIP,
        "configuredAudienceModelArn": f"{ML}:configured-audience-model/2",
        "name": "n",
        "manageResourcePolicies": True,
    }
    (text,) = find_texts(
        CONFIGURED_AUDIENCE_MODEL_ASSOCIATION, "create_configured_audience_model_association", arguments, existing
    )
    assert text.startswith("configured_audience_model_arn: ")


TRAINED_MODEL_ARGUMENTS: dict[str, Any] = {
    "membership_identifier": MEMBERSHIP,
    "name": "n",
    "configured_model_algorithm_association_arn": f"{OWN}/configured-model-algorithm-association/1",
    "resource_config": {"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
    "data_channels": [{"mlInputChannelArn": f"{OWN}/ml-input-channel/1", "channelName": "training"}],
    "hyperparameters": {"epochs": "1"},
}


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ({"hyperparameters": {"epochs": "1"}}, []),
        ({"hyperparameters": {"epochs": "1", "rate": "9"}}, ["hyperparameters.rate: set, but not requested"]),
        (
            {"hyperparameters": {"epochs": "1"}, "environment": {"PASSWORD": "theirs"}},
            ["environment: set, but not requested"],
        ),
        (
            {
                "hyperparameters": {"epochs": "1"},
                "incrementalTrainingDataChannels": [{"channelName": "before", "modelName": "m"}],
            },
            ["incremental_training_data_channels: set, but not requested"],
        ),
    ],
)
@pytest.mark.skipif(not KNOWS_VERSIONS, reason="the installed botocore does not know versions of trained models")
def test_members_not_requested_are_reported(existing: dict[str, Any], expected: list[str]) -> None:
    same = {
        "membershipIdentifier": MEMBERSHIP,
        "name": "n",
        "configuredModelAlgorithmAssociationArn": TRAINED_MODEL_ARGUMENTS["configured_model_algorithm_association_arn"],
        "resourceConfig": TRAINED_MODEL_ARGUMENTS["resource_config"],
        "dataChannels": TRAINED_MODEL_ARGUMENTS["data_channels"],
    }
    assert find_texts(TRAINED_MODEL, "create_trained_model", TRAINED_MODEL_ARGUMENTS, {**same, **existing}) == expected


def test_other_kind_of_seed_is_reported_and_withheld_seed_ignored() -> None:
    arguments = {
        "name": "n",
        "configured_audience_model_arn": f"{ML}:configured-audience-model/1",
        "seed_audience": {"roleArn": ROLE, "sqlParameters": {"queryString": "SELECT mine"}},
    }
    existing: dict[str, Any] = {"name": "n", "configuredAudienceModelArn": f"{ML}:configured-audience-model/1"}
    seed = {"roleArn": ROLE, "dataSource": {"s3Uri": "s3://bucket/seed"}}
    job = (AUDIENCE_GENERATION_JOB, "start_audience_generation_job", arguments)
    assert find_texts(*job, existing) == []
    assert find_texts(*job, {**existing, "seedAudience": seed}) == ["seed_audience.dataSource: set, but not requested"]
