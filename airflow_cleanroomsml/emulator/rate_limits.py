"""Request rates that AWS publishes (user guide, Quotas), as token buckets."""

from __future__ import annotations

from functools import cache

from airflow_cleanroomsml.emulator.store import Caller

#: Requests a second, and how many at once.
_CREATES = {
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
_UNPUBLISHED = ("GetMLInputChannel",)


@cache
def published(operation: str) -> tuple[float, float] | None:
    """
    The rate of an operation of Clean Rooms ML and its burst.

    :return: Requests a second and requests at once, or None where no rate is known.
    """
    for rate, operations in _CREATES.items():
        if operation in operations:
            return rate
    reads = operation.startswith(("Get", "List")) and "Collaboration" not in operation
    return _READS if reads and operation not in _UNPUBLISHED else None


class Buckets:
    """A bucket for each operation in each account and region; all are full at first."""

    def __init__(self) -> None:
        self._filled: dict[tuple[str, str, str], tuple[float, float]] = {}

    def clear(self) -> None:
        """Fill them all."""
        self._filled.clear()

    def take(self, operation: str, caller: Caller, now: float) -> bool:
        """
        Take a token.

        :param now: Seconds since 1970.
        :return: Whether there was one.
        """
        rate = published(operation)
        if rate is None:
            return True
        key = (operation, caller.account, caller.region)
        tokens, since = self._filled.get(key, (rate[1], now))
        tokens = min(rate[1], tokens + rate[0] * max(0.0, now - since))
        # A second that is made of tenths is a second, whatever binary fractions make of it.
        enough = tokens >= 1 - 1e-6
        self._filled[key] = (max(0.0, tokens - 1) if enough else tokens, now)
        return enough
