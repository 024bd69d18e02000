"""The backends of Clean Rooms ML and Clean Rooms: a class for each kind of resource, a method for each operation."""

from __future__ import annotations

from airflow_cleanroomsml.emulator.backend.audience_export_job import AudienceExportJobs
from airflow_cleanroomsml.emulator.backend.audience_generation_job import AudienceGenerationJobs
from airflow_cleanroomsml.emulator.backend.audience_model import AudienceModels
from airflow_cleanroomsml.emulator.backend.collaboration import Collaborations
from airflow_cleanroomsml.emulator.backend.configured_audience_model import ConfiguredAudienceModels
from airflow_cleanroomsml.emulator.backend.configured_audience_model_association import (
    ConfiguredAudienceModelAssociations,
)
from airflow_cleanroomsml.emulator.backend.configured_model_algorithm import ConfiguredModelAlgorithms
from airflow_cleanroomsml.emulator.backend.configured_model_algorithm_association import (
    ConfiguredModelAlgorithmAssociations,
)
from airflow_cleanroomsml.emulator.backend.membership import Memberships
from airflow_cleanroomsml.emulator.backend.ml_configuration import MLConfigurations
from airflow_cleanroomsml.emulator.backend.ml_input_channel import MLInputChannels
from airflow_cleanroomsml.emulator.backend.protected_query import ProtectedQueries
from airflow_cleanroomsml.emulator.backend.tags import Tags
from airflow_cleanroomsml.emulator.backend.trained_model import TrainedModels
from airflow_cleanroomsml.emulator.backend.trained_model_export_job import TrainedModelExportJobs
from airflow_cleanroomsml.emulator.backend.trained_model_inference_job import TrainedModelInferenceJobs
from airflow_cleanroomsml.emulator.backend.training_dataset import TrainingDatasets


class CleanRoomsMLBackend(
    TrainingDatasets,
    AudienceModels,
    ConfiguredAudienceModels,
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
):
    """All operations of Clean Rooms ML (API version 2023-09-06)."""


class CleanRoomsBackend(Collaborations, Memberships, ConfiguredAudienceModelAssociations, ProtectedQueries, Tags):
    """The operations of Clean Rooms that Clean Rooms ML pipelines need."""

    service = "cleanrooms"


__all__ = ["CleanRoomsBackend", "CleanRoomsMLBackend"]
