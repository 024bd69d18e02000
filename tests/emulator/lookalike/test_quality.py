"""What the engine finds, where what there is to find is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from airflow_cleanroomsml.emulator.lookalike import DataRules
from airflow_cleanroomsml.emulator.sample.interactions import Interactions, generate

from .lake import FEATURES, ROLES, START, Lake

USERS = 20_000


@pytest.fixture(scope="module")
def planted() -> Interactions:
    return generate(rows=200_000, users=USERS)


@pytest.fixture(scope="module")
def planted_lake(new_lake: Callable[[], Lake], planted: Interactions) -> Lake:
    lake = new_lake()
    lake.put("data/a.csv", planted.write_csv())
    lake.table()
    lake.describe(ROLES | FEATURES)
    lake.train(rules=DataRules().scale(0.2))
    return lake


def share_found(found: list[str], wanted: list[str]) -> float:
    return len(set(found) & set(wanted)) / len(wanted)


def test_users_with_the_planted_taste_are_found(planted: Interactions, planted_lake: Lake) -> None:
    """Of 590 users with the taste half are the seed; chance finds 5 % of the others in the top 5 %."""
    taste = planted.find_taste(600)
    sizes = [("PERCENTAGE", value) for value in (1, 5, 20)]
    audience = planted_lake.generate(planted.draw_seed(taste, 280), sizes)
    top = audience.users[: audience.counts["PERCENTAGE", 5]].to_pylist()
    assert share_found(top, planted.list_held_out(taste)) > 0.5
    one, five, twenty = (metric["score"] for metric in audience.metrics["relevanceMetrics"])
    assert one > five > twenty
    # one in a hundred is fewer users than the taste has, one in five many more
    assert one > 0 > twenty
    # what the job measures on its own seed is what the users outside of it confirm
    truth = share_found(audience.users.to_pylist(), planted.list_held_out(taste))
    assert audience.metrics["recallMetric"] == pytest.approx(truth, abs=0.1)


def test_the_recall_of_a_random_seed_is_that_of_chance(planted: Interactions, planted_lake: Lake) -> None:
    rng = np.random.default_rng(11)
    recalls = [
        planted_lake.generate(rng.choice(planted.user_ids, 500, replace=False), (("PERCENTAGE", 20),)).metrics[
            "recallMetric"
        ]
        for _ in range(3)
    ]
    # the mean of 1,500 users found or not by a chance of 0.2 has a standard deviation of 0.01
    assert np.mean(recalls) == pytest.approx(0.2, abs=0.035)


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_alone_identifies_similar_users(lake: Lake, feature: str) -> None:
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
    lake.put("data/a.csv", lake.csv(table))
    lake.table()
    lake.describe(ROLES | {feature: FEATURES[feature]})
    lake.train()
    audience = lake.generate([f"u{user}" for user in range(50)], (("PERCENTAGE", 10),))
    assert share_found(audience.users.to_pylist(), [f"u{user}" for user in range(50, 100)]) > 0.8
    lake.describe(ROLES)
    lake.train()
    audience = lake.generate([f"u{user}" for user in range(50)], (("PERCENTAGE", 10),))
    assert share_found(audience.users.to_pylist(), [f"u{user}" for user in range(50, 100)]) < 0.3
