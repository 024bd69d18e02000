"""The metrics themselves, on scores that the tests choose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

USERS, SEED = 100, np.arange(10)
SHARES = (0.05, 0.2, 0.9)


class Users:
    """As many users as the metrics ask for."""

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
    ("of_seed", "of_others", "relevance", "recall"),
    [
        (0.0, 1.0, (1.0, 1.0, 1.0), 0.0),
        (1.0, 1.0, (0.0, 0.0, 0.0), None),
        (1.0, 0.0, (-3 / 5, -16 / 18, -81 / 83), 1.0),
    ],
    ids=["below all others", "like all others", "above all others"],
)
def test_metrics_of_seeds_with_extreme_scores(
    of_seed: float,
    of_others: float,
    relevance: tuple[float, ...],
    recall: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow_cleanroomsml.emulator.lookalike import metrics

    score = np.where(np.isin(np.arange(USERS), SEED), of_seed, of_others)
    monkeypatch.setattr(metrics, "score_users", lambda *_: score)
    users: Any = Users(USERS)
    # Of 92 users that are ranked in each fold, two of the seed are held out: 5, 18 and 83 of them are in the audiences.
    found = metrics.measure(users, SEED, SHARES, np.random.default_rng(1))
    assert recall is None or found.recall == recall
    assert found.relevance == pytest.approx(relevance, abs=1e-12)
