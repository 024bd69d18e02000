"""The operators that make something: what they need before, and how boto3 sees what they have made."""

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

#: A configured audience model can be associated with a collaboration once, so each task has a membership of its own.
_ASSOCIATIONS = 1
#: Exports of a generation job (user guide, Quotas).
_EXPORTS = 25
Arguments = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """
    What is there, as plain boto3 sees it.

    :param name: Its name.
    :param identity: What the result of its task has to be.
    :param status: Its status; ``ACTIVE`` where it has none.
    :param run: The run that its tag names; None where tags cannot be read.
    """

    name: str
    identity: Any
    status: str
    run: str | None


@dataclass(frozen=True)
class Maker:
    """
    An operator that makes something.

    :param operator: Its class.
    :param prepare: Makes what it needs; arguments for tasks one after the other.
    :param made: What is there under these arguments.
    :param tasks: How many tasks the service lets make something by the same arguments.
    :param named: Its argument that holds the name.
    """

    operator: Any
    prepare: Callable[[World], Arguments]
    made: Callable[[World, Arguments], Iterator[Made]]
    tasks: int = 1000
    named: str = "name"

    @property
    def title(self) -> str:
        """The operation."""
        return str(self.operator.operation)

    @property
    def waits(self) -> bool:
        """Whether what it makes takes time."""
        return issubclass(self.operator, WAITING)


