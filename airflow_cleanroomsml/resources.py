"""
The table of what takes time or can be looked up by name: how it is read, how it is listed, how long it may take.

Statuses are those of the service model's enums; a status that is in no table here is "again", with a warning, until the time-out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

HOUR = 3600.0


class Outcome(Enum):
    """What a status means to somebody who waits."""

    SUCCESS = "success"
    FAILURE = "failure"
    AGAIN = "again"


class Goal(Enum):
    """What is waited for."""

    CREATED = "created"
    DELETED = "deleted"


_PENDING = dict.fromkeys(("CREATE_PENDING", "CREATE_IN_PROGRESS"), Outcome.AGAIN)
_DELETING = ("DELETE_PENDING", "DELETE_IN_PROGRESS")

OUTCOMES: dict[Goal, dict[str, Outcome]] = {
    Goal.CREATED: {
        **_PENDING,
        "ACTIVE": Outcome.SUCCESS,
        "CREATE_FAILED": Outcome.FAILURE,
        # Somebody deletes what is waited for: it does not come back.
        **dict.fromkeys((*_DELETING, "DELETE_FAILED"), Outcome.FAILURE),
    },
    Goal.DELETED: {
        **dict.fromkeys(_DELETING, Outcome.AGAIN),
        # The deletion was accepted; a read that lags still shows the status from before.
        **dict.fromkeys((*_PENDING, "ACTIVE", "CREATE_FAILED"), Outcome.AGAIN),
        "DELETE_FAILED": Outcome.FAILURE,
    },
}


@dataclass(frozen=True)
class Resource:
    """
    A resource of the service.

    :param noun: Its name in sentences.
    :param list: Operation that lists it.
    :param identifiers: Arguments that name one: the ARN, or for what has none its parent, name and size.
    :param get: Operation that reads one; None where the API has none and the listing is read.
    :param parent: Argument by which the listing is narrowed, where there is one.
    :param timeout: Seconds it may take: the longest that the service's documents name, and a margin.
    :param delay: Longest pause between two looks, in seconds.
    :param reports: Members of the answer that say more at the end, in the API's own spelling.
    """

    noun: str
    list: str
    identifiers: tuple[str, ...]
    get: str | None = None
    parent: str | None = None
    timeout: float = HOUR
    delay: float = 30.0
    reports: tuple[str, ...] = ()


TRAINING_DATASET = Resource(
    "training dataset", "list_training_datasets", ("training_dataset_arn",), "get_training_dataset"
)
# "several hours to 2 days" (user guide, create-ml-model-create-model).
AUDIENCE_MODEL = Resource(
    "audience model",
    "list_audience_models",
    ("audience_model_arn",),
    "get_audience_model",
    timeout=50 * HOUR,
    delay=60.0,
)
CONFIGURED_AUDIENCE_MODEL = Resource(
    "configured audience model",
    "list_configured_audience_models",
    ("configured_audience_model_arn",),
    "get_configured_audience_model",
)
# 10 h, and up to 12 h more for the query of a SQL seed (user guide, Quotas).
AUDIENCE_GENERATION_JOB = Resource(
    "audience generation job",
    "list_audience_generation_jobs",
    ("audience_generation_job_arn",),
    "get_audience_generation_job",
    parent="configured_audience_model_arn",
    timeout=23 * HOUR,
    delay=60.0,
    reports=("metrics", "protectedQueryIdentifier"),
)
# No duration of an export is published; a generation job's own limit is taken.
AUDIENCE_EXPORT_JOB = Resource(
    "audience export job",
    "list_audience_export_jobs",
    ("audience_generation_job_arn", "name", "audience_size"),
    parent="audience_generation_job_arn",
    timeout=10 * HOUR,
    reports=("outputLocation",),
)

RESOURCES: dict[str, Resource] = {
    resource.noun: resource
    for resource in (
        TRAINING_DATASET,
        AUDIENCE_MODEL,
        CONFIGURED_AUDIENCE_MODEL,
        AUDIENCE_GENERATION_JOB,
        AUDIENCE_EXPORT_JOB,
    )
}
