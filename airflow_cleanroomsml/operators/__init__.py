"""Operators: one class an operation of the API, its arguments the request's members in snake_case."""

from __future__ import annotations

from airflow_cleanroomsml.operators.audience_export_job import CleanRoomsMLStartAudienceExportJobOperator
from airflow_cleanroomsml.operators.audience_generation_job import (
    CleanRoomsMLDeleteAudienceGenerationJobOperator,
    CleanRoomsMLStartAudienceGenerationJobOperator,
)
from airflow_cleanroomsml.operators.audience_model import (
    CleanRoomsMLCreateAudienceModelOperator,
    CleanRoomsMLDeleteAudienceModelOperator,
)
from airflow_cleanroomsml.operators.configured_audience_model import (
    CleanRoomsMLCreateConfiguredAudienceModelOperator,
    CleanRoomsMLDeleteConfiguredAudienceModelOperator,
    CleanRoomsMLUpdateConfiguredAudienceModelOperator,
)
from airflow_cleanroomsml.operators.configured_audience_model_policy import (
    CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator,
    CleanRoomsMLPutConfiguredAudienceModelPolicyOperator,
)
from airflow_cleanroomsml.operators.training_dataset import (
    CleanRoomsMLCreateTrainingDatasetOperator,
    CleanRoomsMLDeleteTrainingDatasetOperator,
)

__all__ = [
    "CleanRoomsMLCreateAudienceModelOperator",
    "CleanRoomsMLCreateConfiguredAudienceModelOperator",
    "CleanRoomsMLCreateTrainingDatasetOperator",
    "CleanRoomsMLDeleteAudienceGenerationJobOperator",
    "CleanRoomsMLDeleteAudienceModelOperator",
    "CleanRoomsMLDeleteConfiguredAudienceModelOperator",
    "CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator",
    "CleanRoomsMLDeleteTrainingDatasetOperator",
    "CleanRoomsMLPutConfiguredAudienceModelPolicyOperator",
    "CleanRoomsMLStartAudienceExportJobOperator",
    "CleanRoomsMLStartAudienceGenerationJobOperator",
    "CleanRoomsMLUpdateConfiguredAudienceModelOperator",
]
