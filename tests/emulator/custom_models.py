"""A collaboration for custom models: the provider has an algorithm; the runner has channels, models and jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.emulator.clocked_world import ClockedWorld
from tests.helpers.collaboration import Collaboration, collaborate

SQL = "SELECT user_id, clicks FROM events WHERE clicks > 3"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/image:1"
COMPUTE = {"instanceType": "ml.m5.2xlarge", "volumeSizeInGB": 30}


@dataclass
class Custom:
    """
    A collaboration in which the runner can train models with the provider's algorithm.

    :param association: ARN of the association of the provider's algorithm.
    """

    collaboration: Collaboration
    provider: ClockedWorld
    runner: ClockedWorld
    association: str

    @property
    def in_membership(self) -> dict[str, str]:
        """Argument that names the runner's membership."""
        return {"membershipIdentifier": self.collaboration.find_membership(self.runner)}

    @property
    def in_collaboration(self) -> dict[str, str]:
        """Argument that names the collaboration."""
        return {"collaborationIdentifier": self.collaboration.id}

    def build_channel_request(self, name: str = "channel", **more: Any) -> dict[str, Any]:
        source = {"sqlParameters": {"queryString": SQL}, "resultFormat": "CSV"}
        return {
            **self.in_membership,
            "name": name,
            "configuredModelAlgorithmAssociations": [self.association],
            "inputChannel": {
                "dataSource": {"protectedQueryInputParameters": source},
                "roleArn": self.runner.role,
            },
            "retentionInDays": 30,
            **more,
        }

    def create_channel(self, name: str = "channel", **more: Any) -> str:
        """Create a channel, and advance the clock until it is ready."""
        response = self.runner.ml.create_ml_input_channel(**self.build_channel_request(name, **more))
        self.runner.advance(201)
        return str(response["mlInputChannelArn"])

    def build_model_request(self, name: str, channel: str, **more: Any) -> dict[str, Any]:
        return {
            **self.in_membership,
            "name": name,
            "configuredModelAlgorithmAssociationArn": self.association,
            "resourceConfig": COMPUTE,
            "dataChannels": [{"mlInputChannelArn": channel, "channelName": "training"}],
            **more,
        }

    def train(self, name: str, channel: str, **more: Any) -> dict[str, Any]:
        """Start training a model, and return its identifiers."""
        response: dict[str, Any] = self.runner.ml.create_trained_model(
            **self.build_model_request(name, channel, **more)
        )
        return {"trainedModelArn": response["trainedModelArn"], "versionIdentifier": response["versionIdentifier"]}

    def continue_training(self, channel: str, model: str, name: str = "model", **more: Any) -> str:
        """Start training a new version of a model, and return its identifier."""
        incremental = [{"trainedModelArn": model, "channelName": "before", **more}]
        version = self.train(name, channel, incrementalTrainingDataChannels=incremental)
        assert version["trainedModelArn"] == model
        return str(version["versionIdentifier"])

    def get(self, model: str, **more: Any) -> dict[str, Any]:
        response: dict[str, Any] = self.runner.ml.get_trained_model(**self.in_membership, trainedModelArn=model, **more)
        return response

    def build_inference_request(self, name: str, model: str, channel: str, **more: Any) -> dict[str, Any]:
        return {
            **self.in_membership,
            "name": name,
            "trainedModelArn": model,
            "resourceConfig": {"instanceType": "ml.m5.2xlarge"},
            "outputConfiguration": {"accept": "text/csv", "members": [{"accountId": self.runner.account}]},
            "dataSource": {"mlInputChannelArn": channel},
            **more,
        }

    def infer(self, name: str, model: str, channel: str, **more: Any) -> str:
        """Start an inference job, and return its ARN."""
        response = self.runner.ml.start_trained_model_inference_job(
            **self.build_inference_request(name, model, channel, **more)
        )
        return str(response["trainedModelInferenceJobArn"])


def create_algorithm(world: ClockedWorld, name: str = "algorithm", **more: Any) -> str:
    containers = {"trainingContainerConfig": {"imageUri": IMAGE}, "inferenceContainerConfig": {"imageUri": IMAGE}}
    response = world.ml.create_configured_model_algorithm(name=name, roleArn=world.role, **{**containers, **more})
    return str(response["configuredModelAlgorithmArn"])


def associate(world: ClockedWorld, membership: str, algorithm: str, name: str = "association", **more: Any) -> str:
    response = world.ml.create_configured_model_algorithm_association(
        membershipIdentifier=membership, configuredModelAlgorithmArn=algorithm, name=name, **more
    )
    return str(response["configuredModelAlgorithmAssociationArn"])


def set_up(provider: ClockedWorld, runner: ClockedWorld) -> Custom:
    """Create a collaboration with an associated algorithm."""
    collaboration = collaborate(provider, runner)
    return Custom(
        collaboration,
        provider,
        runner,
        associate(provider, collaboration.find_membership(provider), create_algorithm(provider)),
    )
