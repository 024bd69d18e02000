"""The arguments of a task of each class, and the resources that it needs."""

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


def _create(lab: Laboratory, operator: Any, asked: Arguments, *keep: str) -> Arguments:
    """
    Create a resource, and return the arguments that identify it.

    :param operator: Class whose operation creates it.
    :param asked: Arguments of the operation.
    :param keep: Those that also identify it.
    """
    answer = lab.hook.call(operator.operation, {operator.resource.named: "new", **asked})
    arns = {xform_name(name): value for name, value in answer.items()}
    return {
        **{name: asked[name] for name in keep},
        **({operator.returns: arns[operator.returns]} if operator.returns else {}),
    }


def _build_new(kind: str, *keep: str) -> Callable[[Laboratory], Arguments]:
    """What identifies something new; parameters as for :func:`_create`, the kind is a key of ``KINDS``."""
    return lambda lab: _create(lab, KINDS[kind].operator, KINDS[kind].build_base_arguments(lab), *keep)


def new_association(lab: Laboratory, **more: Any) -> Arguments:
    rooms, asked = lab.hook.of("cleanrooms"), {**_build_association(lab), **more}
    made = rooms.call("create_configured_audience_model_association", asked)["configuredAudienceModelAssociation"]
    return {**lab.studio.mine, "configured_audience_model_association_identifier": made["id"]}


def _create_algorithm_association(lab: Laboratory) -> Arguments:
    create = operators.CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator
    algorithm = {"configured_model_algorithm_arn": lab.studio.algorithm}
    return _create(lab, create, {**lab.studio.mine, **algorithm}, "membership_identifier")


def _export_audience(lab: Laboratory) -> Arguments:
    asked = {"name": "new", **KINDS["audience export job"].build_base_arguments(lab)}
    lab.hook.call("start_audience_export_job", asked)
    return asked


def _export_model(lab: Laboratory) -> Arguments:
    asked = {"name": "new", **KINDS["trained model export job"].build_base_arguments(lab)}
    lab.hook.call("start_trained_model_export_job", asked)
    of = {"collaboration_identifier": lab.studio.collaboration.id, "membership_identifier": lab.studio.membership}
    return {"name": "new", "trained_model_arn": lab.studio.model, **of}


def with_a_further_version(lab: Laboratory) -> Arguments:
    """The model of the studio, which then has two versions."""
    further = KINDS["version of a trained model"].build_base_arguments(lab)
    lab.hook.call("create_trained_model", {"name": "further", **further})
    return {**lab.studio.mine, "trained_model_arn": lab.studio.model}


def _start_partner_job(lab: Laboratory) -> Arguments:
    """A job that a partner starts."""
    lab.hook.call(
        "start_audience_generation_job",
        {"name": "theirs", **KINDS["audience generation job"].build_base_arguments(lab)},
    )
    return {"since": "2000-01-01"}


def _build_policy(lab: Laboratory) -> Arguments:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": PARTNER},
        "Action": "cleanrooms-ml:StartAudienceGenerationJob",
        "Resource": [lab.configured],
    }
    document = {"Version": "2012-10-17", "Statement": [statement]}
    return {"configured_audience_model_arn": lab.configured, "configured_audience_model_policy": json.dumps(document)}


def _put_policy(lab: Laboratory) -> Arguments:
    lab.hook.call("put_configured_audience_model_policy", _build_policy(lab))
    return {"configured_audience_model_arn": lab.configured}


def _get_collaboration(lab: Laboratory) -> Arguments:
    return {"collaboration_identifier": lab.studio.collaboration.id}


def _offer_model(lab: Laboratory) -> Arguments:
    new_association(lab)
    return _get_collaboration(lab)


def _train_model(lab: Laboratory, name: str, week: int) -> str:
    """Train a model on data newer than that of the model in use, by a number of weeks."""
    end = datetime.fromtimestamp(lab.clock.now(), timezone.utc) + timedelta(weeks=week)
    asked = {"name": name, "training_dataset_arn": lab.dataset, "training_data_end_time": end}
    return str(lab.hook.call("create_audience_model", asked)["audienceModelArn"])


def _build_age_arguments(lab: Laboratory) -> Arguments:
    ahead = datetime.fromtimestamp(lab.clock.now(), timezone.utc) + timedelta(weeks=1)
    return {"configured_audience_model_arn": lab.configured, "training_data_end_time": ahead}


def promoted(lab: Laboratory) -> Arguments:
    """The arguments of a newer model."""
    return {"configured_audience_model_arn": lab.configured, "audience_model_arn": _train_model(lab, "new", 1)}


def _roll_back(lab: Laboratory) -> Arguments:
    asked = {"configured_audience_model_arn": lab.configured}
    present = lab.hook.call("get_configured_audience_model", asked)["audienceModelArn"]
    return {**promoted(lab), "instead_of": present}


def pruned(lab: Laboratory) -> Arguments:
    """The arguments with which one model is deleted."""
    for week in (1, 2):
        _train_model(lab, f"weekly-{week}", week)
    return {"keep": 1, "name_prefix": "weekly-"}


