"""The metrics, computed from scores that the tests choose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

USERS, SEED = 100, np.arange(10)
SHARES = (0.05, 0.2, 0.9)


class Users:
    """Stand-in for the users of a model, of which the metrics need only the number."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count


@pytest.mark.parametrize("distinct", [3, 1_000])
def test_relevance_is_the_mean_over_all_pairs(distinct: int) -> None:
    from airflow_cleanroomsml.emulator.lookalike import metrics

    rng = np.random.default_rng(5)
    audience = np.sort(rng.integers(0, distinct, 50))[::-1].astype(np.float32)
    held_out = rng.integers(0, distinct, 7).astype(np.float32)
    sizes = (1, 2, 25, 50)
    expected = [np.sign(audience[:size, None] - held_out[None, :]).mean(dtype=float) for size in sizes]
    assert metrics._compute_relevance(audience, held_out, sizes) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("seed_score", "other_score", "relevance", "recall"),
    [
        (0.0, 1.0, (1.0, 1.0, 1.0), 0.0),
        (1.0, 1.0, (0.0, 0.0, 0.0), None),
        (1.0, 0.0, (-3 / 5, -16 / 18, -81 / 83), 1.0),
    ],
    ids=["below all others", "same as all others", "above all others"],
)
def test_extreme_seed_scores_give_extreme_metrics(
    seed_score: float,
    other_score: float,
    relevance: tuple[float, ...],
    recall: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow_cleanroomsml.emulator.lookalike import metrics

    scores = np.where(np.isin(np.arange(USERS), SEED), seed_score, other_score)
    monkeypatch.setattr(metrics, "score_users", lambda *_: scores)
    users: Any = Users(USERS)
    # Each fold ranks 92 users, two of whom are held out from the seed; the audiences have 5, 18 and 83 users.
    measured = metrics.measure(users, SEED, SHARES, np.random.default_rng(1))
    assert recall is None or measured.recall == recall
    assert measured.relevance == pytest.approx(relevance, abs=1e-12)
