"""The resources with which a member of a collaboration trains a model, created with plain boto3."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any

import pytest

from airflow_cleanroomsml._requests.request import find_argument_shapes
from tests.helpers.collaboration import collaborate
from tests.support import World

#: botocore 1.37 knows neither versions of trained models nor the values of quotas.
KNOWS_VERSIONS = "version_identifier" in find_argument_shapes("cleanroomsml", "cancel_trained_model")
versioned = pytest.mark.skipif(
    not KNOWS_VERSIONS, reason="the installed botocore does not know versions of trained models"
)
#: What a first version pushes to XCom.
VERSION = {"version_identifier": "NULL"} if KNOWS_VERSIONS else {}
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/image:1"
SQL = "SELECT user_id, clicks FROM events"


class Studio:
    """
    A member and its algorithm.

    :param world: Its account.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.collaboration = collaborate(world)
        self.ml = world.ml

    @property
    def membership(self) -> str:
        return self.collaboration.find_membership(self.world)

    @property
    def of(self) -> dict[str, str]:
        """The membership as an argument of boto3."""
        return {"membershipIdentifier": self.membership}

    @property
    def mine(self) -> dict[str, Any]:
        """The membership as an argument of an operator."""
        return {"membership_identifier": self.membership}

    @property
    def soon(self) -> dict[str, Any]:
        """The same for an operator that waits, with short pauses, because jobs of tests are short."""
        return {**self.mine, "waiter_delay": 0.2}

    @property
    def receivers(self) -> dict[str, Any]:
        return {"members": [{"accountId": self.world.account}]}

    @cached_property
    def algorithm(self) -> str:
        container = {"imageUri": IMAGE}
        response = self.ml.create_configured_model_algorithm(
            name="algorithm",
            roleArn=self.world.role,
            trainingContainerConfig=container,
            inferenceContainerConfig=container,
        )
        return str(response["configuredModelAlgorithmArn"])

    @cached_property
    def association(self) -> str:
        response = self.ml.create_configured_model_algorithm_association(
            **self.of, name="association", configuredModelAlgorithmArn=self.algorithm
        )
        return str(response["configuredModelAlgorithmAssociationArn"])

    def build_input_channel(self, query: str = SQL) -> dict[str, Any]:
        source = {"sqlParameters": {"queryString": query}}
        return {"dataSource": {"protectedQueryInputParameters": source}, "roleArn": self.world.role}

    @cached_property
    def channel(self) -> str:
        """An ML input channel that is ACTIVE."""
        association = self.association
        with self.world.emulator.finish_jobs_at_once():
            response = self.ml.create_ml_input_channel(
                **self.of,
                name="channel",
                configuredModelAlgorithmAssociations=[association],
                inputChannel=self.build_input_channel(),
                retentionInDays=1,
            )
        arn = str(response["mlInputChannelArn"])
        self.wait_until("get_ml_input_channel", mlInputChannelArn=arn)
        return arn

    @cached_property
    def model(self) -> str:
        """A trained model that is ACTIVE."""
        association, channel = self.association, self.channel
        with self.world.emulator.finish_jobs_at_once():
            response = self.ml.create_trained_model(
                **self.of,
                name="model",
                configuredModelAlgorithmAssociationArn=association,
                resourceConfig={"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
                dataChannels=[{"mlInputChannelArn": channel, "channelName": "training"}],
            )
        arn = str(response["trainedModelArn"])
        self.wait_until("get_trained_model", trainedModelArn=arn)
        return arn

    def start_failing_channel(self) -> str:
        """Create an ML input channel that is going to fail."""
        self.world.add_fault("CreateMLInputChannel", "fail_job", code="QUERY_FAILED", message="no such table")
        response = self.ml.create_ml_input_channel(
            **self.of,
            name="c",
            configuredModelAlgorithmAssociations=[self.association],
            inputChannel=self.build_input_channel(),
            retentionInDays=1,
        )
        return str(response["mlInputChannelArn"])

    def build_training(self, name: str = "model", *, channel: str = "", **more: Any) -> dict[str, Any]:
        """Arguments of an operator that trains."""
        return {
            **self.soon,
            "task_id": "train",
            "name": name,
            "configured_model_algorithm_association_arn": self.association,
            "resource_config": {"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30},
            "data_channels": [{"mlInputChannelArn": channel or self.channel, "channelName": "training"}],
            **more,
        }

    def build_inference(self, name: str = "answers", **more: Any) -> dict[str, Any]:
        """Arguments of an operator that starts an inference job."""
        return {
            **self.soon,
            "task_id": "infer",
            "name": name,
            "trained_model_arn": self.model,
            "resource_config": {"instanceType": "ml.m5.2xlarge"},
            "output_configuration": self.receivers,
            "data_source": {"mlInputChannelArn": self.channel},
            **more,
        }

    def wait_until(self, get: str, status: str = "ACTIVE", **identifier: str) -> None:
        """Wait with plain boto3."""
        end = time.monotonic() + 300
        while time.monotonic() < end:
            if getattr(self.ml, get)(**self.of, **identifier)["status"] == status:
                return
            time.sleep(0.05)
        raise AssertionError(f"{identifier} is not {status}")
