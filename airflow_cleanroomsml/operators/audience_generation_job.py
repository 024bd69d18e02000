"""Audience generation jobs: users like those of a seed (in the console: lookalike segments)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_cleanroomsml._resources.table import AUDIENCE_GENERATION_JOB, Goal
from airflow_cleanroomsml.operators._delete import CleanRoomsMLDeleteAndWaitOperator
from airflow_cleanroomsml.operators._job import CleanRoomsMLJobOperator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from airflow_cleanroomsml.request_types import AudienceGenerationJobDataSource
    from airflow_cleanroomsml.typing import CreatingAndWaitingKwargs, Templated, WaitingKwargs


class CleanRoomsMLStartAudienceGenerationJobOperator(CleanRoomsMLJobOperator):
    """
    Start an audience generation job: rank the training users by their similarity to a seed.

    Takes up to 10 hours, with a SQL seed up to 12 more for the query (user guide, Quotas). At the end the job's metrics are pushed
    to XCom under the key ``metrics``: ``{"relevanceMetrics": [{"audienceSize": …, "score": …}, …], "recallMetric": …}``.

    :param name: Name of the job, 1 to 63 characters, unique in the account; for a job in another account's model up to 50.
    :param configured_audience_model_arn: ARN of the configured audience model.
    :param seed_audience: The seed, a file of JSON lines ``{"user_id": …}`` of 25 to 500,000 users or a SQL query, and the role that
        reads it.
    :param include_seed_in_output: Whether the seed's users are part of the audience.
    :param collaboration_id: Collaboration whose policy allows the job.
    :param description: Description, up to 255 characters.
    :param tags: Up to 50 tags.
    :return: ARN of the audience generation job.
    """

    operation = "start_audience_generation_job"
    returns = "audience_generation_job_arn"
    resource = AUDIENCE_GENERATION_JOB

    def __init__(
        self,
        *,
        name: Templated[str],
        configured_audience_model_arn: Templated[str],
        seed_audience: Templated[AudienceGenerationJobDataSource],
        include_seed_in_output: Templated[bool] | None = None,
        collaboration_id: Templated[str] | None = None,
        description: Templated[str] | None = None,
        tags: Templated[Mapping[str, Templated[str]]] | None = None,
        **kwargs: Unpack[CreatingAndWaitingKwargs],
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.configured_audience_model_arn = configured_audience_model_arn
        self.seed_audience = seed_audience
        self.include_seed_in_output = include_seed_in_output
        self.collaboration_id = collaboration_id
        self.description = description
        self.tags = tags


class CleanRoomsMLDeleteAudienceGenerationJobOperator(CleanRoomsMLDeleteAndWaitOperator):
    """
    Delete an audience generation job and its data; exported audiences remain.

    :param audience_generation_job_arn: ARN of the audience generation job.
    """

    operation = "delete_audience_generation_job"
    resource = AUDIENCE_GENERATION_JOB
    goal = Goal.DELETED

    def __init__(self, *, audience_generation_job_arn: Templated[str], **kwargs: Unpack[WaitingKwargs]) -> None:
        super().__init__(**kwargs)
        self.audience_generation_job_arn = audience_generation_job_arn
