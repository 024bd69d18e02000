"""How well the engine finds similar users, on data for which the answer is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from airflow_cleanroomsml.emulator.lookalike import DataRules
from airflow_cleanroomsml.emulator.sample.interactions import Interactions, generate

from .lake import FEATURES, ROLES, START, Lake

USERS = 20_000


@pytest.fixture(scope="module")
def interactions() -> Interactions:
    return generate(rows=200_000, users=USERS)


@pytest.fixture(scope="module")
def interactions_lake(create_lake: Callable[[], Lake], interactions: Interactions) -> Lake:
    lake = create_lake()
    lake.put("data/a.csv", interactions.write_csv())
    lake.create_table()
    lake.define_dataset(ROLES | FEATURES)
    lake.train(rules=DataRules().scale(0.2))
    return lake


def compute_recall(users: list[str], expected: list[str]) -> float:
    return len(set(users) & set(expected)) / len(expected)


def test_users_with_planted_taste_are_found(interactions: Interactions, interactions_lake: Lake) -> None:
    """About half of the 590 users with the taste are the seed; by chance, 5 % of the others would be in the top 5 %."""
    taste = interactions.find_taste(600)
    sizes = [("PERCENTAGE", value) for value in (1, 5, 20)]
    audience = interactions_lake.generate(interactions.draw_seed(taste, 280), sizes)
    top = audience.users[: audience.counts["PERCENTAGE", 5]].to_pylist()
    assert compute_recall(top, interactions.list_held_out(taste)) > 0.5
    one, five, twenty = (metric["score"] for metric in audience.metrics["relevanceMetrics"])
    assert one > five > twenty
    # The top 1 % are fewer users than have the taste, the top 20 % many more.
    assert one > 0 > twenty
    # The recall that the job measures on its seed agrees with that of the users outside the seed.
    truth = compute_recall(audience.users.to_pylist(), interactions.list_held_out(taste))
    assert audience.metrics["recallMetric"] == pytest.approx(truth, abs=0.1)


def test_recall_of_random_seed_is_that_of_chance(interactions: Interactions, interactions_lake: Lake) -> None:
    rng = np.random.default_rng(11)
    recalls = [
        interactions_lake.generate(
            rng.choice(interactions.user_ids, 500, replace=False), (("PERCENTAGE", 20),)
        ).metrics["recallMetric"]
        for _ in range(3)
    ]
    # The mean of 1,500 draws with a probability of 0.2 has a standard deviation of 0.01.
    assert np.mean(recalls) == pytest.approx(0.2, abs=0.035)


@pytest.mark.parametrize("feature", FEATURES)
def test_single_feature_identifies_similar_users(lake: Lake, feature: str) -> None:
    """Items are random here, and one user in ten differs in one feature only."""
    rng = np.random.default_rng(3)
    table = []
    for user in range(1_000):
        for item in rng.integers(0, 50, 5):
            kind = rng.choice(["view", "click", "buy", "return"])
            value = rng.integers(0, 10)
            if user < 100:
                kind, value = ("gift", value) if feature == "event_type" else (kind, value + 8)
            table.append((f"u{user}", f"i{item}", START, kind, value))
    lake.put("data/a.csv", lake.format_csv(table))
    lake.create_table()
    lake.define_dataset(ROLES | {feature: FEATURES[feature]})
    lake.train()
    audience = lake.generate([f"u{user}" for user in range(50)], (("PERCENTAGE", 10),))
    assert compute_recall(audience.users.to_pylist(), [f"u{user}" for user in range(50, 100)]) > 0.8
    lake.define_dataset(ROLES)
    lake.train()
    audience = lake.generate([f"u{user}" for user in range(50)], (("PERCENTAGE", 10),))
    assert compute_recall(audience.users.to_pylist(), [f"u{user}" for user in range(50, 100)]) < 0.3
