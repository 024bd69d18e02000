"""Arguments for a task of each class, and functions that create the resources that they refer to."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from botocore import xform_name

from airflow_cleanroomsml import operators, sensors
from tests.helpers.custom_models import IMAGE
from tests.helpers.training_data import TrainingData, create_role
from tests.properties.observed_emulator import Laboratory
from tests.properties.operator_cases import KINDS

Arguments = dict[str, Any]
PARTNER = "210987654321"
METRICS = {"relevanceMetrics": [{"audienceSize": {"type": "PERCENTAGE", "value": 5}, "score": 0.5}]}


def _build_algorithm(lab: Laboratory) -> Arguments:
    image = {"imageUri": IMAGE}
    return {"role_arn": lab.world.role, "training_container_config": image, "inference_container_config": image}


def _build_association(lab: Laboratory) -> Arguments:
    model = {"configured_audience_model_arn": lab.configured, "manage_resource_policies": False}
    return {**lab.studio.mine, **model, "configured_audience_model_association_name": "offer"}


def _create(lab: Laboratory, operator: Any, arguments: Arguments, *keep: str) -> Arguments:
    """
    Create a resource, and return the arguments that identify it.

    :param operator: Operator that creates it.
    :param arguments: Arguments of the operation.
    :param keep: Names of the arguments that identify it together with its ARN.
    """
    response = lab.hook.call(operator.operation, {operator.resource.named: "new", **arguments})
    arns = {xform_name(name): value for name, value in response.items()}
    return {
        **{name: arguments[name] for name in keep},
        **({operator.returns: arns[operator.returns]} if operator.returns else {}),
    }


def _build_creator(kind: str, *keep: str) -> Callable[[Laboratory], Arguments]:
    """
    Return a function that creates a resource and returns the arguments that identify it.

    :param kind: Key of ``KINDS``.
    :param keep: As for :func:`_create`.
    """
    return lambda lab: _create(lab, KINDS[kind].operator, KINDS[kind].build_base_arguments(lab), *keep)


def create_association(lab: Laboratory, **more: Any) -> Arguments:
    client, arguments = lab.hook.of("cleanrooms"), {**_build_association(lab), **more}
    association = client.call("create_configured_audience_model_association", arguments)[
        "configuredAudienceModelAssociation"
    ]
    return {**lab.studio.mine, "configured_audience_model_association_identifier": association["id"]}


def _create_algorithm_association(lab: Laboratory) -> Arguments:
    create = operators.CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator
    algorithm = {"configured_model_algorithm_arn": lab.studio.algorithm}
    return _create(lab, create, {**lab.studio.mine, **algorithm}, "membership_identifier")


def _export_audience(lab: Laboratory) -> Arguments:
    arguments = {"name": "new", **KINDS["audience export job"].build_base_arguments(lab)}
    lab.hook.call("start_audience_export_job", arguments)
    return arguments


def _export_model(lab: Laboratory) -> Arguments:
    arguments = {"name": "new", **KINDS["trained model export job"].build_base_arguments(lab)}
    lab.hook.call("start_trained_model_export_job", arguments)
    identifiers = {
        "collaboration_identifier": lab.studio.collaboration.id,
        "membership_identifier": lab.studio.membership,
    }
    return {"name": "new", "trained_model_arn": lab.studio.model, **identifiers}


def create_second_version(lab: Laboratory) -> Arguments:
    """Create a second version of the studio's model, and return the arguments that identify the model."""
    arguments = KINDS["version of a trained model"].build_base_arguments(lab)
    lab.hook.call("create_trained_model", {"name": "second", **arguments})
    return {**lab.studio.mine, "trained_model_arn": lab.studio.model}


def _start_partner_job(lab: Laboratory) -> Arguments:
    """Start a job, which the situation then attributes to a partner."""
    lab.hook.call(
        "start_audience_generation_job",
        {"name": "theirs", **KINDS["audience generation job"].build_base_arguments(lab)},
    )
    return {"since": "2000-01-01"}


