"""The operators that are tried, and what they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore import xform_name

from airflow_cleanroomsml._idempotency.claim import build_retry_name
from airflow_cleanroomsml.emulator.store import Record
from airflow_cleanroomsml.operators import (
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLCreateConfiguredAudienceModelOperator,
    CleanRoomsMLCreateMLInputChannelOperator,
    CleanRoomsMLCreateTrainedModelOperator,
    CleanRoomsMLCreateTrainingDatasetOperator,
    CleanRoomsMLStartAudienceExportJobOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
    CleanRoomsMLStartTrainedModelExportJobOperator,
    CleanRoomsMLStartTrainedModelInferenceJobOperator,
)
from tests.properties.observed_emulator import ACCOUNT, Laboratory


@dataclass(frozen=True)
class Kind:
    """
    An operator, and what it makes.

    :param operator: Its class.
    :param kind: What the emulator calls what it makes.
    :param asked: Its arguments beside the name.
    :param other: What makes it another request; empty where nothing does.
    :param tagged: Whether what it makes can have a tag.
    :param waits: Whether what it makes takes time.
    :param shared: Whether what it makes is one of many under an ARN, and each has to wait for the one before.
    :param name_limit: Characters that a name may have.
    """

    operator: Any
    kind: str
    asked: Callable[[Laboratory], dict[str, Any]]
    other: Mapping[str, Any]
    tagged: bool = True
    waits: bool = True
    shared: bool = False
    name_limit: int = 63

    @property
    def operation(self) -> str:
        """The API operation."""
        words = self.operator.__name__.removeprefix("CleanRoomsML").removesuffix("Operator")
        return str(words)

    @property
    def alone(self) -> bool:
        """Whether what several tasks make of one parent cannot be told apart: without tags of its own, see docs/design/idempotency.md."""
        return self.shared or not self.tagged

    @property
    def variants(self) -> int:
        """
        How many requests a task makes: as it is, with another argument, with a similar name, with quite another name.

        A name alone tells what has no tags; of versions the tag, which is their ARN's, tells of the last request only.
        """
        return 1 if not self.other or self.shared else 4 if self.tagged else 2

    def name(self, name: str, variant: int) -> str:
        """
        The name that a request asks for.

        :param name: What tasks usually ask for.
        :param variant: From 0 to :attr:`variants`, exclusively.
        """
        return {2: build_retry_name(name, 2, self.name_limit), 3: "elsewhere"}.get(variant, name)

    def arguments(self, laboratory: Laboratory, name: str, variant: int) -> dict[str, Any]:
        """The arguments of a request; parameters as for :meth:`name`."""
        return {"name": self.name(name, variant), **self.asked(laboratory), **(self.other if variant == 1 else {})}

    def asked_for(self, laboratory: Laboratory, variant: int) -> dict[str, Any]:
        """What tells one request from the other, in the API's own spelling."""
        request = laboratory.hook.check(self.operator.operation, self.arguments(laboratory, "name", variant))
        other = laboratory.hook.check(self.operator.operation, self.arguments(laboratory, "name", 1))
        return {
            member: request.members.get(member) or None for member in other.members if xform_name(member) in self.other
        }

    def reads(self, laboratory: Laboratory) -> tuple[str, str]:
        """The API operations that read one, or list all."""
        client: Any = laboratory.hook.conn
        names, resource = client.meta.method_to_api_mapping, self.operator.resource
        return str(names[resource.get or resource.list]), str(names[resource.list])

    def is_of(self, record: Record, result: Any, pushed: Mapping[str, Any]) -> bool:
        """Whether a record is what a task has returned, and pushed."""
        if not self.tagged:
            return bool(record.fields["name"] == result["name"])
        version = pushed.get("version_identifier")
        return record.arn == result and version in (None, record.fields.get("versionIdentifier"))

    def identify(self, record: Record) -> dict[str, Any]:
        """What identifies a record that has no ARN."""
        return {"name": record.fields["name"], "audience_size": record.fields.get("audienceSize")}

    def is_waited_for(self, record: Record, identifiers: Mapping[str, Any]) -> bool:
        """Whether a record is what a task waits for."""
        if not self.tagged:
            return all(identifiers.get(name) == value for name, value in self.identify(record).items())
        version = identifiers.get("version_identifier")
        return record.arn in identifiers.values() and version in (None, record.fields.get("versionIdentifier"))


