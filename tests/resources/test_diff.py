"""Where a resource is not what a request asks for."""

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


def found(resource: Resource, operation: str, arguments: dict[str, Any], there: dict[str, Any]) -> list[str]:
    return find_differences(Request(load(resource.service), operation, arguments), resource, there)


MODEL = {"name": "n", "training_dataset_arn": f"{ML}:training-dataset/1", "training_data_start_time": BEGIN}
MODEL_THERE = {
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
def test_tags_and_description_do_not_matter_and_all_else_does(changes: dict[str, Any], expected: list[str]) -> None:
    texts = found(AUDIENCE_MODEL, "create_audience_model", {**MODEL, "tags": {"a": "1"}}, {**MODEL_THERE, **changes})
    assert sorted(text.split(":")[0] for text in texts) == expected


def test_another_query_is_told_without_showing_it() -> None:
    query = {"roleArn": ROLE, "sqlParameters": {"queryString": "SELECT mine"}}
    job = {
        "name": "n",
        "configured_audience_model_arn": f"{ML}:configured-audience-model/1",
        "seed_audience": query,
    }
    theirs = {"roleArn": ROLE, "sqlParameters": {"queryString": "SELECT theirs"}}
    there = {"name": "n", "configuredAudienceModelArn": f"{ML}:configured-audience-model/1", "seedAudience": theirs}
    texts = found(AUDIENCE_GENERATION_JOB, "start_audience_generation_job", job, there)
    assert texts == ["seed_audience.sqlParameters: different"]


def test_seeds_that_nobody_asked_for_are_told() -> None:
    job = {
        "name": "n",
        "configured_audience_model_arn": f"{ML}:configured-audience-model/1",
        "seed_audience": {"roleArn": ROLE, "dataSource": {"s3Uri": "s3://bucket/seed"}},
    }
    there = {
        "name": "n",
        "configuredAudienceModelArn": f"{ML}:configured-audience-model/1",
        "includeSeedInOutput": True,
    }
    (text,) = found(AUDIENCE_GENERATION_JOB, "start_audience_generation_job", job, there)
    assert text == "include_seed_in_output: set, but not requested"


def test_another_environment_is_told_without_showing_it_and_what_a_description_lacks_is_not_compared() -> None:
    asked = {
        "membership_identifier": MEMBERSHIP,
        "name": "n",
        "configured_model_algorithm_association_arn": f"{OWN}/configured-model-algorithm-association/1",
        "resource_config": {"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
        "data_channels": [{"mlInputChannelArn": f"{OWN}/ml-input-channel/1", "channelName": "training"}],
        "environment": {"PASSWORD": "mine"},
    }
    there = {
        "membershipIdentifier": MEMBERSHIP,
        "name": "n",
        "configuredModelAlgorithmAssociationArn": asked["configured_model_algorithm_association_arn"],
        "resourceConfig": {"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 50, "instanceCount": 1},
        "dataChannels": asked["data_channels"],
        "environment": {"PASSWORD": "theirs"},
    }
    assert found(TRAINED_MODEL, "create_trained_model", asked, there) == [
        "environment: different",
        "resource_config.volumeSizeInGB: 50 instead of 30",
    ]


def test_a_resource_of_the_sister_service_is_described_in_other_words() -> None:
    asked = {
        "membership_identifier": MEMBERSHIP,
        "configured_audience_model_arn": f"{ML}:configured-audience-model/1",
        "configured_audience_model_association_name": "n",
        "manage_resource_policies": True,
    }
    there = {
        "membershipId": MEMBERSHIP,
        "configuredAudienceModelArn": f"{ML}:configured-audience-model/2",
        "name": "n",
        "manageResourcePolicies": True,
    }
    (text,) = found(CONFIGURED_AUDIENCE_MODEL_ASSOCIATION, "create_configured_audience_model_association", asked, there)
    assert text.startswith("configured_audience_model_arn: ")


MODEL_ASKED: dict[str, Any] = {
    "membership_identifier": MEMBERSHIP,
    "name": "n",
    "configured_model_algorithm_association_arn": f"{OWN}/configured-model-algorithm-association/1",
    "resource_config": {"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
    "data_channels": [{"mlInputChannelArn": f"{OWN}/ml-input-channel/1", "channelName": "training"}],
    "hyperparameters": {"epochs": "1"},
}


@pytest.mark.parametrize(
    ("there", "expected"),
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
def test_what_is_there_and_was_not_asked_for_is_a_difference(there: dict[str, Any], expected: list[str]) -> None:
    same = {
        "membershipIdentifier": MEMBERSHIP,
        "name": "n",
        "configuredModelAlgorithmAssociationArn": MODEL_ASKED["configured_model_algorithm_association_arn"],
        "resourceConfig": MODEL_ASKED["resource_config"],
        "dataChannels": MODEL_ASKED["data_channels"],
    }
    assert found(TRAINED_MODEL, "create_trained_model", MODEL_ASKED, {**same, **there}) == expected


def test_a_seed_of_another_kind_is_another_one_and_a_withheld_one_is_neither_compared_nor_shown() -> None:
    asked = {
        "name": "n",
        "configured_audience_model_arn": f"{ML}:configured-audience-model/1",
        "seed_audience": {"roleArn": ROLE, "sqlParameters": {"queryString": "SELECT mine"}},
    }
    there: dict[str, Any] = {"name": "n", "configuredAudienceModelArn": f"{ML}:configured-audience-model/1"}
    seed = {"roleArn": ROLE, "dataSource": {"s3Uri": "s3://bucket/seed"}}
    job = (AUDIENCE_GENERATION_JOB, "start_audience_generation_job", asked)
    assert found(*job, there) == []
    assert found(*job, {**there, "seedAudience": seed}) == ["seed_audience.dataSource: set, but not requested"]
