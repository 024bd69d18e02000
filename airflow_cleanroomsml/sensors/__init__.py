"""Sensors: wait for a resource that another task, run or account created; in the worker, rescheduled or deferred."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_cleanroomsml._lazy import export_lazily

if TYPE_CHECKING:
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
else:
    # Type checkers and editors read the imports above; at run time a module is loaded when one of its names is first used.
    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "CleanRoomsMLAudienceExportJobSensor": "audience_export_job",
            "CleanRoomsMLAudienceGenerationJobSensor": "audience_generation_job",
            "CleanRoomsMLAudienceModelSensor": "audience_model",
            "CleanRoomsMLMLInputChannelSensor": "ml_input_channel",
            "CleanRoomsMLNewAudienceGenerationJobsSensor": "audience_generation_job",
            "CleanRoomsMLTrainedModelExportJobSensor": "trained_model_export_job",
            "CleanRoomsMLTrainedModelInferenceJobSensor": "trained_model_inference_job",
            "CleanRoomsMLTrainedModelSensor": "trained_model",
        },
    )

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