def _training(laboratory: Laboratory) -> dict[str, Any]:
    given = laboratory.studio.build_training()
    return {name: value for name, value in given.items() if name not in ("name", "task_id", "waiter_delay")}


def _inference(laboratory: Laboratory) -> dict[str, Any]:
    given = laboratory.studio.build_inference()
    return {name: value for name, value in given.items() if name not in ("name", "task_id", "waiter_delay")}


def _further(laboratory: Laboratory) -> dict[str, Any]:
    channel = {"trainedModelArn": laboratory.studio.model, "channelName": "before"}
    return {**_training(laboratory), "incremental_training_data_channels": [channel]}


KINDS = {
    "training dataset": Kind(
        CleanRoomsMLCreateTrainingDatasetOperator,
        "training-dataset",
        lambda lab: {"role_arn": lab.world.role, "training_data": lab.world.build_training_data()},
        {"role_arn": f"arn:aws:iam::{ACCOUNT}:role/other-cleanrooms-ml"},
        waits=False,
    ),
    "audience model": Kind(
        CleanRoomsMLCreateAudienceModelOperator,
        "audience-model",
        lambda lab: {"training_dataset_arn": lab.dataset},
        {"training_data_start_time": "2025-01-01"},
    ),
    "configured audience model": Kind(
        CleanRoomsMLCreateConfiguredAudienceModelOperator,
        "configured-audience-model",
        lambda lab: {
            "audience_model_arn": lab.model,
            "output_config": lab.world.output,
            "shared_audience_metrics": ["ALL"],
        },
        {"shared_audience_metrics": ["NONE"]},
        waits=False,
    ),
    "audience generation job": Kind(
        CleanRoomsMLStartAudienceGenerationJobOperator,
        "audience-generation-job",
        lambda lab: {"configured_audience_model_arn": lab.configured, "seed_audience": lab.seed},
        {"include_seed_in_output": True},
    ),
    "audience generation job of a collaboration": Kind(
        CleanRoomsMLStartAudienceGenerationJobOperator,
        "audience-generation-job",
        lambda lab: {
            "configured_audience_model_arn": lab.configured,
            "seed_audience": lab.seed,
            "collaboration_id": lab.studio.collaboration.id,
        },
        {"include_seed_in_output": True},
        name_limit=50,
    ),
    "audience export job": Kind(
        CleanRoomsMLStartAudienceExportJobOperator,
        "audience-export-job",
        lambda lab: {
            "audience_generation_job_arn": lab.generated,
            "audience_size": {"type": "PERCENTAGE", "value": 5},
        },
        {"audience_size": {"type": "PERCENTAGE", "value": 10}},
        tagged=False,
    ),
    "ML input channel": Kind(
        CleanRoomsMLCreateMLInputChannelOperator,
        "ml-input-channel",
        lambda lab: {
            **lab.studio.mine,
            "configured_model_algorithm_associations": [lab.studio.association],
            "input_channel": lab.studio.build_input_channel(),
            "retention_in_days": 7,
        },
        {"retention_in_days": 8},
    ),
    "trained model": Kind(
        CleanRoomsMLCreateTrainedModelOperator, "trained-model", _training, {"hyperparameters": {"depth": "2"}}
    ),
    "version of a trained model": Kind(
        CleanRoomsMLCreateTrainedModelOperator,
        "trained-model",
        _further,
        {"hyperparameters": {"depth": "2"}},
        shared=True,
    ),
    "trained model export job": Kind(
        CleanRoomsMLStartTrainedModelExportJobOperator,
        "trained-model-export-job",
        lambda lab: {
            **lab.studio.mine,
            "trained_model_arn": lab.studio.model,
            "output_configuration": lab.studio.receivers,
        },
        {},
        tagged=False,
    ),
    "trained model inference job": Kind(
        CleanRoomsMLStartTrainedModelInferenceJobOperator,
        "trained-model-inference-job",
        _inference,
        {"kms_key_arn": "arn:aws:kms:us-east-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"},
    ),
}
