"""Wait for a trained model export job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._resources.table import TRAINED_MODEL_EXPORT_JOB
from airflow_cleanroomsml.sensors._resource import CleanRoomsMLSensor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.typing import GoalKwargs, Templated


class CleanRoomsMLTrainedModelExportJobSensor(CleanRoomsMLSensor):
    """
    Wait until a trained model export job has ended: the newest of its name, which need not have been started yet.

    :param collaboration_identifier: The collaboration, a UUID.
    :param trained_model_arn: ARN of the trained model.
    :param name: Name of the export.
    :param trained_model_version_identifier: Version, a UUID; any if None.
    :param membership_identifier: Membership that started it, a UUID; any if None.
    :return: ``name``, ``trained_model_arn`` and ``output_location``, which is None: the service does not return it.
    """

    resource = TRAINED_MODEL_EXPORT_JOB

    def __init__(
        self,
        *,
        collaboration_identifier: Templated[str],
        trained_model_arn: Templated[str],
        name: Templated[str],
        trained_model_version_identifier: Templated[str] | None = None,
        membership_identifier: Templated[str] | None = None,
        **kwargs: Unpack[GoalKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.collaboration_identifier = collaboration_identifier
        self.trained_model_arn = trained_model_arn
        self.name = name
        self.trained_model_version_identifier = trained_model_version_identifier
        self.membership_identifier = membership_identifier

    def build_result(self, identifiers: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what identifies the export, and where it is."""
        return {
            "name": identifiers["name"],
            "trained_model_arn": identifiers["trained_model_arn"],
            "output_location": None,
        }
