from __future__ import annotations

import numpy as np
import pytest

from airflow_cleanroomsml.emulator.sample.interactions import DAY_SECONDS, END, EVENT_TYPES, Interactions, generate


@pytest.fixture(scope="module")
def data() -> Interactions:
    return generate(rows=50_000, users=5_000)


def test_table_has_requested_rows_and_users(data: Interactions) -> None:
    assert len(data.user) == len(data.item) == len(data.timestamp) == 50_000
    assert len(set(data.user_ids.tolist())) == len(data.taste) == 5_000
    assert len(set(data.item_ids.tolist())) == len(data.item_ids)


def test_every_user_has_two_interactions_and_a_few_have_many(data: Interactions) -> None:
    counts = np.bincount(data.user, minlength=5_000)
    assert counts.min() == 2
    assert np.median(counts) <= 6
    assert counts.max() > 100


def test_timestamps_cover_ninety_days_in_order(data: Interactions) -> None:
    assert (np.diff(data.timestamp) >= 0).all()
    assert END - 90 * DAY_SECONDS <= data.timestamp[0] < END - 89 * DAY_SECONDS
    assert END - DAY_SECONDS < data.timestamp[-1] < END


def test_equal_arguments_give_equal_tables(data: Interactions) -> None:
    assert generate(rows=50_000, users=5_000).write_csv() == data.write_csv()
    assert generate(rows=50_000, users=5_000, seed=1).write_csv() != data.write_csv()


def test_table_has_format_of_user_guide_sample(data: Interactions) -> None:
    lines = data.write_csv().decode().splitlines()
    assert lines[0] == "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE"
    assert len(lines) == 50_001
    user, item, time, kind, value = lines[1].split(",")
    assert user == data.user_ids[data.user[0]]
    assert item == data.item_ids[data.item[0]]
    assert int(time) == data.timestamp[0]
    assert kind in EVENT_TYPES
    assert int(value) >= 1


def test_ids_are_not_sequential(data: Interactions) -> None:
    numbers = np.array([int(user, 16) for user in data.user_ids[:100]])
    assert (np.abs(np.diff(numbers)) > 1_000_000).all()


def test_tastes_have_unequal_sizes(data: Interactions) -> None:
    sizes = np.bincount(data.taste)
    assert len(sizes) == 24
    assert sizes[0] > 8 * sizes[-1] > 0
    assert data.find_taste(5_000) == 0


def test_seed_and_held_out_users_share_taste_but_no_user(data: Interactions) -> None:
    taste = data.find_taste(150)
    members = set(data.user_ids[data.taste == taste].tolist())
    seed, held_out = data.draw_seed(taste, 60), data.list_held_out(taste)
    assert len(set(seed)) == 60
    assert set(seed) | set(held_out) <= members
    assert not set(seed) & set(held_out)
    assert len(held_out) == pytest.approx(len(members) / 2, abs=1)
    assert seed == data.draw_seed(taste, 61)[:60]


def test_taste_is_visible_in_interactions(data: Interactions) -> None:
    """Two users of one taste share items more often than two of different tastes."""
    popular = np.bincount(data.item).argsort()[-200:]
    rare = ~np.isin(data.item, popular)
    counts = np.zeros((24, len(data.item_ids)))
    np.add.at(counts, (data.taste[data.user[rare]], data.item[rare]), 1)
    own = counts / counts.sum(axis=1, keepdims=True)
    overlap = np.minimum(own[0], own[1]).sum()
    halves = np.zeros((2, len(data.item_ids)))
    first_taste = rare & (data.taste[data.user] == 0)
    np.add.at(halves, (data.user[first_taste] % 2, data.item[first_taste]), 1)
    halves /= halves.sum(axis=1, keepdims=True)
    assert np.minimum(halves[0], halves[1]).sum() > 1.5 * overlap


def test_impossible_numbers_are_rejected(data: Interactions) -> None:
    with pytest.raises(ValueError, match="at least 200 interactions"):
        generate(rows=199, users=100)
    with pytest.raises(ValueError, match="at most"):
        data.draw_seed(0, 5_000)
