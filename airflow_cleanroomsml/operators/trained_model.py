"""Trained models: custom models that an associated algorithm trains on ML input channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._resources import lookup
from airflow_cleanroomsml._resources.handle import Handle
from airflow_cleanroomsml._resources.table import HOUR, TRAINED_MODEL, Goal
from airflow_cleanroomsml.exceptions import CleanRoomsMLError
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteAndWaitOperator
from airflow_cleanroomsml.operators._job import CleanRoomsMLJobOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.request_types import (
        IncrementalTrainingDataChannel,
        ModelTrainingDataChannel,
        ResourceConfig,
        StoppingCondition,
        TrainingInputMode,
    )
    from airflow_cleanroomsml.typing import CreatingAndWaitingKwargs, Templated, WaitingKwargs


class CleanRoomsMLCreateTrainedModelOperator(CleanRoomsMLJobOperator):
    """
    Create a trained model: run the training container of an associated algorithm on ML input channels.

    Takes as long as ``stopping_condition`` allows, or up to 28 days without one. ``version_identifier`` is pushed to XCom: ``NULL`` for
    a first version, which other operators omit from their requests. So are ``logs_status`` and ``metrics_status``; a model may be
    ACTIVE although its logs were lost, and the task then logs a warning.

    :param membership_identifier: Membership of the member that may query, a UUID.
    :param name: Name of the trained model, 1 to 63 characters, unique in the collaboration.
    :param configured_model_algorithm_association_arn: ARN of the algorithm association.
    :param resource_config: Type and number of instances, and the size of their volume in GB.
    :param data_channels: 1 to 20 ML input channels and the names under which the container finds them.
    :param incremental_training_data_channels: The trained model, and its version, to continue training from.
    :param training_input_mode: How the container gets the data: ``File``, ``FastFile`` or ``Pipe``.
    :param hyperparameters: Up to 100 strings; numbers are strings, too.
    :param environment: Up to 100 environment variables of the container. They are hidden in logs and in the UI.
    :param stopping_condition: Maximum training time in seconds, up to 2,419,200 (28 days).
    :param ml_model_training_payer_account_id: Account that pays.
    :param kms_key_arn: ARN of the KMS key that encrypts the model; aliases are not accepted.
    :param tags: Up to 50 tags.
    :param description: Description, up to 255 characters.
    :return: ARN of the trained model.
    """

    operation = "create_trained_model"
    returns = "trained_model_arn"
    resource = TRAINED_MODEL

    def __init__(
        self,
        *,
        membership_identifier: Templated[str],
        name: Templated[str],
        configured_model_algorithm_association_arn: Templated[str],
        resource_config: Templated[ResourceConfig],
        data_channels: Templated[Sequence[Templated[ModelTrainingDataChannel]]],
        incremental_training_data_channels: Templated[Sequence[Templated[IncrementalTrainingDataChannel]]]
        | None = None,
        training_input_mode: Templated[TrainingInputMode] | None = None,
        hyperparameters: Templated[Mapping[str, Templated[str]]] | None = None,
        environment: Templated[Mapping[str, Templated[str]]] | None = None,
        stopping_condition: Templated[StoppingCondition] | None = None,
        ml_model_training_payer_account_id: Templated[str] | None = None,
        kms_key_arn: Templated[str] | None = None,
        tags: Templated[Mapping[str, Templated[str]]] | None = None,
        description: Templated[str] | None = None,
        **kwargs: Unpack[CreatingAndWaitingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.membership_identifier = membership_identifier
        self.name = name
        self.configured_model_algorithm_association_arn = configured_model_algorithm_association_arn
        self.resource_config = resource_config
        self.data_channels = data_channels
        self.incremental_training_data_channels = incremental_training_data_channels
        self.training_input_mode = training_input_mode
        self.hyperparameters = hyperparameters
        self.environment = environment
        self.stopping_condition = stopping_condition
        self.ml_model_training_payer_account_id = ml_model_training_payer_account_id
        self.kms_key_arn = kms_key_arn
        self.tags = tags
        self.description = description

    def estimate_timeout(self, handle: Handle, *, knows_request: bool) -> float:
        """``maxRuntimeInSeconds`` and 6 hours, for instances to start and output to be written; without it 29 days."""
        # A time-out before the service's own would report a job as stuck although its stopping condition ends it.
        members = self.load_request().members if knows_request else self._read_description(handle)
        seconds = (members.get("stoppingCondition") or {}).get("maxRuntimeInSeconds")
        return seconds + 6 * HOUR if seconds else self.resource.timeout

    def _read_description(self, handle: Handle) -> Mapping[str, Any]:
        """Read the model that an earlier try created: its request may have had another stopping condition."""
        try:
            return lookup.read_latest(self.hook, self.resource, handle.identifiers)
        except CleanRoomsMLError as error:
            self.log.info(
                "Could not read the stopping condition of the model, so the longest time-out applies: %s", error
            )
            return {}


class CleanRoomsMLCancelTrainedModelOperator(CleanRoomsMLDeleteAndWaitOperator):
    """
    Cancel the training of a model; do nothing if it has ended.

    :param membership_identifier: Membership of the model's owner, a UUID.
    :param trained_model_arn: ARN of the trained model.
    :param version_identifier: Version, a UUID; the first version if None.
    """

    operation = "cancel_trained_model"
    resource = TRAINED_MODEL
    goal = Goal.CANCELLED

    def __init__(
        self,
        *,
        membership_identifier: Templated[str],
        trained_model_arn: Templated[str],
        version_identifier: Templated[str] | None = None,
        **kwargs: Unpack[WaitingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.membership_identifier = membership_identifier
        self.trained_model_arn = trained_model_arn
        self.version_identifier = version_identifier


class CleanRoomsMLDeleteTrainedModelOutputOperator(CleanRoomsMLDeleteAndWaitOperator):
    """
    Delete the artifacts of a trained model; its description remains, with the status INACTIVE.

    :param membership_identifier: Membership of the model's owner, a UUID.
    :param trained_model_arn: ARN of the trained model.
    :param version_identifier: Version, a UUID; the first version if None.
    """

    operation = "delete_trained_model_output"
    resource = TRAINED_MODEL
    goal = Goal.DELETED

    def __init__(
        self,
        *,
        membership_identifier: Templated[str],
        trained_model_arn: Templated[str],
        version_identifier: Templated[str] | None = None,
        **kwargs: Unpack[WaitingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.membership_identifier = membership_identifier
        self.trained_model_arn = trained_model_arn
        self.version_identifier = version_identifier
