"""Which size of an audience to export, by the metrics of its generation job."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

#: Relevance, at the middle of a curve, by which it has to leave the straight line for a knee to be seen.
_STRAIGHT = 1e-9
PERCENTAGE = "PERCENTAGE"


class Bin(NamedTuple):
    """
    An audience of one size.

    :param kind: ``ABSOLUTE`` or ``PERCENTAGE``.
    :param value: Number of users, or per cent of the training users.
    :param relevance: Its relevance score, from -1 to 1 (user guide, ml-metrics); None where the service gives none.
    """

    kind: str
    value: int
    relevance: float | None = None

    @property
    def size(self) -> dict[str, Any]:
        """The size as an export takes it."""
        return {"type": self.kind, "value": self.value}

    def users(self, training_users: int | None) -> float:
        """Return the number of users; a percentage needs the number of training users."""
        return self.value * (training_users or 0) / 100 if self.kind == PERCENTAGE else self.value

    def __str__(self) -> str:
        """Return the size in words."""
        return f"{self.value:,} {'%' if self.kind == PERCENTAGE else 'users'}"


class Metrics(NamedTuple):
    """
    The metrics of a generation job.

    :param bins: Its sizes, the smallest first.
    :param recall: Its recall, from 0 to 1; None where the service gives none.
    :param random_recall: The recall of a random selection; None where it is unknown.
    """

    bins: tuple[Bin, ...]
    recall: float | None
    random_recall: float | None

    def __str__(self) -> str:
        """Return recall and relevance in one line."""
        recall = "unknown" if self.recall is None else f"{self.recall:.2f}"
        random = "unknown" if self.random_recall is None else f"{self.random_recall:.2f}"
        curve = ", ".join(f"{bin_.relevance:.2f} at {bin_}" for bin_ in _select_with_relevance(self.bins))
        return f"recall {recall} (random {random}); relevance {curve or 'unknown'}"


def read_metrics(metrics: Mapping[str, Any], training_users: int | None = None) -> Metrics:
    """
    Read the metrics of a generation job.

    A recall of about the largest size, as a share of the training users, is that of a random selection (API reference,
    AudienceQualityMetrics). The ranges of the model, 0 to 10 for a relevance, are not those of the user guide, and are not checked.

    :param metrics: ``metrics`` of GetAudienceGenerationJob.
    :param training_users: Number of users in the training data, from which the share of an absolute size follows.
    :raises ValueError: They do not have the form of such metrics.
    """
    try:
        bins = [_read_bin(entry) for entry in metrics["relevanceMetrics"]]
        recall = metrics.get("recallMetric")
        recall = None if recall is None else _require_finite(recall)
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(
            "relevanceMetrics is missing, or a metric does not have the form that GetAudienceGenerationJob returns"
        ) from error
    # Users and percentages cannot be ordered together; a configured audience model has sizes of one type (service model).
    if len({each.kind for each in bins}) > 1:
        raise ValueError("relevanceMetrics mixes sizes of the types ABSOLUTE and PERCENTAGE")
    ordered = tuple(sorted(bins, key=lambda each: each.value))
    return Metrics(ordered, recall, _compute_random_recall(ordered, training_users))


def _read_bin(entry: Mapping[str, Any]) -> Bin:
    size, score = entry["audienceSize"], entry.get("score")
    return Bin(str(size["type"]), int(size["value"]), None if score is None else _require_finite(score))


def _require_finite(value: Any) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return float(value)


def _compute_random_recall(bins: Sequence[Bin], training_users: int | None) -> float | None:
    if not bins:
        return None
    largest = bins[-1]
    users = 100 if largest.kind == PERCENTAGE else training_users
    return min(1.0, largest.value / users) if users else None


def choose_by_relevance(bins: Iterable[Bin], least: float) -> Bin | None:
    """
    Choose the largest size that is relevant enough.

    :param least: The least relevance.
    :return: None where no size is.
    """
    enough = [each for each in _select_with_relevance(bins) if each.relevance is not None and each.relevance >= least]
    return max(enough, key=lambda each: each.value, default=None)


def choose_by_users(bins: Iterable[Bin], users: float, training_users: int | None = None) -> Bin | None:
    """
    Choose the size nearest to a number of users; of two that are as near, the smaller.

    :param users: Number of users that are wanted.
    :param training_users: Number of users in the training data, for sizes in per cent.
    :return: None where there is no size.
    """
    return min(bins, key=lambda each: (abs(each.users(training_users) - users), each.value), default=None)


def choose_by_knee(bins: Iterable[Bin]) -> Bin | None:
    """
    Choose the knee of the curve: the size at which relevance is furthest from the straight line between smallest and largest size.

    A curve that stays high and then falls has its knee where the fall begins; one that falls at once and then flattens, where it
    flattens. Of two sizes that are equally far the smaller one is chosen. A straight curve, as of two sizes, has no knee: then the
    smallest size is chosen.

    :return: None where no size has a relevance.
    """
    curve = _select_with_relevance(bins)
    if not curve:
        return None
    distance = _build_distance_from_line(curve)
    furthest = max(map(distance, curve))
    # Rounding leaves a small distance even on a straight curve.
    if furthest <= _STRAIGHT:
        return curve[0]
    # The smallest of the sizes whose distances differ only by rounding.
    return next(each for each in curve if distance(each) >= furthest - _STRAIGHT)


def _build_distance_from_line(curve: Sequence[Bin]) -> Callable[[Bin], float]:
    first, last = curve[0], curve[-1]
    # A curve of one size has no width.
    width = (last.value - first.value) or 1
    slope = ((last.relevance or 0.0) - (first.relevance or 0.0)) / width
    return lambda each: abs((each.relevance or 0.0) - ((first.relevance or 0.0) + slope * (each.value - first.value)))


def _select_with_relevance(bins: Iterable[Bin]) -> list[Bin]:
    return [each for each in bins if each.relevance is not None]
