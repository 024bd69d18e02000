"""Wait for a trained model inference job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_cleanroomsml._resources.table import COLLABORATION_TRAINED_MODEL_INFERENCE_JOB, TRAINED_MODEL_INFERENCE_JOB
from airflow_cleanroomsml.sensors._resource import CleanRoomsMLMemberSensor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.typing import GoalKwargs, Templated


class CleanRoomsMLTrainedModelInferenceJobSensor(CleanRoomsMLMemberSensor):
    """
    Wait until an inference job has ended.

    :param trained_model_inference_job_arn: ARN of the inference job.
    :param membership_identifier: The caller's membership, a UUID, if the job is the caller's own.
    :param collaboration_identifier: The collaboration, a UUID, if it is another member's.
    :return: The ARN.
    """

    resource = TRAINED_MODEL_INFERENCE_JOB
    partners = COLLABORATION_TRAINED_MODEL_INFERENCE_JOB

    def __init__(
        self,
        *,
        trained_model_inference_job_arn: Templated[str],
        membership_identifier: Templated[str] | None = None,
        collaboration_identifier: Templated[str] | None = None,
        **kwargs: Unpack[GoalKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.trained_model_inference_job_arn = trained_model_inference_job_arn
        self.membership_identifier = membership_identifier
        self.collaboration_identifier = collaboration_identifier
