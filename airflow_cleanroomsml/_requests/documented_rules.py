"""
Rules that only prose states, with their sources.

What AWS forbids outright is refused like a violation of the model. Where documents disagree or a rule is a limit of another page,
only the service may refuse: such a request is sent, with a warning. Members are in the API's own spelling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from airflow_cleanroomsml._requests.validation import Violation


def broken_rules(members: Mapping[str, Any]) -> list[Violation]:
    """What breaks a rule that AWS states without exception."""
    tags = members.get("tags")
    return [
        # Model documentation of every ``tags`` member: reserved "in any upper or lowercase combination".
        Violation(
            f"tags key {key!r}", "starts with the reserved prefix 'aws:'", "any key that does not start with aws:"
        )
        for key in (tags if isinstance(tags, Mapping) else ())
        if isinstance(key, str) and key.lower().startswith("aws:")
    ]


def _tags(members: Mapping[str, Any]) -> Iterator[str]:
    if len(members.get("tags") or ()) > 50:
        yield "tags: more than 50; the model allows 200, its documentation 50 tags a resource"


def _percentage_bins(members: Mapping[str, Any]) -> Iterator[str]:
    sizes = members.get("audienceSizeConfig") or {}
    high = [value for value in sizes.get("audienceSizeBins", ()) if value > 20]
    if sizes.get("audienceSizeType") == "PERCENTAGE" and high:
        yield (
            f"audience_size_config.audienceSizeBins: {', '.join(map(str, high))} percent; the user guide's quotas page allows 1 to "
            "20 percent, the API reference 1 to 100"
        )


def _generation_job(members: Mapping[str, Any]) -> Iterator[str]:
    seed = members["seedAudience"]
    if ("dataSource" in seed) == ("sqlParameters" in seed):
        yield "seed_audience: give either dataSource or sqlParameters, as the user guide's examples do"
    yield from _query("seed_audience.sqlParameters", seed)
    if members.get("collaborationId") and len(members["name"]) > 50:
        yield (
            f"name: {len(members['name'])} characters; the other account sees '$account-name' (user guide, ml-behaviors), which must "
            "fit 63 characters: keep it to 50"
        )


def _query(path: str, owner: Mapping[str, Any]) -> Iterator[str]:
    query = owner.get("sqlParameters")
    if query is not None and ("queryString" in query) == ("analysisTemplateArn" in query):
        yield f"{path}: give either queryString or analysisTemplateArn; AWS documents neither what both mean nor what none does"


def _ml_input_channel(members: Mapping[str, Any]) -> Iterator[str]:
    path = "input_channel.dataSource.protectedQueryInputParameters"
    source = members["inputChannel"]["dataSource"]
    yield from _query(f"{path}.sqlParameters", source.get("protectedQueryInputParameters") or {})


# No warning of an instance type whose default quota is 0 (all but three, user guide, Quotas): the quota may have been raised, which is
# not known here, and where it was not the service says so at once.
def _trained_model(members: Mapping[str, Any]) -> Iterator[str]:
    channels = len(members["dataChannels"]) + len(members.get("incrementalTrainingDataChannels") or ())
    if channels > 20:
        yield (
            f"data_channels: {channels} with incremental_training_data_channels; the model's documentation allows 20 of both in all, "
            "its shapes 20 and 1"
        )


_DOUBTS: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "CreateConfiguredAudienceModel": _percentage_bins,
    "CreateMLInputChannel": _ml_input_channel,
    "CreateTrainedModel": _trained_model,
    "UpdateConfiguredAudienceModel": _percentage_bins,
    "StartAudienceGenerationJob": _generation_job,
}


def doubtful(operation: str, members: Mapping[str, Any]) -> list[str]:
    """
    What the service may refuse, as warnings with their source.

    :param operation: API operation, for instance ``StartAudienceGenerationJob``.
    :param members: A request that the model allows.
    """
    own = _DOUBTS.get(operation)
    return [*_tags(members), *(own(members) if own else ())]


_LATEST = "the latest version is taken where none is named (model documentation)"
_ANY = "versions are not told apart where none is named (model documentation)"
_UNKNOWN = "which version is taken where none is named is not documented"
# CancelTrainedModel and DeleteTrainedModelOutput take the base version then (model documentation): nothing to warn of.
_WITHOUT_VERSION = {
    "CreateTrainedModel": _LATEST,
    "GetCollaborationTrainedModel": _LATEST,
    "GetTrainedModel": _LATEST,
    "ListCollaborationTrainedModelExportJobs": _ANY,
    "ListCollaborationTrainedModelInferenceJobs": _ANY,
    "ListTrainedModelInferenceJobs": _ANY,
    "StartTrainedModelExportJob": _UNKNOWN,
    "StartTrainedModelInferenceJob": _UNKNOWN,
}


def base_version_doubts(operation: str, paths: Iterable[str]) -> list[str]:
    """
    Where a request means the base version and the service may take another.

    The service calls the base version "NULL" and accepts no such identifier in a request, so it is left out; nothing else can be done.

    :param operation: API operation, for instance ``GetTrainedModel``.
    :param paths: Members that were "NULL".
    """
    doubt = _WITHOUT_VERSION.get(operation)
    return [f'{path}: "NULL" cannot be sent and is left out; {doubt}' for path in paths if doubt]
