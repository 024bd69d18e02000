"""
The table of resources: how to read and list them, what their statuses mean, how long they may take.

Statuses are those of the service model's enums. A status that is missing here counts as pending, with a warning, until the time-out.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

HOUR = 3600.0
CLEAN_ROOMS = "cleanrooms"
CLEAN_ROOMS_ML = "cleanroomsml"


class Outcome(str, Enum):
    """What a status means to a wait."""

    SUCCESS = "success"
    FAILURE = "failure"
    #: Neither yet; events of the first releases call it ``again``.
    PENDING = "pending"

    @classmethod
    def _missing_(cls, value: object) -> Outcome | None:
        return cls.PENDING if value == "again" else None


class Goal(str, Enum):
    """What a wait is for."""

    CREATED = "created"
    DELETED = "deleted"
    CANCELLED = "cancelled"


_CREATING = ("CREATE_PENDING", "CREATE_IN_PROGRESS")
_DELETING = ("DELETE_PENDING", "DELETE_IN_PROGRESS")
_CANCELLING = ("CANCEL_PENDING", "CANCEL_IN_PROGRESS")

OUTCOMES: dict[Goal, dict[str, Outcome]] = {
    Goal.CREATED: {
        **dict.fromkeys(_CREATING, Outcome.PENDING),
        "ACTIVE": Outcome.SUCCESS,
        "CREATE_FAILED": Outcome.FAILURE,
        # Somebody deletes or cancels the resource, or its data are gone: it will not become ACTIVE.
        **dict.fromkeys((*_DELETING, "DELETE_FAILED", *_CANCELLING, "CANCEL_FAILED", "INACTIVE"), Outcome.FAILURE),
    },
    Goal.DELETED: {
        **dict.fromkeys(_DELETING, Outcome.PENDING),
        # The deletion was accepted; a read that lags still shows the earlier status.
        **dict.fromkeys((*_CREATING, *_CANCELLING, "CANCEL_FAILED", "ACTIVE", "CREATE_FAILED"), Outcome.PENDING),
        # Some operations delete only the data; the description remains.
        "INACTIVE": Outcome.SUCCESS,
        "DELETE_FAILED": Outcome.FAILURE,
    },
    Goal.CANCELLED: {
        # The cancellation was accepted; a read that lags still shows the earlier status. A cancelled job becomes INACTIVE, as there is no
        # status CANCELLED (service model).
        **dict.fromkeys((*_CREATING, *_CANCELLING), Outcome.PENDING),
        "INACTIVE": Outcome.SUCCESS,
        # The job had ended before the cancellation reached it.
        **dict.fromkeys(("ACTIVE", "CREATE_FAILED", *_DELETING, "DELETE_FAILED"), Outcome.SUCCESS),
        "CANCEL_FAILED": Outcome.FAILURE,
    },
}

#: Statuses in which a delete or cancel that is refused with a conflict has already succeeded, or is under way.
REACHED: dict[Goal, frozenset[str]] = {
    Goal.DELETED: frozenset((*_DELETING, "INACTIVE")),
    Goal.CANCELLED: frozenset((*_CANCELLING, *_DELETING, "INACTIVE", "ACTIVE", "CREATE_FAILED")),
}
#: Statuses of a resource that was cancelled or deleted before it was complete, or afterwards.
STOPPED = frozenset((*_CANCELLING, *_DELETING, "INACTIVE"))
#: Statuses of a resource that is being cancelled or deleted, by what a kill does to it.
IN_PROGRESS: dict[str, tuple[str, ...]] = {"cancel": _CANCELLING, "delete": _DELETING}
#: Statuses of a running job.
RUNNING = _CREATING
#: Statuses in which a resource is used instead of creating another.
USABLE = ("ACTIVE", *_CREATING)


# A named tuple, because defining a data class takes ten times as long: this one and those of _waiting took a fifth of the time in which the
# operators are imported.
class Resource(NamedTuple):
    """
    A kind of resource.

    :param noun: Its name in sentences.
    :param list: Operation that lists it.
    :param identifiers: Arguments that identify one: its ARN, and whatever else a read requires; without an ARN, its parent and name.
    :param get: Operation that reads one; None if the API has none, so that the listing is read.
    :param narrow: Arguments that narrow the listing, as far as they are known.
    :param same: Arguments beside the name that an entry of the listing must match.
    :param named: Argument that holds the name.
    :param within: Member of the response that holds the resource; empty if the response itself does.
    :param spelling: Arguments that have another name in the resource's description.
    :param versions: Operation that lists the versions, if one ARN can have several.
    :param timeout: Seconds that it may take: the longest duration in AWS's documentation, plus a margin.
    :param delay: Longest pause between two polls, in seconds.
    :param outputs: Members of the response that are pushed to XCom when it is done, in the API's own spelling.
    :param partners: Whether it may be another member's, whose request is unknown here and may be quoted in its failures.
    :param service: boto3's name of the service.
    :param cancel: Operation that cancels one while it is in progress; None if the API has none.
    :param delete: Operation that deletes one, or its data, if it cannot be cancelled.
    :param failure_advice: What to check once one has failed, a sentence.
    """

    noun: str
    list: str
    identifiers: tuple[str, ...]
    get: str | None = None
    narrow: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    named: str = "name"
    within: str = ""
    spelling: Mapping[str, str] = {}
    versions: str | None = None
    timeout: float = HOUR
    delay: float = 30.0
    outputs: tuple[str, ...] = ()
    partners: bool = False
    service: str = CLEAN_ROOMS_ML
    cancel: str | None = None
    delete: str | None = None
    failure_advice: str = ""

    @property
    def has_own_identifier(self) -> bool:
        """Whether the service assigns it an ARN or a UUID; an export is identified by its parent and name."""
        return "name" not in self.identifiers

    @property
    def has_readable_tags(self) -> bool:
        """
        Whether its tags can be read.

        Exports have none. ListTagsForResource of cleanrooms accepts ARNs of up to 100 characters, and an association's has 161 (service
        model).
        """
        return self.get is not None and self.service == CLEAN_ROOMS_ML


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
    delete="delete_audience_model",
    failure_advice="To check the training data and its role, run CleanRoomsMLCheckTrainingDataOperator.",
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
    narrow=("configured_audience_model_arn",),
    timeout=23 * HOUR,
    delay=60.0,
    outputs=("metrics", "protectedQueryIdentifier", "collaborationId"),
    delete="delete_audience_generation_job",
    failure_advice="To check the seed and its role, run CleanRoomsMLCheckSeedAudienceOperator.",
)
# AWS publishes no duration of an export; this is the limit of a generation job.
AUDIENCE_EXPORT_JOB = Resource(
    "audience export job",
    "list_audience_export_jobs",
    # Exports have no ARN, and those of one job may have the same name if their sizes differ (docs/design/idempotency.md).
    ("audience_generation_job_arn", "name", "audience_size"),
    narrow=("audience_generation_job_arn",),
    same=("audience_size",),
    timeout=10 * HOUR,
    outputs=("outputLocation",),
)
CONFIGURED_AUDIENCE_MODEL_ASSOCIATION = Resource(
    "configured audience model association",
    "list_configured_audience_model_associations",
    ("configured_audience_model_association_identifier", "membership_identifier"),
    "get_configured_audience_model_association",
    narrow=("membership_identifier",),
    named="configured_audience_model_association_name",
    within="configuredAudienceModelAssociation",
    spelling={
        "configured_audience_model_association_identifier": "id",
        "configured_audience_model_association_name": "name",
        "membership_identifier": "membershipId",
    },
    outputs=("collaborationId",),
    service=CLEAN_ROOMS,
)
CONFIGURED_MODEL_ALGORITHM = Resource(
    "configured model algorithm",
    "list_configured_model_algorithms",
    ("configured_model_algorithm_arn",),
    "get_configured_model_algorithm",
)
CONFIGURED_MODEL_ALGORITHM_ASSOCIATION = Resource(
    "configured model algorithm association",
    "list_configured_model_algorithm_associations",
    ("configured_model_algorithm_association_arn", "membership_identifier"),
    "get_configured_model_algorithm_association",
    narrow=("membership_identifier",),
)
# "a few minutes" (user guide, create-ml-input-channel); a protected query may take 12 h, on request 24 h.
ML_INPUT_CHANNEL = Resource(
    "ML input channel",
    "list_ml_input_channels",
    ("ml_input_channel_arn", "membership_identifier"),
    "get_ml_input_channel",
    narrow=("membership_identifier",),
    timeout=25 * HOUR,
    outputs=("protectedQueryIdentifier", "numberOfRecords", "numberOfFiles", "sizeInGb", "collaborationIdentifier"),
    delete="delete_ml_input_channel_data",
    failure_advice="If the error of the query is missing here, the caller needs cleanrooms:GetProtectedQuery to see it.",
)
# The longest maxRuntimeInSeconds is 28 days (service model); the operator uses the request's value.
TRAINED_MODEL = Resource(
    "trained model",
    "list_trained_models",
    ("trained_model_arn", "membership_identifier", "version_identifier"),
    "get_trained_model",
    narrow=("membership_identifier",),
    versions="list_trained_model_versions",
    timeout=29 * 24 * HOUR,
    delay=60.0,
    outputs=(
        "versionIdentifier",
        "logsStatus",
        "logsStatusDetails",
        "metricsStatus",
        "metricsStatusDetails",
        "collaborationIdentifier",
    ),
    cancel="cancel_trained_model",
)
# AWS publishes no duration.
TRAINED_MODEL_EXPORT_JOB = Resource(
    "trained model export job",
    "list_collaboration_trained_model_export_jobs",
    (
        "collaboration_identifier",
        "trained_model_arn",
        "trained_model_version_identifier",
        "membership_identifier",
        "name",
    ),
    narrow=("collaboration_identifier", "trained_model_arn", "trained_model_version_identifier"),
    same=("membership_identifier", "trained_model_version_identifier"),
    timeout=10 * HOUR,
)
# 25 h (user guide, Quotas).
TRAINED_MODEL_INFERENCE_JOB = Resource(
    "trained model inference job",
    "list_trained_model_inference_jobs",
    ("trained_model_inference_job_arn", "membership_identifier"),
    "get_trained_model_inference_job",
    narrow=("membership_identifier", "trained_model_arn"),
    timeout=26 * HOUR,
    delay=60.0,
    outputs=("logsStatus", "logsStatusDetails", "metricsStatus", "metricsStatusDetails"),
    cancel="cancel_trained_model_inference_job",
)
# The same resources as another member of the collaboration sees them.
COLLABORATION_ML_INPUT_CHANNEL = Resource(
    "ML input channel of the collaboration",
    "list_collaboration_ml_input_channels",
    ("ml_input_channel_arn", "collaboration_identifier"),
    "get_collaboration_ml_input_channel",
    narrow=("collaboration_identifier",),
    timeout=ML_INPUT_CHANNEL.timeout,
    outputs=("numberOfRecords",),
    partners=True,
)
COLLABORATION_TRAINED_MODEL = Resource(
    "trained model of the collaboration",
    "list_collaboration_trained_models",
    ("trained_model_arn", "collaboration_identifier", "version_identifier"),
    "get_collaboration_trained_model",
    narrow=("collaboration_identifier",),
    timeout=TRAINED_MODEL.timeout,
    delay=60.0,
    outputs=TRAINED_MODEL.outputs,
    partners=True,
)
COLLABORATION_TRAINED_MODEL_INFERENCE_JOB = Resource(
    "trained model inference job of the collaboration",
    "list_collaboration_trained_model_inference_jobs",
    ("trained_model_inference_job_arn", "collaboration_identifier"),
    narrow=("collaboration_identifier",),
    same=("trained_model_inference_job_arn",),
    timeout=TRAINED_MODEL_INFERENCE_JOB.timeout,
    delay=60.0,
    outputs=TRAINED_MODEL_INFERENCE_JOB.outputs,
    partners=True,
)

RESOURCES: dict[str, Resource] = {
    resource.noun: resource
    for resource in (
        TRAINING_DATASET,
        AUDIENCE_MODEL,
        CONFIGURED_AUDIENCE_MODEL,
        AUDIENCE_GENERATION_JOB,
        AUDIENCE_EXPORT_JOB,
        CONFIGURED_AUDIENCE_MODEL_ASSOCIATION,
        CONFIGURED_MODEL_ALGORITHM,
        CONFIGURED_MODEL_ALGORITHM_ASSOCIATION,
        ML_INPUT_CHANNEL,
        TRAINED_MODEL,
        TRAINED_MODEL_EXPORT_JOB,
        TRAINED_MODEL_INFERENCE_JOB,
        COLLABORATION_ML_INPUT_CHANNEL,
        COLLABORATION_TRAINED_MODEL,
        COLLABORATION_TRAINED_MODEL_INFERENCE_JOB,
    )
}