def checked_data(lab: Laboratory) -> Arguments:
    """Valid training data, and their role."""
    data = TrainingData(lab.world)
    # What moto stores is there for all situations.
    if not [found for found in data.glue.get_databases()["DatabaseList"] if found["Name"] == "lookalike"]:
        create_role(data.create().world)
    return {"training_data": data.data, "role_arn": lab.world.role}


def checked_dataset(lab: Laboratory) -> Arguments:
    """A valid training dataset."""
    checked_data(lab)
    return {"training_dataset_arn": lab.dataset}


def _build_checked_seed(lab: Laboratory) -> Arguments:
    checked_data(lab)
    return {"seed_audience": lab.world.write_seed([f"u{number}" for number in range(25)])}


MEMBERSHIP = "membership_identifier"
#: The arguments of each class; the functions create the resources that these need.
ARGUMENTS: dict[type[Any], Callable[[Laboratory], Arguments]] = {
    **{kind.operator: kind.build_base_arguments for kind in reversed(KINDS.values())},
    operators.CleanRoomsMLCreateConfiguredModelAlgorithmOperator: _build_algorithm,
    operators.CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator: lambda lab: {
        **lab.studio.mine,
        "configured_model_algorithm_arn": lab.studio.algorithm,
    },
    operators.CleanRoomsCreateConfiguredAudienceModelAssociationOperator: _build_association,
    operators.CleanRoomsMLDeleteTrainingDatasetOperator: _build_new("training dataset"),
    operators.CleanRoomsMLDeleteAudienceModelOperator: _build_new("audience model"),
    operators.CleanRoomsMLDeleteConfiguredAudienceModelOperator: _build_new("configured audience model"),
    operators.CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator: _put_policy,
    operators.CleanRoomsMLDeleteAudienceGenerationJobOperator: _build_new("audience generation job"),
    operators.CleanRoomsMLDeleteConfiguredModelAlgorithmOperator: lambda lab: _create(
        lab, operators.CleanRoomsMLCreateConfiguredModelAlgorithmOperator, _build_algorithm(lab)
    ),
    operators.CleanRoomsMLDeleteConfiguredModelAlgorithmAssociationOperator: _create_algorithm_association,
    operators.CleanRoomsMLDeleteMLInputChannelDataOperator: _build_new("ML input channel", MEMBERSHIP),
    operators.CleanRoomsMLDeleteTrainedModelOutputOperator: _build_new("trained model", MEMBERSHIP),
    operators.CleanRoomsMLCancelTrainedModelOperator: _build_new("trained model", MEMBERSHIP),
    operators.CleanRoomsMLCancelTrainedModelInferenceJobOperator: _build_new("trained model inference job", MEMBERSHIP),
    operators.CleanRoomsMLDeleteMLConfigurationOperator: lambda lab: dict(lab.studio.mine),
    operators.CleanRoomsMLPutMLConfigurationOperator: lambda lab: {
        **lab.studio.mine,
        "default_output_location": lab.world.output,
    },
    operators.CleanRoomsMLPutConfiguredAudienceModelPolicyOperator: _build_policy,
    operators.CleanRoomsMLUpdateConfiguredAudienceModelOperator: lambda lab: {
        "configured_audience_model_arn": lab.configured,
        "description": "other",
    },
    operators.CleanRoomsUpdateConfiguredAudienceModelAssociationOperator: lambda lab: {
        **new_association(lab),
        "description": "other",
    },
    operators.CleanRoomsDeleteConfiguredAudienceModelAssociationOperator: new_association,
    operators.CleanRoomsMLTagResourceOperator: lambda lab: {"resource_arn": lab.dataset, "tags": {"key": "value"}},
    operators.CleanRoomsMLUntagResourceOperator: lambda lab: {"resource_arn": lab.dataset, "tag_keys": ["key"]},
    operators.CleanRoomsMLCheckAudienceModelAgeOperator: _build_age_arguments,
    operators.CleanRoomsMLPromoteAudienceModelOperator: _roll_back,
    operators.CleanRoomsMLPruneAudienceModelsOperator: lambda lab: {**pruned(lab), "report_only": True},
    operators.CleanRoomsMLCheckTrainingDataOperator: checked_data,
    operators.CleanRoomsMLCheckSeedAudienceOperator: _build_checked_seed,
    operators.CleanRoomsMLChooseAudienceSizeOperator: lambda _: {"metrics": METRICS},
    operators.CleanRoomsFindMembershipOperator: _get_collaboration,
    operators.CleanRoomsFindConfiguredAudienceModelOperator: _offer_model,
    sensors.CleanRoomsMLAudienceModelSensor: _build_new("audience model"),
    sensors.CleanRoomsMLAudienceGenerationJobSensor: _build_new("audience generation job"),
    sensors.CleanRoomsMLAudienceExportJobSensor: _export_audience,
    sensors.CleanRoomsMLMLInputChannelSensor: _build_new("ML input channel"),
    sensors.CleanRoomsMLTrainedModelSensor: _build_new("trained model"),
    sensors.CleanRoomsMLTrainedModelInferenceJobSensor: _build_new("trained model inference job"),
    sensors.CleanRoomsMLTrainedModelExportJobSensor: _export_model,
    sensors.CleanRoomsMLNewAudienceGenerationJobsSensor: _start_partner_job,
}
