"""The operators under test, and their arguments."""

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
    An operator, and the kind of resource that it creates.

    :param operator: The operator's class.
    :param record_kind: The emulator's name for the kind of resource.
    :param build_base_arguments: Builds the operator's arguments except the name.
    :param changes: Arguments that turn its request into a different one; empty if there are none.
    :param tagged: Whether the resource can have tags.
    :param waits: Whether the resource takes time to create, so that the operator waits.
    :param shared: Whether the resource is a version: versions share an ARN, and each has to wait for the one before.
    :param name_limit: Maximum length of a name.
    """

    operator: Any
    record_kind: str
    build_base_arguments: Callable[[Laboratory], dict[str, Any]]
    changes: Mapping[str, Any]
    tagged: bool = True
    waits: bool = True
    shared: bool = False
    name_limit: int = 63

    @property
    def operation(self) -> str:
        """The API operation that creates the resource."""
        return str(self.operator.__name__.removeprefix("CleanRoomsML").removesuffix("Operator"))

    @property
    def is_ambiguous(self) -> bool:
        """
        Whether resources that several tasks create under one parent cannot be distinguished, because they have no separate tags.

        See docs/design/idempotency.md.
        """
        return self.shared or not self.tagged

    @property
    def variants(self) -> int:
        """
        The number of requests that a task may send: the original, with another argument, with a similar name, with an unrelated name.

        Resources without tags are recognised only by their names, so their names do not vary. The tag of versions belongs to their ARN and
        holds the last request only, so versions have one request.
        """
        return 1 if not self.changes or self.shared else 4 if self.tagged else 2

    def build_name(self, name: str, variant: int) -> str:
        """
        Build the name in a request.

        :param name: Name that tasks usually request.
        :param variant: Number of the request, from 0 to ``variants - 1``.
        """
        return {2: build_retry_name(name, 2, self.name_limit), 3: "elsewhere"}.get(variant, name)

    def build_arguments(self, laboratory: Laboratory, name: str, variant: int) -> dict[str, Any]:
        """Build the operator's arguments for a request; parameters as for :meth:`build_name`."""
        changes = self.changes if variant == 1 else {}
        return {"name": self.build_name(name, variant), **self.build_base_arguments(laboratory), **changes}

    def build_distinguishing_members(self, laboratory: Laboratory, variant: int) -> dict[str, Any]:
        """Build the members in which a request differs from the other ones, named as in the API."""
        request = laboratory.hook.check(self.operator.operation, self.build_arguments(laboratory, "name", variant))
        changed = laboratory.hook.check(self.operator.operation, self.build_arguments(laboratory, "name", 1))
        return {
            member: request.members.get(member) or None
            for member in changed.members
            if xform_name(member) in self.changes
        }

    def find_read_operations(self, laboratory: Laboratory) -> tuple[str, str]:
        """The API operations that read one resource, and that list all of its kind."""
        client: Any = laboratory.hook.conn
        names, resource = client.meta.method_to_api_mapping, self.operator.resource
        return str(names[resource.get or resource.list]), str(names[resource.list])

    def is_of(self, record: Record, result: Any, pushed: Mapping[str, Any]) -> bool:
        """Whether a task returned the identifiers of a resource, and pushed its version."""
        if not self.tagged:
            return bool(record.fields["name"] == result["name"])
        version = pushed.get("version_identifier")
        return record.arn == result and version in (None, record.fields.get("versionIdentifier"))

    def is_waited_for(self, record: Record, identifiers: Mapping[str, Any]) -> bool:
        """Whether a task waited for a resource with these identifiers."""
        if not self.tagged:
            expected = {"name": record.fields["name"], "audience_size": record.fields.get("audienceSize")}
            return all(identifiers.get(name) == value for name, value in expected.items())
        version = identifiers.get("version_identifier")
        return record.arn in identifiers.values() and version in (None, record.fields.get("versionIdentifier"))


def _build_training(laboratory: Laboratory) -> dict[str, Any]:
    arguments = laboratory.studio.build_training()
    return {name: value for name, value in arguments.items() if name not in ("name", "task_id", "waiter_delay")}


def _build_inference(laboratory: Laboratory) -> dict[str, Any]:
    arguments = laboratory.studio.build_inference()
    return {name: value for name, value in arguments.items() if name not in ("name", "task_id", "waiter_delay")}


def _build_version(laboratory: Laboratory) -> dict[str, Any]:
    channel = {"trainedModelArn": laboratory.studio.model, "channelName": "before"}
    return {**_build_training(laboratory), "incremental_training_data_channels": [channel]}


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
        CleanRoomsMLCreateTrainedModelOperator, "trained-model", _build_training, {"hyperparameters": {"depth": "2"}}
    ),
    "version of a trained model": Kind(
        CleanRoomsMLCreateTrainedModelOperator,
        "trained-model",
        _build_version,
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
        _build_inference,
        {"kms_key_arn": "arn:aws:kms:us-east-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"},
    ),
}
