"""ML input channels: the result of a query over the collaboration's tables, as training or inference data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_cleanroomsml._resources.table import ML_INPUT_CHANNEL, Goal
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteAndWaitOperator
from airflow_cleanroomsml.operators._job import CleanRoomsMLJobOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.request_types import InputChannel, PayerConfiguration
    from airflow_cleanroomsml.typing import CreatingAndWaitingKwargs, Templated, WaitingKwargs


class CleanRoomsMLCreateMLInputChannelOperator(CleanRoomsMLJobOperator):
    """
    Create an ML input channel: run a query, and keep its result for training or inference.

    Takes a few minutes. When it is done, ``protected_query_identifier``, ``number_of_records``, ``number_of_files`` and ``size_in_gb`` are
    pushed to XCom, if the service returns them.

    :param membership_identifier: Membership of the member that may query, a UUID.
    :param configured_model_algorithm_associations: ARN of the algorithm association that uses the data.
    :param input_channel: The query, its workers and result format, and the role that runs it. It is hidden in logs and in the UI.
    :param name: Name of the channel, 1 to 63 characters.
    :param retention_in_days: Days for which the data are kept, 1 to 30.
    :param payer_configuration: Accounts that pay for the query and for synthetic data.
    :param kms_key_arn: ARN of the KMS key that encrypts the data; aliases are not accepted.
    :param tags: Up to 50 tags.
    :param description: Description, up to 255 characters.
    :return: ARN of the ML input channel.
    """

    operation = "create_ml_input_channel"
    returns = "ml_input_channel_arn"
    resource = ML_INPUT_CHANNEL

    def __init__(
        self,
        *,
        membership_identifier: Templated[str],
        configured_model_algorithm_associations: Templated[Sequence[Templated[str]]],
        input_channel: Templated[InputChannel],
        name: Templated[str],
        retention_in_days: Templated[int],
        payer_configuration: Templated[PayerConfiguration] | None = None,
        kms_key_arn: Templated[str] | None = None,
        tags: Templated[Mapping[str, Templated[str]]] | None = None,
        description: Templated[str] | None = None,
        **kwargs: Unpack[CreatingAndWaitingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.membership_identifier = membership_identifier
        self.configured_model_algorithm_associations = configured_model_algorithm_associations
        self.input_channel = input_channel
        self.name = name
        self.retention_in_days = retention_in_days
        self.payer_configuration = payer_configuration
        self.kms_key_arn = kms_key_arn
        self.tags = tags
        self.description = description


class CleanRoomsMLDeleteMLInputChannelDataOperator(CleanRoomsMLDeleteAndWaitOperator):
    """
    Delete the data of an ML input channel; its description remains, with the status INACTIVE.

    :param membership_identifier: Membership of the channel's owner, a UUID.
    :param ml_input_channel_arn: ARN of the ML input channel.
    """

    operation = "delete_ml_input_channel_data"
    resource = ML_INPUT_CHANNEL
    goal = Goal.DELETED

    def __init__(
        self,
        *,
        membership_identifier: Templated[str],
        ml_input_channel_arn: Templated[str],
        **kwargs: Unpack[WaitingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.membership_identifier = membership_identifier
        self.ml_input_channel_arn = ml_input_channel_arn
