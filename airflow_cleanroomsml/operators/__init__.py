"""Operators: one class an operation of the API, its arguments the request's members in snake_case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_cleanroomsml._lazy import export_lazily

if TYPE_CHECKING:
    from airflow_cleanroomsml.operators.audience_export_job import (
        CleanRoomsMLStartAudienceExportJobOperator,
    )
    from airflow_cleanroomsml.operators.audience_generation_job import (
        CleanRoomsMLDeleteAudienceGenerationJobOperator,
        CleanRoomsMLStartAudienceGenerationJobOperator,
    )
    from airflow_cleanroomsml.operators.audience_model import (
        CleanRoomsMLCreateAudienceModelOperator,
        CleanRoomsMLDeleteAudienceModelOperator,
    )
    from airflow_cleanroomsml.operators.audience_size import (
        CleanRoomsMLChooseAudienceSizeOperator,
    )
    from airflow_cleanroomsml.operators.call import (
        CleanRoomsMLCallOperator,
    )
    from airflow_cleanroomsml.operators.collaboration import (
        CleanRoomsFindConfiguredAudienceModelOperator,
        CleanRoomsFindMembershipOperator,
    )
    from airflow_cleanroomsml.operators.configured_audience_model import (
        CleanRoomsMLCreateConfiguredAudienceModelOperator,
        CleanRoomsMLDeleteConfiguredAudienceModelOperator,
        CleanRoomsMLUpdateConfiguredAudienceModelOperator,
    )
    from airflow_cleanroomsml.operators.configured_audience_model_association import (
        CleanRoomsCreateConfiguredAudienceModelAssociationOperator,
        CleanRoomsDeleteConfiguredAudienceModelAssociationOperator,
        CleanRoomsUpdateConfiguredAudienceModelAssociationOperator,
    )
    from airflow_cleanroomsml.operators.configured_audience_model_policy import (
        CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator,
        CleanRoomsMLPutConfiguredAudienceModelPolicyOperator,
    )
    from airflow_cleanroomsml.operators.configured_model_algorithm import (
        CleanRoomsMLCreateConfiguredModelAlgorithmOperator,
        CleanRoomsMLDeleteConfiguredModelAlgorithmOperator,
    )
    from airflow_cleanroomsml.operators.configured_model_algorithm_association import (
        CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator,
        CleanRoomsMLDeleteConfiguredModelAlgorithmAssociationOperator,
    )
    from airflow_cleanroomsml.operators.data_check import (
        CleanRoomsMLCheckSeedAudienceOperator,
        CleanRoomsMLCheckTrainingDataOperator,
    )
    from airflow_cleanroomsml.operators.ml_configuration import (
        CleanRoomsMLDeleteMLConfigurationOperator,
        CleanRoomsMLPutMLConfigurationOperator,
    )
    from airflow_cleanroomsml.operators.ml_input_channel import (
        CleanRoomsMLCreateMLInputChannelOperator,
        CleanRoomsMLDeleteMLInputChannelDataOperator,
    )
    from airflow_cleanroomsml.operators.retraining import (
        CleanRoomsMLCheckAudienceModelAgeOperator,
        CleanRoomsMLPromoteAudienceModelOperator,
        CleanRoomsMLPruneAudienceModelsOperator,
    )
    from airflow_cleanroomsml.operators.tags import (
        CleanRoomsMLTagResourceOperator,
        CleanRoomsMLUntagResourceOperator,
    )
    from airflow_cleanroomsml.operators.trained_model import (
        CleanRoomsMLCancelTrainedModelOperator,
        CleanRoomsMLCreateTrainedModelOperator,
        CleanRoomsMLDeleteTrainedModelOutputOperator,
    )
    from airflow_cleanroomsml.operators.trained_model_export_job import (
        CleanRoomsMLStartTrainedModelExportJobOperator,
    )
    from airflow_cleanroomsml.operators.trained_model_inference_job import (
        CleanRoomsMLCancelTrainedModelInferenceJobOperator,
        CleanRoomsMLStartTrainedModelInferenceJobOperator,
    )
    from airflow_cleanroomsml.operators.training_dataset import (
        CleanRoomsMLCreateTrainingDatasetOperator,
        CleanRoomsMLDeleteTrainingDatasetOperator,
    )
else:
    # Type checkers and editors read the imports above; at run time a module is loaded when one of its names is first used.
    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "CleanRoomsCreateConfiguredAudienceModelAssociationOperator": "configured_audience_model_association",
            "CleanRoomsDeleteConfiguredAudienceModelAssociationOperator": "configured_audience_model_association",
            "CleanRoomsFindConfiguredAudienceModelOperator": "collaboration",
            "CleanRoomsFindMembershipOperator": "collaboration",
            "CleanRoomsMLCallOperator": "call",
            "CleanRoomsMLCancelTrainedModelInferenceJobOperator": "trained_model_inference_job",
            "CleanRoomsMLCancelTrainedModelOperator": "trained_model",
            "CleanRoomsMLCheckAudienceModelAgeOperator": "retraining",
            "CleanRoomsMLCheckSeedAudienceOperator": "data_check",
            "CleanRoomsMLCheckTrainingDataOperator": "data_check",
            "CleanRoomsMLChooseAudienceSizeOperator": "audience_size",
            "CleanRoomsMLCreateAudienceModelOperator": "audience_model",
            "CleanRoomsMLCreateConfiguredAudienceModelOperator": "configured_audience_model",
            "CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator": "configured_model_algorithm_association",
            "CleanRoomsMLCreateConfiguredModelAlgorithmOperator": "configured_model_algorithm",
            "CleanRoomsMLCreateMLInputChannelOperator": "ml_input_channel",
            "CleanRoomsMLCreateTrainedModelOperator": "trained_model",
            "CleanRoomsMLCreateTrainingDatasetOperator": "training_dataset",
            "CleanRoomsMLDeleteAudienceGenerationJobOperator": "audience_generation_job",
            "CleanRoomsMLDeleteAudienceModelOperator": "audience_model",
            "CleanRoomsMLDeleteConfiguredAudienceModelOperator": "configured_audience_model",
            "CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator": "configured_audience_model_policy",
            "CleanRoomsMLDeleteConfiguredModelAlgorithmAssociationOperator": "configured_model_algorithm_association",
            "CleanRoomsMLDeleteConfiguredModelAlgorithmOperator": "configured_model_algorithm",
            "CleanRoomsMLDeleteMLConfigurationOperator": "ml_configuration",
            "CleanRoomsMLDeleteMLInputChannelDataOperator": "ml_input_channel",
            "CleanRoomsMLDeleteTrainedModelOutputOperator": "trained_model",
            "CleanRoomsMLDeleteTrainingDatasetOperator": "training_dataset",
            "CleanRoomsMLPromoteAudienceModelOperator": "retraining",
            "CleanRoomsMLPruneAudienceModelsOperator": "retraining",
            "CleanRoomsMLPutConfiguredAudienceModelPolicyOperator": "configured_audience_model_policy",
            "CleanRoomsMLPutMLConfigurationOperator": "ml_configuration",
            "CleanRoomsMLStartAudienceExportJobOperator": "audience_export_job",
            "CleanRoomsMLStartAudienceGenerationJobOperator": "audience_generation_job",
            "CleanRoomsMLStartTrainedModelExportJobOperator": "trained_model_export_job",
            "CleanRoomsMLStartTrainedModelInferenceJobOperator": "trained_model_inference_job",
            "CleanRoomsMLTagResourceOperator": "tags",
            "CleanRoomsMLUntagResourceOperator": "tags",
            "CleanRoomsMLUpdateConfiguredAudienceModelOperator": "configured_audience_model",
            "CleanRoomsUpdateConfiguredAudienceModelAssociationOperator": "configured_audience_model_association",
        },
    )

__all__ = [
    "CleanRoomsCreateConfiguredAudienceModelAssociationOperator",
    "CleanRoomsDeleteConfiguredAudienceModelAssociationOperator",
    "CleanRoomsFindConfiguredAudienceModelOperator",
    "CleanRoomsFindMembershipOperator",
    "CleanRoomsMLCallOperator",
    "CleanRoomsMLCancelTrainedModelInferenceJobOperator",
    "CleanRoomsMLCancelTrainedModelOperator",
    "CleanRoomsMLCheckAudienceModelAgeOperator",
    "CleanRoomsMLCheckSeedAudienceOperator",
    "CleanRoomsMLCheckTrainingDataOperator",
    "CleanRoomsMLChooseAudienceSizeOperator",
    "CleanRoomsMLCreateAudienceModelOperator",
    "CleanRoomsMLCreateConfiguredAudienceModelOperator",
    "CleanRoomsMLCreateConfiguredModelAlgorithmAssociationOperator",
    "CleanRoomsMLCreateConfiguredModelAlgorithmOperator",
    "CleanRoomsMLCreateMLInputChannelOperator",
    "CleanRoomsMLCreateTrainedModelOperator",
    "CleanRoomsMLCreateTrainingDatasetOperator",
    "CleanRoomsMLDeleteAudienceGenerationJobOperator",
    "CleanRoomsMLDeleteAudienceModelOperator",
    "CleanRoomsMLDeleteConfiguredAudienceModelOperator",
    "CleanRoomsMLDeleteConfiguredAudienceModelPolicyOperator",
    "CleanRoomsMLDeleteConfiguredModelAlgorithmAssociationOperator",
    "CleanRoomsMLDeleteConfiguredModelAlgorithmOperator",
    "CleanRoomsMLDeleteMLConfigurationOperator",
    "CleanRoomsMLDeleteMLInputChannelDataOperator",
    "CleanRoomsMLDeleteTrainedModelOutputOperator",
    "CleanRoomsMLDeleteTrainingDatasetOperator",
    "CleanRoomsMLPromoteAudienceModelOperator",
    "CleanRoomsMLPruneAudienceModelsOperator",
    "CleanRoomsMLPutConfiguredAudienceModelPolicyOperator",
    "CleanRoomsMLPutMLConfigurationOperator",
    "CleanRoomsMLStartAudienceExportJobOperator",
    "CleanRoomsMLStartAudienceGenerationJobOperator",
    "CleanRoomsMLStartTrainedModelExportJobOperator",
    "CleanRoomsMLStartTrainedModelInferenceJobOperator",
    "CleanRoomsMLTagResourceOperator",
    "CleanRoomsMLUntagResourceOperator",
    "CleanRoomsMLUpdateConfiguredAudienceModelOperator",
    "CleanRoomsUpdateConfiguredAudienceModelAssociationOperator",
]
