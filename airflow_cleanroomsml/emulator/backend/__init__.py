"""The backends of Clean Rooms ML and Clean Rooms: a class for each kind of resource, a method for each operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_cleanroomsml._requests.model import load, map_operations
from airflow_cleanroomsml.emulator.backend.audience_export_job import AudienceExportJobs
from airflow_cleanroomsml.emulator.backend.audience_generation_job import AudienceGenerationJobs
from airflow_cleanroomsml.emulator.backend.audience_model import AudienceModels
from airflow_cleanroomsml.emulator.backend.base import BackendBase, BackendContext
from airflow_cleanroomsml.emulator.backend.collaboration import Collaborations
from airflow_cleanroomsml.emulator.backend.configured_audience_model import ConfiguredAudienceModels
from airflow_cleanroomsml.emulator.backend.configured_audience_model_association import (
    ConfiguredAudienceModelAssociations,
)
from airflow_cleanroomsml.emulator.backend.configured_audience_model_policy import ConfiguredAudienceModelPolicies
from airflow_cleanroomsml.emulator.backend.configured_model_algorithm import ConfiguredModelAlgorithms
from airflow_cleanroomsml.emulator.backend.configured_model_algorithm_association import (
    ConfiguredModelAlgorithmAssociations,
)
from airflow_cleanroomsml.emulator.backend.membership import Memberships
from airflow_cleanroomsml.emulator.backend.ml_configuration import MLConfigurations
from airflow_cleanroomsml.emulator.backend.ml_input_channel import MLInputChannels
from airflow_cleanroomsml.emulator.backend.protected_query import ProtectedQueries
from airflow_cleanroomsml.emulator.backend.tags import CleanRoomsTags, Tags
from airflow_cleanroomsml.emulator.backend.trained_model import TrainedModels
from airflow_cleanroomsml.emulator.backend.trained_model_export_job import TrainedModelExportJobs
from airflow_cleanroomsml.emulator.backend.trained_model_inference_job import TrainedModelInferenceJobs
from airflow_cleanroomsml.emulator.backend.training_dataset import TrainingDatasets

#: The classes of each service, by boto3's name. Clean Rooms has the operations that Clean Rooms ML pipelines need.
RESOURCES: dict[str, tuple[type[BackendBase], ...]] = {
    "cleanroomsml": (
        TrainingDatasets,
        AudienceModels,
        ConfiguredAudienceModels,
        ConfiguredAudienceModelPolicies,
        AudienceGenerationJobs,
        AudienceExportJobs,
        ConfiguredModelAlgorithms,
        ConfiguredModelAlgorithmAssociations,
        MLConfigurations,
        MLInputChannels,
        TrainedModels,
        TrainedModelExportJobs,
        TrainedModelInferenceJobs,
        Tags,
    ),
    "cleanrooms": (Collaborations, Memberships, ConfiguredAudienceModelAssociations, ProtectedQueries, CleanRoomsTags),
}


def build_operations(service: str, context: BackendContext) -> dict[str, Callable[..., Any]]:
    """
    Build the classes of a service; return the methods that carry out its operations, by boto3's method names.

    :param service: boto3's name of the service.
    """
    names = map_operations(load(service))
    return {
        name: getattr(resource, name)
        for resource in [kind(context) for kind in RESOURCES[service]]
        for name in names
        if hasattr(resource, name)
    }
