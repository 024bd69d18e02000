"""
Rules that AWS documents but its service model does not contain, with their sources.

A request that breaks an unconditional rule is rejected like one that violates the model. Where documents disagree, or a rule is on another
page, only the service can decide: such a request is sent, with a warning. Members are in the API's own spelling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from airflow_cleanroomsml._requests.violations import Violation


def find_broken_rules(members: Mapping[str, Any]) -> list[Violation]:
    """Return the violations of rules that AWS states unconditionally."""
    tags = members.get("tags")
    return [
        # The prefix is reserved "in any upper or lowercase combination" (API reference, all tags members).
        Violation(
            f"tags key {key!r}", "starts with the reserved prefix 'aws:'", "allowed: keys that do not start with aws:"
        )
        for key in (tags if isinstance(tags, Mapping) else ())
        if isinstance(key, str) and key.lower().startswith("aws:")
    ]


def _check_tags(members: Mapping[str, Any]) -> Iterator[str]:
    if len(members.get("tags") or ()) > 50:
        yield "tags: more than 50; the service model allows 200, but its documentation only 50 per resource; use at most 50"


def _check_percentage_bins(members: Mapping[str, Any]) -> Iterator[str]:
    sizes = members.get("audienceSizeConfig") or {}
    high = [value for value in sizes.get("audienceSizeBins", ()) if value > 20]
    if sizes.get("audienceSizeType") == "PERCENTAGE" and high:
        yield (
            f"audience_size_config.audienceSizeBins: {', '.join(map(str, high))} percent; the user guide's quotas page allows 1 to "
            "20 percent, but the API reference 1 to 100"
        )


def _check_generation_job(members: Mapping[str, Any]) -> Iterator[str]:
    seed = members["seedAudience"]
    if ("dataSource" in seed) == ("sqlParameters" in seed):
        yield "seed_audience: expected either dataSource or sqlParameters, as in the examples of the user guide"
    yield from _check_query("seed_audience.sqlParameters", seed)
    if members.get("collaborationId") and len(members["name"]) > 50:
        yield (
            f"name: {len(members['name'])} characters; the other account sees '$account-name' (user guide, ml-behaviors), which has "
            "at most 63 characters: use at most 50"
        )


def _check_query(path: str, owner: Mapping[str, Any]) -> Iterator[str]:
    query = owner.get("sqlParameters")
    if query is not None and ("queryString" in query) == ("analysisTemplateArn" in query):
        yield f"{path}: expected either queryString or analysisTemplateArn; AWS does not document what both or neither mean"


def _check_ml_input_channel(members: Mapping[str, Any]) -> Iterator[str]:
    path = "input_channel.dataSource.protectedQueryInputParameters"
    source = members["inputChannel"]["dataSource"]
    yield from _check_query(f"{path}.sqlParameters", source.get("protectedQueryInputParameters") or {})


# There is no warning about instance types whose default quota is 0 (all but three, user guide, Quotas): the quota may have been raised, and
# if not, the service rejects the request at once.
def _check_trained_model(members: Mapping[str, Any]) -> Iterator[str]:
    channels = len(members["dataChannels"]) + len(members.get("incrementalTrainingDataChannels") or ())
    if channels > 20:
        yield (
            f"data_channels: {channels} with incremental_training_data_channels; the documentation of the service model allows 20 "
            "in total, although its limits for the two lists are 20 and 1; use at most 20 in total"
        )


_CHECKS: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "CreateConfiguredAudienceModel": _check_percentage_bins,
    "CreateMLInputChannel": _check_ml_input_channel,
    "CreateTrainedModel": _check_trained_model,
    "UpdateConfiguredAudienceModel": _check_percentage_bins,
    "StartAudienceGenerationJob": _check_generation_job,
}


def find_warnings(operation: str, members: Mapping[str, Any]) -> list[str]:
    """
    Return warnings about what the service may reject, with their sources.

    :param operation: API operation, for instance ``StartAudienceGenerationJob``.
    :param members: A request that the model allows.
    """
    check = _CHECKS.get(operation)
    return [*_check_tags(members), *(check(members) if check else ())]


_LATEST = "the default is the latest version (API reference)"
_ANY = "the default is all versions (API reference)"
_UNKNOWN = "the default version is not documented"
# CancelTrainedModel and DeleteTrainedModelOutput are missing, because their default is the base version (API reference).
_DEFAULT_VERSIONS = {
    "CreateTrainedModel": _LATEST,
    "GetCollaborationTrainedModel": _LATEST,
    "GetTrainedModel": _LATEST,
    "ListCollaborationTrainedModelExportJobs": _ANY,
    "ListCollaborationTrainedModelInferenceJobs": _ANY,
    "ListTrainedModelInferenceJobs": _ANY,
    "StartTrainedModelExportJob": _UNKNOWN,
    "StartTrainedModelInferenceJob": _UNKNOWN,
}


def find_base_version_warnings(operation: str, paths: Iterable[str]) -> list[str]:
    """
    Return warnings about a request that means the base version, if the service may use another one.

    The service returns "NULL" as the identifier of the base version, but does not accept it in requests, so it has to be omitted.

    :param operation: API operation, for instance ``GetTrainedModel``.
    :param paths: Paths of members that were "NULL".
    """
    default = _DEFAULT_VERSIONS.get(operation)
    return [
        f'{path}: "NULL" (the base version) cannot be sent and was omitted, so the service may use another version: {default}'
        for path in paths
        if default
    ]
