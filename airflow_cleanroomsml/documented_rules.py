"""
Rules that only prose states, with their sources.

What AWS forbids outright is refused like a violation of the model. Where documents disagree or a rule is a limit of another page,
only the service may refuse: such a request is sent, with a warning. Members are in the API's own spelling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from airflow_cleanroomsml.request_check import Violation


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
    if members.get("collaborationId") and len(members["name"]) > 50:
        yield (
            f"name: {len(members['name'])} characters; the other account sees '$account-name' (user guide, ml-behaviors), which must "
            "fit 63 characters: keep it to 50"
        )


_DOUBTS: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "CreateConfiguredAudienceModel": _percentage_bins,
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
