"""The create operators: how a test prepares their arguments, and how plain boto3 lists the resources that they create."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from airflow_cleanroomsml import operators
from airflow_cleanroomsml._idempotency.claim import TAG
from tests.helpers.collaboration import collaborate
from tests.helpers.custom_models import IMAGE, Studio
from tests.helpers.exported_classes import WAITING
from tests.support import World

#: A configured audience model can be associated with a collaboration only once, so each task needs another membership.
_ASSOCIATIONS = 1
#: Largest number of export jobs per generation job (user guide, Quotas).
_EXPORTS = 25
Arguments = dict[str, Any]


@dataclass(frozen=True)
class CreatedResource:
    """
    A resource as plain boto3 reads it.

    :param name: Its name.
    :param identity: The expected result of the task that created it.
    :param status: Its status; ``ACTIVE`` if it has none.
    :param run: The run that its tag names; None if tags cannot be read.
    """

    name: str
    identity: Any
    status: str
    run: str | None


@dataclass(frozen=True)
class OperatorSetup:
    """
    What a test needs to run a create operator.

    :param operator: Its class.
    :param prepare: Creates the resources that it needs, and returns its arguments, which several tasks can use one after the other.
    :param list_resources: Lists the resources that exist for these arguments.
    :param tasks: Number of tasks that the service allows to create a resource with the same arguments.
    :param name_argument: Its argument for the resource's name.
    """

    operator: Any
    prepare: Callable[[World], Arguments]
    list_resources: Callable[[World, Arguments], Iterator[CreatedResource]]
    tasks: int = 1000
    name_argument: str = "name"

    @property
    def title(self) -> str:
        """The operation."""
        return str(self.operator.operation)

    @property
    def waits(self) -> bool:
        """Whether its resource takes time to become active."""
        return issubclass(self.operator, WAITING)


def _list_entries(client: Any, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator(operation).paginate(**arguments):
        yield from next(value for value in page.values() if isinstance(value, list))


def _build_listing(noun: str, member: str, *, in_membership: bool = False, plural: str = "") -> Any:
    """
    Build the function that lists resources with tags.

    :param noun: The resource, as in the names of its operations.
    :param member: The member that holds its ARN.
    :param in_membership: Whether it belongs to a membership.
    """

    def list_resources(world: World, arguments: Arguments) -> Iterator[CreatedResource]:
        ml = world.ml
        membership = {"membershipIdentifier": arguments["membership_identifier"]} if in_membership else {}
        for entry in _list_entries(ml, f"list_{plural or noun + 's'}", **membership):
            response = getattr(ml, f"get_{noun}")(**membership, **{member: entry[member]})
            run = response.get("tags", {}).get(TAG, "").rpartition(" ")[0]
            yield CreatedResource(entry["name"], entry[member], entry.get("status", "ACTIVE"), run)

    return list_resources


def _list_audience_exports(world: World, arguments: Arguments) -> Iterator[CreatedResource]:
    job = arguments["audience_generation_job_arn"]
    for entry in _list_entries(world.ml, "list_audience_export_jobs", audienceGenerationJobArn=job):
        assert entry["audienceSize"] == arguments["audience_size"]
        identity = {
            "name": entry["name"],
            "audience_generation_job_arn": job,
            "output_location": entry.get("outputLocation"),
        }
        yield CreatedResource(entry["name"], identity, entry["status"], None)


def _list_model_exports(world: World, arguments: Arguments) -> Iterator[CreatedResource]:
    model = arguments["trained_model_arn"]
    collaboration = world.ml.get_trained_model(
        membershipIdentifier=arguments["membership_identifier"], trainedModelArn=model
    )["collaborationIdentifier"]
    listing = "list_collaboration_trained_model_export_jobs"
    for entry in _list_entries(world.ml, listing, collaborationIdentifier=collaboration, trainedModelArn=model):
        identity = {"name": entry["name"], "trained_model_arn": model, "output_location": None}
        yield CreatedResource(entry["name"], identity, entry["status"], None)


def _list_associations(world: World, arguments: Arguments) -> Iterator[CreatedResource]:
    listing = "list_configured_audience_model_associations"
    membership = arguments["membership_identifier"]
    for entry in _list_entries(world.client("cleanrooms"), listing, membershipIdentifier=membership):
        yield CreatedResource(entry["name"], entry["id"], "ACTIVE", None)


def _prepare_algorithm(world: World) -> Arguments:
    container = {"imageUri": IMAGE}
    return {
        "role_arn": world.role,
        "training_container_config": container,
        "inference_container_config": container,
    }


def _prepare_algorithm_association(world: World) -> Arguments:
    studio = Studio(world)
    return {**studio.mine, "configured_model_algorithm_arn": studio.algorithm}


def _prepare_channel(world: World) -> Arguments:
    studio = Studio(world)
    return {
        **studio.mine,
        "configured_model_algorithm_associations": [studio.association],
        "input_channel": studio.build_input_channel(),
        "retention_in_days": 1,
    }


def _prepare_model_export(world: World) -> Arguments:
    studio = Studio(world)
    return {**studio.mine, "trained_model_arn": studio.model, "output_configuration": studio.receivers}


def _prepare_association(world: World) -> Arguments:
    existing = world.ml.list_configured_audience_models()["configuredAudienceModels"]
    model = existing[0]["configuredAudienceModelArn"] if existing else world.build().create_configured_model()
    return {
        "membership_identifier": collaborate(world).find_membership(world),
        "configured_audience_model_arn": model,
        "manage_resource_policies": True,
    }


def _prepare_audience_export(world: World) -> Arguments:
    existing = world.ml.list_audience_generation_jobs()["audienceGenerationJobs"]
    job = world.generate_audience(f"job-{len(existing)}") if existing else world.build().generate_audience("job-0")
    return {"audience_generation_job_arn": job, "audience_size": {"type": "PERCENTAGE", "value": 10}}


OPERATOR_SETUPS = [
    OperatorSetup(
        operators.CleanRoomsMLCreateTrainingDatasetOperator,
        lambda world: {"role_arn": world.role, "training_data": world.build().build_training_data()},
        _build_listing("training_dataset", "trainingDatasetArn"),
    ),
    OperatorSetup(
        operators.CleanRoomsMLCreateAudienceModelOperator,
        lambda world: {"training_dataset_arn": world.build().create_dataset()},
        _build_listing("audience_model", "audienceModelArn"),
    ),
    OperatorSetup(
        operators.CleanRoomsMLCreateConfiguredAudienceModelOperator,
        lambda world: {
            "audience_model_arn": world.build().train_model(),
            "output_config": world.output,
            "shared_audience_metrics": ["ALL"],
        },
        _build_listing("configured_audience_model", "configuredAudienceModelArn"),
    ),
    OperatorSetup(
        operators.CleanRoomsCreateConfiguredAudienceModelAssociationOperator,
        _prepare_association,
        _list_associations,
        _ASSOCIATIONS,
        "configured_audience_model_association_name",
    ),
    OperatorSetup(
        operators.CleanRoomsMLStartAudienceGenerationJobOperator,
        lambda world: {
            "configured_audience_model_arn": world.build().create_configured_model(),
            "seed_audience": world.write_seed(),
        },
        _build_listing("audience_generation_job", "audienceGenerationJobArn"),
    ),
    OperatorSetup(
        operators.CleanRoomsMLStartAudienceExportJobOperator,
        _prepare_audience_export,
        _list_audience_exports,
        _EXPORTS,
    ),
    OperatorSetup(
        operators.CleanRoomsMLCreateConfiguredModelAlgorithmOperator,
        _prepare_algorithm,
        _build_listing("configured_model_algorithm", "configuredModelAlgorithmArn"),
    ),
    OperatorSetup(
        operators.CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator,
        _prepare_algorithm_association,
        _build_listing(
            "configured_model_algorithm_association",
            "configuredModelAlgorithmAssociationArn",
            in_membership=True,
        ),
    ),
    OperatorSetup(
        operators.CleanRoomsMLCreateMLInputChannelOperator,
        _prepare_channel,
        _build_listing("ml_input_channel", "mlInputChannelArn", in_membership=True),
    ),
    OperatorSetup(
        operators.CleanRoomsMLCreateTrainedModelOperator,
        lambda world: Studio(world).build_training(),
        _build_listing("trained_model", "trainedModelArn", in_membership=True),
    ),
    OperatorSetup(
        operators.CleanRoomsMLStartTrainedModelExportJobOperator,
        _prepare_model_export,
        _list_model_exports,
    ),
    OperatorSetup(
        operators.CleanRoomsMLStartTrainedModelInferenceJobOperator,
        lambda world: Studio(world).build_inference(),
        _build_listing("trained_model_inference_job", "trainedModelInferenceJobArn", in_membership=True),
    ),
]
BY_TITLE = {setup.title: setup for setup in OPERATOR_SETUPS}
