"""Wait for an audience export job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._resources.table import AUDIENCE_EXPORT_JOB
from airflow_cleanroomsml.sensors._resource import CleanRoomsMLSensor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.request_types import AudienceSize
    from airflow_cleanroomsml.typing import GoalKwargs, Templated


class CleanRoomsMLAudienceExportJobSensor(CleanRoomsMLSensor):
    """
    Wait until an audience export job has ended: the newest of its name, which need not have been started yet.

    :param audience_generation_job_arn: ARN of the generation job in the caller's account.
    :param name: Name of the export.
    :param audience_size: Its size, ``{"type": …, "value": …}``, if several exports have that name.
    :return: ``name``, ``audience_generation_job_arn`` and ``output_location``, which is None if the files are in another account.
    """

    resource = AUDIENCE_EXPORT_JOB

    def __init__(
        self,
        *,
        audience_generation_job_arn: Templated[str],
        name: Templated[str],
        audience_size: Templated[AudienceSize] | None = None,
        **kwargs: Unpack[GoalKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.audience_generation_job_arn = audience_generation_job_arn
        self.name = name
        self.audience_size = audience_size

    def build_result(self, identifiers: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what identifies the export, and where it is."""
        return {
            "name": identifiers["name"],
            "audience_generation_job_arn": identifiers["audience_generation_job_arn"],
            "output_location": outputs.get("output_location"),
        }
