"""Training datasets: which Glue table, and which of its columns, a lookalike model learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_cleanroomsml._resources.table import TRAINING_DATASET
from airflow_cleanroomsml.operators._create import CleanRoomsMLCreateOperator
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.request_types import Dataset
    from airflow_cleanroomsml.typing import AwsKwargs, CreatingKwargs, Templated


class CleanRoomsMLCreateTrainingDatasetOperator(CleanRoomsMLCreateOperator):
    """
    Create a training dataset: a reference to a Glue table of interactions.

    The service reads and checks the data only when an audience model is created.

    :param name: Name of the training dataset, 1 to 63 characters, unique in the account and region.
    :param role_arn: ARN of the role that reads the table, in the caller's account.
    :param training_data: One dataset: its type, the schema of its columns, and its Glue table.
    :param tags: Up to 50 tags.
    :param description: Description, up to 255 characters.
    :return: ARN of the training dataset.
    """

    operation = "create_training_dataset"
    returns = "training_dataset_arn"
    resource = TRAINING_DATASET

    def __init__(
        self,
        *,
        name: Templated[str],
        role_arn: Templated[str],
        training_data: Templated[Sequence[Templated[Dataset]]],
        tags: Templated[Mapping[str, Templated[str]]] | None = None,
        description: Templated[str] | None = None,
        **kwargs: Unpack[CreatingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.role_arn = role_arn
        self.training_data = training_data
        self.tags = tags
        self.description = description


class CleanRoomsMLDeleteTrainingDatasetOperator(CleanRoomsMLDeleteOperator):
    """
    Delete a training dataset; the service refuses while audience models depend on it.

    :param training_dataset_arn: ARN of the training dataset.
    """

    operation = "delete_training_dataset"

    def __init__(self, *, training_dataset_arn: Templated[str], **kwargs: Unpack[AwsKwargs]) -> None:
        super().__init__(**kwargs)
        self.training_dataset_arn = training_dataset_arn