def _build_policy_arguments(lab: Laboratory) -> Arguments:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": PARTNER},
        "Action": "cleanrooms-ml:StartAudienceGenerationJob",
        "Resource": [lab.configured],
    }
    document = {"Version": "2012-10-17", "Statement": [statement]}
    return {"configured_audience_model_arn": lab.configured, "configured_audience_model_policy": json.dumps(document)}


def _put_policy(lab: Laboratory) -> Arguments:
    lab.hook.call("put_configured_audience_model_policy", _build_policy_arguments(lab))
    return {"configured_audience_model_arn": lab.configured}


def _build_collaboration_arguments(lab: Laboratory) -> Arguments:
    return {"collaboration_identifier": lab.studio.collaboration.id}


def _offer_model(lab: Laboratory) -> Arguments:
    create_association(lab)
    return _build_collaboration_arguments(lab)


def _train_model(lab: Laboratory, name: str, weeks: int) -> str:
    """Train a model on data that ends a number of weeks from now, and return its ARN."""
    end = datetime.fromtimestamp(lab.clock.now(), timezone.utc) + timedelta(weeks=weeks)
    arguments = {"name": name, "training_dataset_arn": lab.dataset, "training_data_end_time": end}
    return str(lab.hook.call("create_audience_model", arguments)["audienceModelArn"])


def _build_age_arguments(lab: Laboratory) -> Arguments:
    next_week = datetime.fromtimestamp(lab.clock.now(), timezone.utc) + timedelta(weeks=1)
    return {"configured_audience_model_arn": lab.configured, "training_data_end_time": next_week}


def build_promotion_arguments(lab: Laboratory) -> Arguments:
    """Train a newer model, and return the arguments that promote it."""
    return {"configured_audience_model_arn": lab.configured, "audience_model_arn": _train_model(lab, "new", 1)}


def _build_rollback_arguments(lab: Laboratory) -> Arguments:
    identifiers = {"configured_audience_model_arn": lab.configured}
    current_arn = lab.hook.call("get_configured_audience_model", identifiers)["audienceModelArn"]
    return {**build_promotion_arguments(lab), "instead_of": current_arn}


def build_pruning_arguments(lab: Laboratory) -> Arguments:
    """Train two models, and return the arguments that delete one of them."""
    for weeks in (1, 2):
        _train_model(lab, f"weekly-{weeks}", weeks)
    return {"keep": 1, "name_prefix": "weekly-"}


def create_checked_data(lab: Laboratory) -> Arguments:
    """Create valid training data and its role, and return the arguments that check them."""
    data = TrainingData(lab.world)
    # Moto keeps what it stores from one situation to the next.
    if not [database for database in data.glue.get_databases()["DatabaseList"] if database["Name"] == "lookalike"]:
        create_role(data.create().world)
    return {"training_data": data.data, "role_arn": lab.world.role}


def create_checked_dataset(lab: Laboratory) -> Arguments:
    """Create valid training data, and return the arguments that check the training dataset."""
    create_checked_data(lab)
    return {"training_dataset_arn": lab.dataset}


def _create_checked_seed(lab: Laboratory) -> Arguments:
    create_checked_data(lab)
    return {"seed_audience": lab.world.write_seed([f"u{number}" for number in range(25)])}


