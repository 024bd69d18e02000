"""Audience models: lookalike models, trained on a training dataset."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_cleanroomsml._resources.table import AUDIENCE_MODEL, Goal
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteAndWaitOperator
from airflow_cleanroomsml.operators._job import CleanRoomsMLJobOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.typing import CreatingAndWaitingKwargs, Templated, WaitingKwargs


class CleanRoomsMLCreateAudienceModelOperator(CleanRoomsMLJobOperator):
    """
    Create an audience model: train a lookalike model on a training dataset.

    Takes several hours to two days (user guide); an account trains two at a time.

    :param name: Name of the audience model, 1 to 63 characters.
    :param training_dataset_arn: ARN of the training dataset.
    :param training_data_start_time: Start of the training window.
    :param training_data_end_time: End of the training window.
    :param kms_key_arn: ARN of the KMS key that encrypts the model and its data; aliases are not accepted.
    :param tags: Up to 50 tags.
    :param description: Description, up to 255 characters.
    :return: ARN of the audience model.
    """

    operation = "create_audience_model"
    returns = "audience_model_arn"
    resource = AUDIENCE_MODEL

    def __init__(
        self,
        *,
        name: Templated[str],
        training_dataset_arn: Templated[str],
        training_data_start_time: Templated[datetime] | None = None,
        training_data_end_time: Templated[datetime] | None = None,
        kms_key_arn: Templated[str] | None = None,
        tags: Templated[Mapping[str, Templated[str]]] | None = None,
        description: Templated[str] | None = None,
        **kwargs: Unpack[CreatingAndWaitingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.training_dataset_arn = training_dataset_arn
        self.training_data_start_time = training_data_start_time
        self.training_data_end_time = training_data_end_time
        self.kms_key_arn = kms_key_arn
        self.tags = tags
        self.description = description


class CleanRoomsMLDeleteAudienceModelOperator(CleanRoomsMLDeleteAndWaitOperator):
    """
    Delete an audience model; the service refuses while configured audience models depend on it.

    :param audience_model_arn: ARN of the audience model.
    """

    operation = "delete_audience_model"
    resource = AUDIENCE_MODEL
    goal = Goal.DELETED

    def __init__(self, *, audience_model_arn: Templated[str], **kwargs: Unpack[WaitingKwargs]) -> None:
        super().__init__(**kwargs)
        self.audience_model_arn = audience_model_arn
