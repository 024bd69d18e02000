"""Wait for a trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_cleanroomsml._resources.table import COLLABORATION_TRAINED_MODEL, TRAINED_MODEL
from airflow_cleanroomsml.sensors._resource import CleanRoomsMLMemberSensor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.typing import GoalKwargs, Templated


class CleanRoomsMLTrainedModelSensor(CleanRoomsMLMemberSensor):
    """
    Wait until a trained model is trained.

    :param trained_model_arn: ARN of the trained model.
    :param membership_identifier: The caller's membership, a UUID, if the model is the caller's own.
    :param collaboration_identifier: The collaboration, a UUID, if it is another member's.
    :param version_identifier: Version, a UUID; the latest if None.
    :return: The ARN.
    """

    resource = TRAINED_MODEL
    partners = COLLABORATION_TRAINED_MODEL

    def __init__(
        self,
        *,
        trained_model_arn: Templated[str],
        membership_identifier: Templated[str] | None = None,
        collaboration_identifier: Templated[str] | None = None,
        version_identifier: Templated[str] | None = None,
        **kwargs: Unpack[GoalKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.trained_model_arn = trained_model_arn
        self.membership_identifier = membership_identifier
        self.collaboration_identifier = collaboration_identifier
        self.version_identifier = version_identifier
