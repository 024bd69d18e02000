"""Sensors: wait for a resource that another task, run or account created; in the worker, rescheduled or deferred."""

from __future__ import annotations

from airflow_cleanroomsml.sensors.audience_export_job import CleanRoomsMLAudienceExportJobSensor
from airflow_cleanroomsml.sensors.audience_generation_job import (
    CleanRoomsMLAudienceGenerationJobSensor,
    CleanRoomsMLNewAudienceGenerationJobsSensor,
)
from airflow_cleanroomsml.sensors.audience_model import CleanRoomsMLAudienceModelSensor
from airflow_cleanroomsml.sensors.ml_input_channel import CleanRoomsMLMLInputChannelSensor
from airflow_cleanroomsml.sensors.trained_model import CleanRoomsMLTrainedModelSensor
from airflow_cleanroomsml.sensors.trained_model_export_job import CleanRoomsMLTrainedModelExportJobSensor
from airflow_cleanroomsml.sensors.trained_model_inference_job import CleanRoomsMLTrainedModelInferenceJobSensor

__all__ = [
    "CleanRoomsMLAudienceExportJobSensor",
    "CleanRoomsMLAudienceGenerationJobSensor",
    "CleanRoomsMLAudienceModelSensor",
    "CleanRoomsMLMLInputChannelSensor",
    "CleanRoomsMLNewAudienceGenerationJobsSensor",
    "CleanRoomsMLTrainedModelExportJobSensor",
    "CleanRoomsMLTrainedModelInferenceJobSensor",
    "CleanRoomsMLTrainedModelSensor",
]
