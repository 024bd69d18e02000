"""ML configurations: where the output, logs and metrics of a collaboration's member go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_cleanroomsml.operators._base import CleanRoomsMLOperator
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.request_types import MLOutputConfiguration
    from airflow_cleanroomsml.typing import AwsKwargs, Templated


class CleanRoomsMLPutMLConfigurationOperator(CleanRoomsMLOperator):
    """
    Write the ML configuration of a membership; it replaces an existing one.

    Without one, a member gets no output, logs or metrics of jobs in the collaboration.

    :param membership_identifier: Membership, a UUID.
    :param default_output_location: The role that writes output, logs and metrics, and the S3 location of output.
    """

    operation = "put_ml_configuration"

    def __init__(
        self,
        *,
        membership_identifier: Templated[str],
        default_output_location: Templated[MLOutputConfiguration],
        **kwargs: Unpack[AwsKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.membership_identifier = membership_identifier
        self.default_output_location = default_output_location


class CleanRoomsMLDeleteMLConfigurationOperator(CleanRoomsMLDeleteOperator):
    """
    Delete the ML configuration of a membership.

    :param membership_identifier: Membership, a UUID.
    """

    operation = "delete_ml_configuration"

    def __init__(self, *, membership_identifier: Templated[str], **kwargs: Unpack[AwsKwargs]) -> None:
        super().__init__(**kwargs)
        self.membership_identifier = membership_identifier
