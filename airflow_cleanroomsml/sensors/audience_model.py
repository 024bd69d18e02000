"""Wait for an audience model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_cleanroomsml._resources.table import AUDIENCE_MODEL
from airflow_cleanroomsml.sensors._resource import CleanRoomsMLSensor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.typing import GoalKwargs, Templated


class CleanRoomsMLAudienceModelSensor(CleanRoomsMLSensor):
    """
    Wait until an audience model is trained.

    :param audience_model_arn: ARN of the audience model.
    :return: The ARN.
    """

    resource = AUDIENCE_MODEL

    def __init__(self, *, audience_model_arn: Templated[str], **kwargs: Unpack[GoalKwargs]) -> None:
        super().__init__(**kwargs)
        self.audience_model_arn = audience_model_arn
