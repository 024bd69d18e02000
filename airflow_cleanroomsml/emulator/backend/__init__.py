"""The backend of Clean Rooms ML: one class a noun, one method an operation."""

from __future__ import annotations

from airflow_cleanroomsml.emulator.backend.audience_export_job import AudienceExportJobs
from airflow_cleanroomsml.emulator.backend.audience_generation_job import AudienceGenerationJobs
from airflow_cleanroomsml.emulator.backend.audience_model import AudienceModels
from airflow_cleanroomsml.emulator.backend.configured_audience_model import ConfiguredAudienceModels
from airflow_cleanroomsml.emulator.backend.tags import Tags
from airflow_cleanroomsml.emulator.backend.training_dataset import TrainingDatasets


class CleanRoomsMLBackend(
    TrainingDatasets, AudienceModels, ConfiguredAudienceModels, AudienceGenerationJobs, AudienceExportJobs, Tags
):
    """All operations that the emulator has."""


__all__ = ["CleanRoomsMLBackend"]