MEMBERSHIP = "membership_identifier"
#: Functions that create the resources that a class needs and return its arguments.
ARGUMENTS: dict[type[Any], Callable[[Laboratory], Arguments]] = {
    **{kind.operator: kind.build_base_arguments for kind in reversed(KINDS.values())},
    operators.CleanRoomsMLCreateConfiguredModelAlgorithmOperator: _build_algorithm,
    operators.CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator: lambda lab: {
        **lab.studio.mine,
        "configured_model_algorithm_arn": lab.studio.algorithm,
    },
    operators.CleanRoomsCreateConfiguredAudienceModelAssociationOperator: _build_association,
    operators.CleanRoomsMLDeleteTrainingDatasetOperator: _build_creator("training dataset"),
    operators.CleanRoomsMLDeleteAudienceModelOperator: _build_creator("audience model"),
    operators.CleanRoomsMLDeleteConfiguredAudienceModelOperator: _build_creator("configured audience model"),
    operators.CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator: _put_policy,
    operators.CleanRoomsMLDeleteAudienceGenerationJobOperator: _build_creator("audience generation job"),
    operators.CleanRoomsMLDeleteConfiguredModelAlgorithmOperator: lambda lab: _create(
        lab, operators.CleanRoomsMLCreateConfiguredModelAlgorithmOperator, _build_algorithm(lab)
    ),
    operators.CleanRoomsMLDeleteConfiguredModelAlgorithmAssociationOperator: _create_algorithm_association,
    operators.CleanRoomsMLDeleteMLInputChannelDataOperator: _build_creator("ML input channel", MEMBERSHIP),
    operators.CleanRoomsMLDeleteTrainedModelOutputOperator: _build_creator("trained model", MEMBERSHIP),
    operators.CleanRoomsMLCancelTrainedModelOperator: _build_creator("trained model", MEMBERSHIP),
    operators.CleanRoomsMLCancelTrainedModelInferenceJobOperator: _build_creator(
        "trained model inference job", MEMBERSHIP
    ),
    operators.CleanRoomsMLDeleteMLConfigurationOperator: lambda lab: dict(lab.studio.mine),
    operators.CleanRoomsMLPutMLConfigurationOperator: lambda lab: {
        **lab.studio.mine,
        "default_output_location": lab.world.output,
    },
    operators.CleanRoomsMLPutConfiguredAudienceModelPolicyOperator: _build_policy_arguments,
    operators.CleanRoomsMLUpdateConfiguredAudienceModelOperator: lambda lab: {
        "configured_audience_model_arn": lab.configured,
        "description": "other",
    },
    operators.CleanRoomsUpdateConfiguredAudienceModelAssociationOperator: lambda lab: {
        **create_association(lab),
        "description": "other",
    },
    operators.CleanRoomsDeleteConfiguredAudienceModelAssociationOperator: create_association,
    operators.CleanRoomsMLTagResourceOperator: lambda lab: {"resource_arn": lab.dataset, "tags": {"key": "value"}},
    operators.CleanRoomsMLUntagResourceOperator: lambda lab: {"resource_arn": lab.dataset, "tag_keys": ["key"]},
    operators.CleanRoomsMLCheckAudienceModelAgeOperator: _build_age_arguments,
    operators.CleanRoomsMLPromoteAudienceModelOperator: _build_rollback_arguments,
    operators.CleanRoomsMLPruneAudienceModelsOperator: lambda lab: {
        **build_pruning_arguments(lab),
        "report_only": True,
    },
    operators.CleanRoomsMLCheckTrainingDataOperator: create_checked_data,
    operators.CleanRoomsMLCheckSeedAudienceOperator: _create_checked_seed,
    operators.CleanRoomsMLChooseAudienceSizeOperator: lambda _: {"metrics": METRICS},
    operators.CleanRoomsFindMembershipOperator: _build_collaboration_arguments,
    operators.CleanRoomsFindConfiguredAudienceModelOperator: _offer_model,
    sensors.CleanRoomsMLAudienceModelSensor: _build_creator("audience model"),
    sensors.CleanRoomsMLAudienceGenerationJobSensor: _build_creator("audience generation job"),
    sensors.CleanRoomsMLAudienceExportJobSensor: _export_audience,
    sensors.CleanRoomsMLMLInputChannelSensor: _build_creator("ML input channel"),
    sensors.CleanRoomsMLTrainedModelSensor: _build_creator("trained model"),
    sensors.CleanRoomsMLTrainedModelInferenceJobSensor: _build_creator("trained model inference job"),
    sensors.CleanRoomsMLTrainedModelExportJobSensor: _export_model,
    sensors.CleanRoomsMLNewAudienceGenerationJobsSensor: _start_partner_job,
}
