"""The request rates that AWS publishes (user guide, Quotas), as token buckets."""

from __future__ import annotations

from functools import cache

from airflow_cleanroomsml.emulator.store import Caller

#: Operations by requests per second and burst. Where no burst is published, it is the requests of one second.
_WRITES = {
    (1, 3): ("CreateAudienceModel", "StartAudienceExportJob", "CreateTrainedModel", "StartTrainedModelInferenceJob"),
    (1, 5): ("StartAudienceGenerationJob",),
    (2, 10): (
        "DeleteAudienceModel",
        "DeleteAudienceGenerationJob",
        "DeleteConfiguredModelAlgorithm",
        "DeleteConfiguredModelAlgorithmAssociation",
        "DeleteMLConfiguration",
        "DeleteTrainedModelOutput",
    ),
    (10, 10): (
        "CreateTrainingDataset",
        "CreateConfiguredAudienceModel",
        "CreateConfiguredModelAlgorithm",
        "CreateConfiguredModelAlgorithmAssociation",
        "UpdateConfiguredAudienceModel",
        "PutMLConfiguration",
        "StartTrainedModelExportJob",
        "DeleteTrainingDataset",
        "DeleteConfiguredAudienceModel",
        "TagResource",
    ),
    (25, 25): ("PutConfiguredAudienceModelPolicy", "DeleteConfiguredAudienceModelPolicy"),
    (50, 50): ("UntagResource",),
}
_READS = (50, 50)
#: Reads that the quotas page leaves out, besides those of collaborations.
_UNPUBLISHED = ("GetMLInputChannel",)


@cache
def get_published_rate(operation: str) -> tuple[float, float] | None:
    """
    Return the rate of an operation of Clean Rooms ML.

    :return: Requests per second and burst; None where AWS publishes none.
    """
    for rate, operations in _WRITES.items():
        if operation in operations:
            return rate
    is_read = operation.startswith(("Get", "List")) and "Collaboration" not in operation
    return _READS if is_read and operation not in _UNPUBLISHED else None


class TokenBuckets:
    """A token bucket for each operation in each account and region, full at first."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str, str], tuple[float, float]] = {}

    def clear(self) -> None:
        """Fill all buckets."""
        self._buckets.clear()

    def take(self, operation: str, caller: Caller, now: float) -> bool:
        """
        Take a token.

        :param now: Seconds since 1970.
        :return: False if the bucket is empty.
        """
        rate = get_published_rate(operation)
        if rate is None:
            return True
        # No lock of its own: Service takes tokens under the store's lock.
        key = (operation, caller.account, caller.region)
        tokens, filled_at = self._buckets.get(key, (rate[1], now))
        tokens = min(rate[1], tokens + rate[0] * max(0.0, now - filled_at))
        # Ten times a tenth of a token is a little less than one in binary fractions.
        has_token = tokens >= 1 - 1e-6
        self._buckets[key] = (max(0.0, tokens - 1) if has_token else tokens, now)
        return has_token