def _pages(client: Any, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator(operation).paginate(**arguments):
        yield from next(value for value in page.values() if isinstance(value, list))


def _tagged(noun: str, member: str, *, inside: bool = False, plural: str = "") -> Any:
    """
    How a resource with tags is seen.

    :param noun: As in the names of its operations.
    :param member: Member that holds its ARN.
    :param inside: Whether it is of a membership.
    """

    def made(world: World, arguments: Arguments) -> Iterator[Made]:
        ml = world.ml
        narrow = {"membershipIdentifier": arguments["membership_identifier"]} if inside else {}
        for entry in _pages(ml, f"list_{plural or noun + 's'}", **narrow):
            found = getattr(ml, f"get_{noun}")(**narrow, **{member: entry[member]})
            run = found.get("tags", {}).get(TAG, "").rpartition(" ")[0]
            yield Made(entry["name"], entry[member], entry.get("status", "ACTIVE"), run)

    return made


def _audience_exports(world: World, arguments: Arguments) -> Iterator[Made]:
    job = arguments["audience_generation_job_arn"]
    for entry in _pages(world.ml, "list_audience_export_jobs", audienceGenerationJobArn=job):
        assert entry["audienceSize"] == arguments["audience_size"]
        identity = {
            "name": entry["name"],
            "audience_generation_job_arn": job,
            "output_location": entry.get("outputLocation"),
        }
        yield Made(entry["name"], identity, entry["status"], None)


def _model_exports(world: World, arguments: Arguments) -> Iterator[Made]:
    model = arguments["trained_model_arn"]
    collaboration = world.ml.get_trained_model(
        membershipIdentifier=arguments["membership_identifier"], trainedModelArn=model
    )["collaborationIdentifier"]
    listing = "list_collaboration_trained_model_export_jobs"
    for entry in _pages(world.ml, listing, collaborationIdentifier=collaboration, trainedModelArn=model):
        identity = {"name": entry["name"], "trained_model_arn": model, "output_location": None}
        yield Made(entry["name"], identity, entry["status"], None)


def _associations(world: World, arguments: Arguments) -> Iterator[Made]:
    listing = "list_configured_audience_model_associations"
    membership = arguments["membership_identifier"]
    for entry in _pages(world.client("cleanrooms"), listing, membershipIdentifier=membership):
        yield Made(entry["name"], entry["id"], "ACTIVE", None)


def _algorithm(world: World) -> Arguments:
    container = {"imageUri": IMAGE}
    return {
        "role_arn": world.role,
        "training_container_config": container,
        "inference_container_config": container,
    }


def _algorithm_association(world: World) -> Arguments:
    studio = Studio(world)
    return {**studio.mine, "configured_model_algorithm_arn": studio.algorithm}


def _channel(world: World) -> Arguments:
    studio = Studio(world)
    return {
        **studio.mine,
        "configured_model_algorithm_associations": [studio.association],
        "input_channel": studio.build_input_channel(),
        "retention_in_days": 1,
    }


def _model_export(world: World) -> Arguments:
    studio = Studio(world)
    return {**studio.mine, "trained_model_arn": studio.model, "output_configuration": studio.receivers}


def _association(world: World) -> Arguments:
    found = world.ml.list_configured_audience_models()["configuredAudienceModels"]
    terms = found[0]["configuredAudienceModelArn"] if found else world.build().create_configured_model()
    return {
        "membership_identifier": collaborate(world).find_membership(world),
        "configured_audience_model_arn": terms,
        "manage_resource_policies": True,
    }


def _audience_export(world: World) -> Arguments:
    found = world.ml.list_audience_generation_jobs()["audienceGenerationJobs"]
    job = world.generate_audience(f"job-{len(found)}") if found else world.build().generate_audience("job-0")
    return {"audience_generation_job_arn": job, "audience_size": {"type": "PERCENTAGE", "value": 10}}


MAKERS = [
    Maker(
        operators.CleanRoomsMLCreateTrainingDatasetOperator,
        lambda world: {"role_arn": world.role, "training_data": world.build().build_training_data()},
        _tagged("training_dataset", "trainingDatasetArn"),
    ),
    Maker(
        operators.CleanRoomsMLCreateAudienceModelOperator,
        lambda world: {"training_dataset_arn": world.build().create_dataset()},
        _tagged("audience_model", "audienceModelArn"),
    ),
    Maker(
        operators.CleanRoomsMLCreateConfiguredAudienceModelOperator,
        lambda world: {
            "audience_model_arn": world.build().train_model(),
            "output_config": world.output,
            "shared_audience_metrics": ["ALL"],
        },
        _tagged("configured_audience_model", "configuredAudienceModelArn"),
    ),
    Maker(
        operators.CleanRoomsCreateConfiguredAudienceModelAssociationOperator,
        _association,
        _associations,
        _ASSOCIATIONS,
        "configured_audience_model_association_name",
    ),
    Maker(
        operators.CleanRoomsMLStartAudienceGenerationJobOperator,
        lambda world: {
            "configured_audience_model_arn": world.build().create_configured_model(),
            "seed_audience": world.write_seed(),
        },
        _tagged("audience_generation_job", "audienceGenerationJobArn"),
    ),
    Maker(
        operators.CleanRoomsMLStartAudienceExportJobOperator,
        _audience_export,
        _audience_exports,
        _EXPORTS,
    ),
    Maker(
        operators.CleanRoomsMLCreateConfiguredModelAlgorithmOperator,
        _algorithm,
        _tagged("configured_model_algorithm", "configuredModelAlgorithmArn"),
    ),
    Maker(
        operators.CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator,
        _algorithm_association,
        _tagged(
            "configured_model_algorithm_association",
            "configuredModelAlgorithmAssociationArn",
            inside=True,
        ),
    ),
    Maker(
        operators.CleanRoomsMLCreateMLInputChannelOperator,
        _channel,
        _tagged("ml_input_channel", "mlInputChannelArn", inside=True),
    ),
    Maker(
        operators.CleanRoomsMLCreateTrainedModelOperator,
        lambda world: Studio(world).build_training(),
        _tagged("trained_model", "trainedModelArn", inside=True),
    ),
    Maker(
        operators.CleanRoomsMLStartTrainedModelExportJobOperator,
        _model_export,
        _model_exports,
    ),
    Maker(
        operators.CleanRoomsMLStartTrainedModelInferenceJobOperator,
        lambda world: Studio(world).build_inference(),
        _tagged("trained_model_inference_job", "trainedModelInferenceJobArn", inside=True),
    ),
]
BY_TITLE = {maker.title: maker for maker in MAKERS}
