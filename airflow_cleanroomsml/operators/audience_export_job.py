"""Audience export jobs: an audience as files in the S3 location that the configured audience model names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_cleanroomsml._resources.table import AUDIENCE_EXPORT_JOB
from airflow_cleanroomsml.operators._job import CleanRoomsMLJobOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.request_types import AudienceSize
    from airflow_cleanroomsml.typing import CreatingAndWaitingKwargs, Templated


class CleanRoomsMLStartAudienceExportJobOperator(CleanRoomsMLJobOperator):
    """
    Start an audience export job: write an audience of one size, of 10,000 users or more, to S3.

    An export has no ARN and no Get operation: it is found in its generation job's listing by name and size.

    :param name: Name of the export, 1 to 63 characters.
    :param audience_generation_job_arn: ARN of the audience generation job.
    :param audience_size: One of the sizes of the configured audience model, ``{"type": …, "value": …}``.
    :param description: Description, up to 255 characters.
    :return: ``name``, ``audience_generation_job_arn`` and ``output_location``, which is None until it is known, and if the files
        are in another account.
    """

    operation = "start_audience_export_job"
    resource = AUDIENCE_EXPORT_JOB

    def __init__(
        self,
        *,
        name: Templated[str],
        audience_generation_job_arn: Templated[str],
        audience_size: Templated[AudienceSize],
        description: Templated[str] | None = None,
        **kwargs: Unpack[CreatingAndWaitingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.audience_generation_job_arn = audience_generation_job_arn
        self.audience_size = audience_size
        self.description = description

    def build_result(self, identifiers: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what identifies the export, and where it is."""
        return {
            "name": identifiers["name"],
            "audience_generation_job_arn": identifiers["audience_generation_job_arn"],
            "output_location": outputs.get("output_location"),
        }
