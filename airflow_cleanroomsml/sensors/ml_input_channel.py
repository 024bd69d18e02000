"""Wait for an ML input channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_cleanroomsml._resources.table import COLLABORATION_ML_INPUT_CHANNEL, ML_INPUT_CHANNEL
from airflow_cleanroomsml.sensors._resource import CleanRoomsMLMemberSensor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.typing import GoalKwargs, Templated


class CleanRoomsMLMLInputChannelSensor(CleanRoomsMLMemberSensor):
    """
    Wait until an ML input channel has its data.

    :param ml_input_channel_arn: ARN of the ML input channel.
    :param membership_identifier: The caller's membership, a UUID, if the channel is the caller's own.
    :param collaboration_identifier: The collaboration, a UUID, if it is another member's.
    :return: The ARN.
    """

    resource = ML_INPUT_CHANNEL
    partners = COLLABORATION_ML_INPUT_CHANNEL

    def __init__(
        self,
        *,
        ml_input_channel_arn: Templated[str],
        membership_identifier: Templated[str] | None = None,
        collaboration_identifier: Templated[str] | None = None,
        **kwargs: Unpack[GoalKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.ml_input_channel_arn = ml_input_channel_arn
        self.membership_identifier = membership_identifier
        self.collaboration_identifier = collaboration_identifier
