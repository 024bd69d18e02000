"""The policies that choose an audience size from metrics."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_cleanroomsml._pipelines.audience_size import (
    Bin,
    choose_by_knee,
    choose_by_relevance,
    choose_by_users,
    read_metrics,
)


def build_metrics(
    curve: dict[int, float | None], recall: float | None = 0.87, kind: str = "PERCENTAGE"
) -> dict[str, Any]:
    """Build metrics as GetAudienceGenerationJob returns them."""
    scores = {value: {} if score is None else {"score": score} for value, score in curve.items()}
    relevance = [{"audienceSize": {"type": kind, "value": value}, **score} for value, score in scores.items()]
    return {"relevanceMetrics": relevance, **({} if recall is None else {"recallMetric": recall})}


def build_bins(curve: dict[int, float | None], kind: str = "PERCENTAGE") -> tuple[Bin, ...]:
    return read_metrics(build_metrics(curve, kind=kind)).bins


def get_value(choice: Bin | None) -> int | None:
    return choice.value if choice else None


DEMO: dict[int, float | None] = {1: 0.573, 5: -0.150, 10: -0.357, 20: -0.6}


class TestRelevance:
    @pytest.mark.parametrize(
        ("least", "size"), [(0.573, 1), (0.574, None), (0.0, 1), (-0.15, 5), (-0.2, 5), (-0.357, 10), (-1.0, 20)]
    )
    def test_the_largest_size_that_is_relevant_enough_is_chosen(self, least: float, size: int | None) -> None:
        assert get_value(choose_by_relevance(build_bins(DEMO), least)) == size

    def test_the_order_of_the_sizes_does_not_matter(self) -> None:
        assert get_value(choose_by_relevance(build_bins({20: 0.1, 1: 0.5, 5: 0.4}), 0.3)) == 5

    def test_a_tie_goes_to_the_larger_size(self) -> None:
        assert get_value(choose_by_relevance(build_bins({1: 0.5, 5: 0.5}), 0.5)) == 5

    def test_a_size_without_a_score_is_not_chosen(self) -> None:
        assert get_value(choose_by_relevance(build_bins({1: 0.5, 5: None}), 0.0)) == 1
        assert choose_by_relevance(build_bins({1: None}), -1.0) is None

    def test_one_size_is_enough(self) -> None:
        assert get_value(choose_by_relevance(build_bins({7: 0.2}), 0.2)) == 7
        assert choose_by_relevance(build_bins({}), 0.2) is None


class TestUsers:
    @pytest.mark.parametrize(("users", "size"), [(1, 1), (29_999, 1), (30_000, 1), (30_001, 5), (10**9, 20)])
    def test_nearest_size_is_chosen_smaller_on_a_tie(self, users: int, size: int) -> None:
        assert get_value(choose_by_users(build_bins(DEMO), users, 1_000_000)) == size

    def test_sizes_in_users_need_no_training_users(self) -> None:
        curve = build_bins({10_000: 0.4, 50_000: 0.1}, "ABSOLUTE")
        assert get_value(choose_by_users(curve, 45_000)) == 50_000

    def test_a_size_without_a_score_counts(self) -> None:
        assert get_value(choose_by_users(build_bins({1: 0.5, 5: None}), 50_000, 1_000_000)) == 5


class TestKnee:
    @pytest.mark.parametrize(
        ("curve", "size"),
        [
            ({1: 0.9, 5: 0.88, 10: 0.85, 15: 0.2, 20: 0.1}, 10),  # falls after it
            ({1: 0.9, 5: 0.1, 10: 0.05, 15: 0.02, 20: 0.0}, 5),  # flattens after it
            (DEMO, 5),
            ({1: -0.1, 5: -0.2, 10: -0.9}, 5),
        ],
    )
    def test_knee_is_where_the_curve_bends(self, curve: dict[int, float | None], size: int) -> None:
        assert get_value(choose_by_knee(build_bins(curve))) == size

    @pytest.mark.parametrize(
        "curve", [{5: 0.5}, {5: 0.5, 10: 0.1}, {5: 0.5, 10: 0.5, 20: 0.5}, {5: 0.3, 10: 0.2, 15: 0.1}]
    )
    def test_straight_curve_gives_smallest(self, curve: dict[int, float | None]) -> None:
        assert get_value(choose_by_knee(build_bins(curve))) == 5

    def test_a_tie_goes_to_the_smaller_size(self) -> None:
        # 10 % lies as far below the straight line as 20 % lies above it.
        assert get_value(choose_by_knee(build_bins({0: 0.75, 10: 0.25, 20: 0.5, 30: 0.0}))) == 10

    def test_knee_needs_score(self) -> None:
        assert choose_by_knee(build_bins({1: None, 5: None})) is None
        assert get_value(choose_by_knee(build_bins({1: None, 5: 0.1}))) == 5


class TestMetrics:
    def test_text_is_one_line(self) -> None:
        line = "recall 0.87 (random 0.20); relevance 0.57 at 1 %, -0.15 at 5 %, -0.36 at 10 %, -0.60 at 20 %"
        assert str(read_metrics(build_metrics(DEMO))) == line

    @pytest.mark.parametrize(
        ("training_users", "random"), [(None, "unknown"), (100_000, "0.20"), (20_000, "1.00"), (10_000, "1.00")]
    )
    def test_sizes_in_users_are_compared_with_the_training_users(self, training_users: int | None, random: str) -> None:
        result = read_metrics(build_metrics({20_000: 0.5}, kind="ABSOLUTE"), training_users)
        assert str(result) == f"recall 0.87 (random {random}); relevance 0.50 at 20,000 users"

    def test_missing_values_are_unknown(self) -> None:
        assert str(read_metrics(build_metrics({5: None}, None))) == "recall unknown (random 0.05); relevance unknown"
        assert str(read_metrics({"relevanceMetrics": []})) == "recall unknown (random unknown); relevance unknown"

    @pytest.mark.parametrize(
        "value",
        [
            {},
            {"relevanceMetrics": 3},
            {"relevanceMetrics": [{"score": 0.1}]},
            {"relevanceMetrics": [{"audienceSize": {"type": "PERCENTAGE", "value": 1}, "score": float("nan")}]},
            {"relevanceMetrics": [], "recallMetric": "high"},
            "recall 0.87",
        ],
    )
    def test_invalid_metrics_are_rejected(self, value: Any) -> None:
        with pytest.raises(ValueError, match="relevanceMetrics is missing|is not a finite number"):
            read_metrics(value)

    def test_mixed_size_types_are_rejected(self) -> None:
        mixed = [
            *build_metrics({1: 0.5})["relevanceMetrics"],
            *build_metrics({10_000: 0.5}, kind="ABSOLUTE")["relevanceMetrics"],
        ]
        with pytest.raises(ValueError, match="mixes sizes of the types"):
            read_metrics({"relevanceMetrics": mixed})
